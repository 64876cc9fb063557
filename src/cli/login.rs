//! The login at a registry of the user who runs a subcommand: what `docker login` or `podman login` left on this machine.

use std::fmt;

use crate::auth::{CredentialsSource, LoginRefusal};
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::oci::RepositoryName;
use crate::registry::{RequestAllowance, SetupError, Upstream, UpstreamError};

/// A registry that is asked on the user's credentials for `host` (with its port, as `docker login` was told).
pub(super) fn upstream_of_user(
    config: &UpstreamConfig,
    limits: &LimitsConfig,
    host: &str,
    allowance: RequestAllowance,
) -> Result<Upstream, SetupError> {
    let source = CredentialsSource::DockerConfig {
        file: None,
        host: host.to_owned(),
    };
    Upstream::of_user(config, limits, source, allowance)
}

/// Logs in ahead of reads of `repository`, or of the registry as such.
pub(super) async fn log_in(
    upstream: &Upstream,
    host: &str,
    repository: Option<&RepositoryName>,
) -> Result<(), LoginError> {
    let refused = |refusal| LoginError::Refused {
        host: host.to_owned(),
        refusal,
    };
    upstream.log_in(repository).await?.map_err(refused)
}

/// Why nobody could be logged in.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("{}", Advised { host, refusal })]
    Refused { host: String, refusal: LoginRefusal },
}

/// A refusal, and what the user can do about it.
struct Advised<'a> {
    host: &'a str,
    refusal: &'a LoginRefusal,
}

impl fmt::Display for Advised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, refusal } = self;
        match refusal {
            LoginRefusal::NoPassword => {
                write!(
                    f,
                    "the registry asks for a user and a password: run 'docker login {host}' first"
                )
            }
            LoginRefusal::IdentityTokenOfNoUse => write!(
                f,
                "the registry asks for a user and a password, and only an identity token is kept for it: run 'docker login {host}' with a user and a password"
            ),
            LoginRefusal::NoToken { has_credentials, .. } => {
                let when = if *has_credentials { "again" } else { "first" };
                write!(f, "{refusal}: run 'docker login {host}' {when}")
            }
            LoginRefusal::UnknownScheme(_) => write!(f, "{refusal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let no_token = |has_credentials| LoginRefusal::NoToken {
            realm: "https://auth.example/token".to_owned(),
            status: StatusCode::UNAUTHORIZED,
            has_credentials,
        };
        for (refusal, advice) in [
            (LoginRefusal::NoPassword, "run 'docker login a.example' first"),
            (
                LoginRefusal::IdentityTokenOfNoUse,
                "run 'docker login a.example' with a user and a password",
            ),
            (
                no_token(true),
                "gives no token (HTTP 401): run 'docker login a.example' again",
            ),
            (
                no_token(false),
                "gives no token (HTTP 401): run 'docker login a.example' first",
            ),
        ] {
            let host = "a.example".to_owned();
            let told = LoginError::Refused { host, refusal }.to_string();
            assert!(told.ends_with(advice), "{told}");
        }
    }
}
