//! Asking one registry what refers to something: directly, without a running refshim, on the login of the user.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;

use crate::config::{CacheConfig, Depth};
use crate::oci::{Digest, Manifest, Reference, ReferrerList, RepositoryName};
use crate::referrers::{ResolveError, Resolver};
use crate::registry::{Answer, Caller, RawManifest, Upstream, UpstreamError};

use super::error::CliError;
use super::login::log_in;
use super::read_settings::ReadSettings;
use super::target::TargetReference;

/// How to ask; the same for every subcommand that reads one reference.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The image: [http://|https://]host[:port]/name[:tag][@digest]. Loopback hosts are contacted without TLS unless https:// is
    /// written.
    #[arg(value_name = "REF")]
    pub(super) target: TargetReference,
    /// Where to look for links: only in tags that begin with the subject's digest (names), or also in the manifests behind all other tags
    /// (manifests).
    #[arg(long, value_enum, default_value = "auto")]
    depth: DepthFlag,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DepthFlag {
    /// As manifests if the repository has at most 200 ordinary tags, otherwise as names.
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
    /// How messages call the target.
    pub(super) name: String,
    pub(super) settings: ReadSettings,
}

impl Purpose {
    /// For work on all that a repository holds.
    pub(super) fn whole(target: TargetReference, ca_file: Option<PathBuf>) -> Self {
        Self {
            name: match target.is_bare {
                true => target.repository(),
                false => target.to_string(),
            },
            target,
            settings: ReadSettings::whole(ca_file),
        }
    }
}

impl From<Options> for Purpose {
    fn from(options: Options) -> Self {
        Self {
            name: options.target.to_string(),
            target: options.target,
            settings: ReadSettings::new(options.ca_file, options.depth.into(), CacheConfig::default()),
        }
    }
}

/// A registry that can be asked, and the repository in question.
pub(super) struct Session {
    resolver: Resolver,
    /// Without credentials: those of the user are the upstream's own ([`Upstream::of_user`]).
    caller: Caller,
    target: TargetReference,
    name: String,
    /// About the repository whose links this one keeps.
    pub(super) subjects_in: Option<Box<Self>>,
}

impl Session {
    /// Logs in at the registry of `purpose`. Fails where the user is not let in.
    pub(super) async fn open(purpose: impl Into<Purpose>) -> Result<Self, CliError> {
        let Purpose { target, name, settings } = purpose.into();
        let resolver = settings.resolver(&target.registry, &target.host)?;
        Self::log_in(resolver, target, name).await
    }

    /// Logs in at the registry that `resolver` asks, for the repository of `target`.
    pub(super) async fn log_in(resolver: Resolver, target: TargetReference, name: String) -> Result<Self, CliError> {
        let login = log_in(resolver.upstream(), &target.host, Some(&target.repository)).await;
        login.map_err(|error| CliError::failed(format!("{}: {error}", target.registry)))?;
        Ok(Self {
            resolver,
            // What a refshim on the way adds is not in the registry.
            caller: Caller::anonymous().reading_stored(),
            name,
            target,
            subjects_in: None,
        })
    }

    /// The same about another repository of the registry.
    pub(super) fn in_repository(&self, repository: &RepositoryName) -> Self {
        Self {
            resolver: self.resolver.clone(),
            caller: self.caller.clone(),
            target: TargetReference {
                repository: repository.clone(),
                is_bare: true,
                ..self.target.clone()
            },
            name: self.name.clone(),
            subjects_in: None,
        }
    }

    pub(super) fn target(&self) -> &TargetReference {
        &self.target
    }

    /// The digest of what was asked for. One that the user wrote is not looked up: referrers may exist without their subject.
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
        let resolved = self.resolved(subject).await;
        resolved.map_err(|error| self.not_resolved(&error))
    }

    /// The same, or why that cannot be said.
    pub(super) async fn resolved(&self, subject: &Digest) -> Result<Arc<ReferrerList>, ResolveError> {
        loop {
            match self.resolver.resolve(self.repository(), subject, &self.caller).await {
                Ok(resolved) => return Ok(resolved.links),
                // The next question goes on where this one stopped.
                Err(ResolveError::Upstream(UpstreamError::Unfinished { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The manifest `digest`, as far as links are concerned. `None` when the registry does not hold it, or it is no manifest.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, CliError> {
        let reference = Reference::Digest(digest.clone());
        let answer = self.resolver.manifest(self.repository(), &reference, &self.caller);
        let raw = self.found(answer.await)?;
        Ok(raw.and_then(|raw| raw.parse().ok()))
    }

    /// What is listed under this digest, whatever the registry keeps it as.
    pub(super) async fn made(&self, digest: &Digest) -> Result<Option<RawManifest>, CliError> {
        let reference = Reference::Digest(digest.clone());
        let answer = self.resolver.manifest(self.repository(), &reference, &self.caller);
        Ok(self.found(answer.await)?.map(|raw| RawManifest::clone(&raw)))
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        self.resolver.upstream()
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn repository(&self) -> &RepositoryName {
        &self.target.repository
    }

    /// What the registry holds under `reference`; of an envelope, the envelope itself and not the manifest in it.
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

    /// What was found; `None` where the registry states that it does not hold it. Refusals and errors end the work.
    pub(super) fn found<T>(&self, answer: Result<Answer<T>, UpstreamError>) -> Result<Option<T>, CliError> {
        let answer = answer.map_err(|error| self.failed(&error))?;
        answer
            .or_refusal()
            .map_err(|refusal| CliError::refused(&self.name, &refusal))
    }

    /// Looking for referrers failed.
    pub(super) fn not_resolved(&self, error: &ResolveError) -> CliError {
        match error {
            ResolveError::Refused(refusal) => CliError::refused(&self.name, refusal),
            ResolveError::Upstream(error) => self.failed(error),
        }
    }

    /// How messages call what was asked for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The registry stated that there is no such repository.
    pub(super) fn no_repository(&self) -> CliError {
        let repository = self.target.repository();
        CliError::failed(format!(
            "{repository}: the registry does not know the repository; check the name"
        ))
    }

    /// Asking the registry failed.
    pub(super) fn failed(&self, error: &dyn std::error::Error) -> CliError {
        CliError::failed(format!("{}: {error}", self.name))
    }
}
