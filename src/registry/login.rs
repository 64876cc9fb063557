//! The logins that refshim has at a registry, on credentials of its own or of the user who runs a subcommand.

use crate::auth::{
    Authenticator, Authorization, CredentialsSource, Ecr, EcrOptions, LoginRefusal, token_scopes::read_scope,
};
use crate::config::{CredentialsConfig, CredentialsKind};
use crate::oci::RepositoryName;

use super::authenticated::asking;
use super::retry::Retry;
use super::{Upstream, UpstreamError};

/// What is shown to the registry, and for whom.
pub(super) struct Login {
    pub(super) authenticator: Authenticator<UpstreamError>,
    pub(super) owner: LoginOwner,
}

/// Whose login it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginOwner {
    /// refshim's own, for callers who reach it: they learn of a refusal as 403, as there is nothing that they could answer, and no
    /// registry can send refshim to a token endpoint on a private address that `redirect_hosts` does not list.
    Proxy,
    /// That of the user who runs refshim: it is theirs to log in anew (401), and a token endpoint is where the registry says.
    User,
}

impl Login {
    pub(super) fn of_proxy(source: CredentialsSource, is_tls: bool) -> Self {
        Self {
            authenticator: Authenticator::new(source, is_tls),
            owner: LoginOwner::Proxy,
        }
    }

    pub(super) fn of_user(source: CredentialsSource, is_tls: bool) -> Self {
        Self {
            authenticator: Authenticator::new(source, is_tls),
            owner: LoginOwner::User,
        }
    }
}

impl Upstream {
    /// Gets ahead what reads of `repository` (without one: of `/v2/`) take along, so that whoever is not let in hears of it before
    /// the work begins. Writes and deletions get tokens of their own when they are made.
    pub async fn log_in(&self, repository: Option<&RepositoryName>) -> Result<Result<(), LoginRefusal>, UpstreamError> {
        let Some(login) = &self.login else { return Ok(Ok(())) };
        let scopes: Vec<String> = repository.map(|name| read_scope(name.as_str())).into_iter().collect();
        let (ask, mut retry) = (asking(self, login.owner), Retry::new(self.retries));
        loop {
            match login.authenticator.authorization(&scopes, &ask).await {
                Ok(Authorization::Unneeded | Authorization::Header(_)) => return Ok(Ok(())),
                Ok(Authorization::Refused(refusal)) => return Ok(Err(refusal)),
                Err(error) => retry.after(error.into()).await?,
            }
        }
    }

    /// Whether there are credentials for the registry to log in with.
    pub async fn has_credentials(&self) -> Result<bool, UpstreamError> {
        match &self.login {
            Some(login) => Ok(login.authenticator.credentials().await?.is_some()),
            None => Ok(false),
        }
    }
}

/// Where the credentials for `host` come from. `None` where callers bring their own.
pub(super) fn source(config: &CredentialsConfig, host: &str) -> Option<CredentialsSource> {
    // The configuration was checked: a static source has a name, and one kind of password.
    let user = config.username.clone().unwrap_or_default();
    Some(match (config.kind, &config.password_file) {
        (CredentialsKind::Caller, _) => return None,
        (CredentialsKind::Static, Some(file)) => CredentialsSource::PasswordFile {
            user,
            file: file.clone(),
        },
        (CredentialsKind::Static, None) => CredentialsSource::Password {
            user,
            password: config
                .password
                .as_ref()
                .map(|secret| secret.reveal().to_owned())
                .unwrap_or_default(),
        },
        (CredentialsKind::DockerConfig, _) => CredentialsSource::DockerConfig {
            file: config.file.clone(),
            host: host.to_owned(),
        },
        (CredentialsKind::Ecr, _) => CredentialsSource::Ecr(Ecr::new(EcrOptions {
            region: config.region.clone().or_else(|| EcrOptions::region_of(host)),
            endpoint: config
                .endpoint
                .as_ref()
                .map(|url| url.as_str().trim_end_matches('/').to_owned()),
        })),
    })
}
