//! The logins that refshim has at a registry, on credentials of its own or of the user who runs a subcommand.

use crate::auth::{Authenticator, CredentialsSource, Ecr, EcrOptions, EcrProxy};
use crate::config::{CredentialsConfig, CredentialsKind, UpstreamConfig};
use crate::registry::error::UpstreamError;

/// What is shown to the registry, and for whom.
pub(in crate::registry) struct Login {
    pub(in crate::registry) authenticator: Authenticator<UpstreamError>,
    pub(in crate::registry) owner: LoginOwner,
}

/// Whose login it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum LoginOwner {
    /// refshim's own, used for every caller. Callers get a refusal as 403, as they cannot answer a challenge, and no registry can
    /// send refshim to a token endpoint on a private address that `redirect_hosts` does not list.
    Proxy,
    /// That of the user who runs a subcommand: a refusal stays 401, as the user can log in again, and the token endpoint may be at
    /// any address that the registry names.
    User,
}

impl Login {
    pub(in crate::registry) fn of_proxy(source: CredentialsSource, is_tls: bool) -> Self {
        Self {
            authenticator: Authenticator::new(source, is_tls),
            owner: LoginOwner::Proxy,
        }
    }

    pub(in crate::registry) fn of_user(source: CredentialsSource, is_tls: bool) -> Self {
        Self {
            authenticator: Authenticator::new(source, is_tls),
            owner: LoginOwner::User,
        }
    }
}

/// Where the credentials of an account at `upstream` come from. `None` where callers bring their own.
pub(in crate::registry) fn source(config: &CredentialsConfig, upstream: &UpstreamConfig) -> Option<CredentialsSource> {
    let host = upstream.url.authority();
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
            proxy: upstream.egress.https.as_ref().map(|proxy| EcrProxy {
                url: proxy.url.reveal().to_owned(),
                no_proxy: upstream.egress.no_proxy.clone(),
            }),
        })),
    })
}
