//! Asking one registry, straight and on this machine's credentials, what refers to something.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;

use crate::cache::{Bounds, Cache};
use crate::config::{CacheConfig, Depth, LimitsConfig, LinksConfig, UpstreamConfig};
use crate::links::{ResolveError, Resolver};
use crate::oci::{Digest, Links, Manifest, Reference};
use crate::upstream::{Answer, Caller, Upstream};

use super::failure::Failure;
use super::login::Door;
use super::target::Target;

/// How to ask; the same for every subcommand that reads one reference.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// What to look at: [http://|https://]host[:port]/name[:tag][@digest]. Loopback hosts are spoken to without TLS unless
    /// https:// is written.
    #[arg(value_name = "REF")]
    pub(super) target: Target,
    /// How far to look: only tags that begin with the subject's digest, or also behind every other tag.
    #[arg(long, value_enum, default_value = "auto")]
    depth: DepthFlag,
    /// Certificate authorities (PEM) to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DepthFlag {
    /// Behind every tag while there are at most 200 ordinary ones.
    Auto,
    Names,
    Manifests,
}

impl From<DepthFlag> for Depth {
    fn from(flag: DepthFlag) -> Self {
        match flag {
            DepthFlag::Auto => Self::Auto,
            DepthFlag::Names => Self::Names,
            DepthFlag::Manifests => Self::Manifests,
        }
    }
}

/// A registry that can be asked, and the repository in question.
pub(super) struct Session {
    resolver: Resolver,
    caller: Caller,
    target: Target,
}

impl Session {
    pub(super) async fn open(options: Options) -> Result<Self, Failure> {
        let target = options.target;
        let config = UpstreamConfig {
            ca_file: options.ca_file,
            ..UpstreamConfig::new(target.registry.clone())
        };
        let limits = LimitsConfig::default();
        let upstream = Upstream::new(&config, &limits).map_err(|error| Failure::usage(error.to_string()))?;
        let door = Door {
            upstream: &upstream,
            config: &config,
            host: &target.host,
        };
        let failed = |error: &dyn std::error::Error| Failure::failed(format!("{}: {error}", target.registry));
        let reply = door.knock().await.map_err(|error| failed(&error))?;
        let login = door.log_in(&reply, Some(&target.repository)).await;
        let login = login.map_err(|error| failed(&error))?;
        let cache_config = CacheConfig::default();
        let cache = Cache::new(Bounds {
            manifests: cache_config.manifest_bytes,
            lists: cache_config.list_bytes,
        });
        let links = LinksConfig {
            depth: options.depth.into(),
            ..LinksConfig::default()
        };
        Ok(Self {
            resolver: Resolver::new(Arc::new(upstream), Arc::new(cache), &links, &cache_config, &limits),
            caller: login.caller,
            target,
        })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The digest of what was asked for. A digest is believed: referrers may exist without their subject.
    pub(super) async fn subject(&self) -> Result<Digest, Failure> {
        let tag = match &self.target.reference {
            Reference::Digest(digest) => return Ok(digest.clone()),
            tag => tag,
        };
        let answer = self
            .resolver
            .upstream()
            .head_manifest(&self.target.repository, tag, &self.caller)
            .await;
        match answer.map_err(|error| self.failed(&error))? {
            Answer::Found(head) => Ok(head.digest),
            Answer::Absent => {
                let problem = "the registry does not hold it; check the name and the tag";
                Err(Failure::failed(format!("{}: {problem}", self.target)))
            }
            Answer::Refused(refusal) => Err(Failure::refused(&self.target.to_string(), &refusal)),
        }
    }

    /// Everything that refers to `subject`.
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Arc<Links>, Failure> {
        match self
            .resolver
            .resolve(&self.target.repository, subject, &self.caller)
            .await
        {
            Ok(resolved) => Ok(resolved.links),
            Err(ResolveError::Refused(refusal)) => Err(Failure::refused(&self.target.to_string(), &refusal)),
            Err(ResolveError::Upstream(error)) => Err(self.failed(&error)),
        }
    }

    /// The manifest `digest`, as far as links are concerned. `None` when it is gone or no manifest.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, Failure> {
        let reference = Reference::Digest(digest.clone());
        match self
            .resolver
            .manifest(&self.target.repository, &reference, &self.caller)
            .await
        {
            Ok(Answer::Found(raw)) => Ok(Manifest::parse(&raw.bytes, &raw.media_type).ok()),
            Ok(Answer::Absent) => Ok(None),
            Ok(Answer::Refused(refusal)) => Err(Failure::refused(&self.target.to_string(), &refusal)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &dyn std::error::Error) -> Failure {
        Failure::failed(format!("{}: {error}", self.target))
    }
}
