//! Asking one registry, straight and on this machine's credentials, what refers to something.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use crate::cache::{Bounds, Cache};
use crate::config::{CacheConfig, Depth, LimitsConfig, LinksConfig, UpstreamConfig};
use crate::oci::{Digest, Manifest, Reference, ReferrerList, RepositoryName};
use crate::referrers::{ResolveError, Resolver};
use crate::registry::{Answer, Caller, RawManifest, Upstream, UpstreamError};

use super::error::CliError;
use super::login::{LoginRequest, RequestedAccess};
use super::target::TargetReference;

/// Longer than work on any repository takes.
const LONGEST_WORK: Duration = Duration::from_secs(24 * 60 * 60);

/// How to ask; the same for every subcommand that reads one reference.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// What to look at: [http://|https://]host[:port]/name[:tag][@digest]. Loopback hosts are spoken to without TLS unless
    /// https:// is written.
    #[arg(value_name = "REF")]
    pub(super) target: TargetReference,
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

/// What a session is for.
pub(super) struct Purpose {
    pub(super) target: TargetReference,
    /// What messages call it.
    pub(super) name: String,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) depth: Depth,
    pub(super) access: RequestedAccess,
    /// How long what was read is taken to be so still.
    pub(super) freshness: CacheConfig,
}

impl Purpose {
    /// Work on what a repository holds as a whole, all of it seen as it was at one time.
    pub(super) fn whole(target: TargetReference, ca_file: Option<PathBuf>, access: RequestedAccess) -> Self {
        Self {
            name: match target.is_bare {
                true => target.repository(),
                false => target.to_string(),
            },
            target,
            ca_file,
            depth: Depth::Manifests,
            access,
            freshness: CacheConfig {
                fresh_for: LONGEST_WORK,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                ..CacheConfig::default()
            },
        }
    }
}

impl From<Options> for Purpose {
    fn from(options: Options) -> Self {
        Self {
            name: options.target.to_string(),
            target: options.target,
            ca_file: options.ca_file,
            depth: options.depth.into(),
            access: RequestedAccess::Read,
            freshness: CacheConfig::default(),
        }
    }
}

/// A registry that can be asked, and the repository in question.
pub(super) struct Session {
    resolver: Resolver,
    caller: Caller,
    target: TargetReference,
    name: String,
}

impl Session {
    pub(super) async fn open(purpose: impl Into<Purpose>) -> Result<Self, CliError> {
        let Purpose {
            target,
            name,
            ca_file,
            depth,
            access,
            freshness,
        } = purpose.into();
        let config = UpstreamConfig {
            ca_file,
            ..UpstreamConfig::new(target.registry.clone())
        };
        let limits = LimitsConfig::default();
        let upstream = Upstream::new(&config, &limits).map_err(|error| CliError::usage(error.to_string()))?;
        let request = LoginRequest {
            upstream: &upstream,
            config: &config,
            host: &target.host,
            access,
        };
        let failed = |error: &dyn std::error::Error| CliError::failed(format!("{}: {error}", target.registry));
        let reply = request.ping().await.map_err(|error| failed(&error))?;
        let login = request.log_in(&reply, Some(&target.repository)).await;
        let login = login.map_err(|error| failed(&error))?;
        let cache = Cache::new(Bounds {
            manifests: freshness.manifest_bytes,
            lists: freshness.list_bytes,
        });
        let links = LinksConfig {
            depth,
            deep_refresh: freshness.fresh_for.max(LinksConfig::default().deep_refresh),
            ..LinksConfig::default()
        };
        Ok(Self {
            resolver: Resolver::new(Arc::new(upstream), Arc::new(cache), &links, &freshness, &limits),
            caller: login.caller,
            name,
            target,
        })
    }

    pub(super) fn target(&self) -> &TargetReference {
        &self.target
    }

    /// The digest of what was asked for. A digest is believed: referrers may exist without their subject.
    pub(super) async fn subject(&self) -> Result<Digest, CliError> {
        let tag = match &self.target.reference {
            Reference::Digest(digest) => return Ok(digest.clone()),
            tag => tag,
        };
        let answer = self.upstream().head_manifest(self.repository(), tag, &self.caller);
        match self.found(answer.await)? {
            Some(head) => Ok(head.digest),
            None => {
                let problem = "the registry does not hold it; check the name and the tag";
                Err(CliError::failed(format!("{}: {problem}", self.target)))
            }
        }
    }

    /// Everything that refers to `subject`.
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Arc<ReferrerList>, CliError> {
        loop {
            match self.resolver.resolve(self.repository(), subject, &self.caller).await {
                Ok(resolved) => return Ok(resolved.links),
                // The next question goes on where this one stopped.
                Err(ResolveError::Upstream(UpstreamError::Unfinished { .. })) => {}
                Err(error) => return Err(self.not_resolved(&error)),
            }
        }
    }

    /// The manifest `digest`, as far as links are concerned. `None` when it is gone or no manifest.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, CliError> {
        let reference = Reference::Digest(digest.clone());
        let answer = self.resolver.manifest(self.repository(), &reference, &self.caller);
        let raw = self.found(answer.await)?;
        Ok(raw.and_then(|raw| Manifest::parse(&raw.bytes, &raw.media_type).ok()))
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(super) fn upstream(&self) -> &Upstream {
        self.resolver.upstream()
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn repository(&self) -> &RepositoryName {
        &self.target.repository
    }

    /// What the registry holds under `reference`, envelopes left closed.
    pub(super) async fn raw_manifest(&self, reference: &Reference) -> Result<Option<RawManifest>, CliError> {
        let answer = self.upstream().manifest(self.repository(), reference, &self.caller);
        self.found(answer.await)
    }

    /// The digest that the registry holds under `reference`.
    pub(super) async fn digest_of(&self, reference: &Reference) -> Result<Option<Digest>, CliError> {
        let answer = self
            .upstream()
            .head_manifest(self.repository(), reference, &self.caller);
        Ok(self.found(answer.await)?.map(|head| head.digest))
    }

    /// What was found, `None` for what the registry says it does not hold; all else is a failure.
    pub(super) fn found<T>(&self, answer: Result<Answer<T>, UpstreamError>) -> Result<Option<T>, CliError> {
        match answer {
            Ok(Answer::Found(found)) => Ok(Some(found)),
            Ok(Answer::Absent) => Ok(None),
            Ok(Answer::Refused(refusal)) => Err(CliError::refused(&self.name, &refusal)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(super) fn not_resolved(&self, error: &ResolveError) -> CliError {
        match error {
            ResolveError::Refused(refusal) => CliError::refused(&self.name, refusal),
            ResolveError::Upstream(error) => self.failed(error),
        }
    }

    /// What was asked for, as messages call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn no_repository(&self) -> CliError {
        let repository = self.target.repository();
        CliError::failed(format!(
            "{repository}: the registry does not know the repository; check the name"
        ))
    }

    pub(super) fn failed(&self, error: &dyn std::error::Error) -> CliError {
        CliError::failed(format!("{}: {error}", self.name))
    }
}
