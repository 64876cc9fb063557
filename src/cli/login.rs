//! From what a registry asks for and what this machine knows to an `Authorization` header.

use http::HeaderValue;
use url::Url;

use crate::auth::{Bearer, Challenge, Credentials, CredentialsError, DockerConfig, Token, basic, challenges, question};
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::oci::RepositoryName;
use crate::registry::{Caller, RegistryResponse, SetupError, Upstream, UpstreamError};

/// Answers of token endpoints are small, and so is what `/v2/` says.
const MAX_REPLY: usize = 1 << 20;

/// Why nobody could be logged in.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Registry(#[from] UpstreamError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the registry asks for a user and a password: run 'docker login {0}' first")]
    Missing(String),
    #[error("the registry's way of logging in ({0}) is not known: only Basic and Bearer are")]
    Scheme(String),
    #[error("the token endpoint {realm} {problem}")]
    Token { realm: String, problem: String },
}

/// What a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestedAccess {
    Read,
    Write,
    Delete,
}

impl RequestedAccess {
    /// The actions of a token's scope (distribution-spec implementations, "Token Scope").
    fn actions(self) -> &'static str {
        match self {
            Self::Read => "pull",
            Self::Write => "pull,push",
            Self::Delete => "pull,push,delete",
        }
    }
}

/// On whose behalf the registry is asked from now on.
#[derive(Debug)]
pub(super) struct LoggedIn {
    pub(super) caller: Caller,
    /// Whether this machine holds credentials for the registry.
    pub(super) has_credentials: bool,
}

/// A registry to log in to.
pub(super) struct LoginRequest<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) config: &'a UpstreamConfig,
    /// The key of its credentials: host and port.
    pub(super) host: &'a str,
    pub(super) access: RequestedAccess,
}

impl LoginRequest<'_> {
    /// What `/v2/` says to somebody without credentials.
    pub(super) async fn ping(&self) -> Result<RegistryResponse, UpstreamError> {
        self.upstream.get("/v2/", &Caller::anonymous(), MAX_REPLY).await
    }

    /// Gets what `reply` to [`LoginRequest::knock`] asks for, to work on `repository` with.
    pub(super) async fn log_in(
        &self,
        reply: &RegistryResponse,
        repository: Option<&RepositoryName>,
    ) -> Result<LoggedIn, LoginError> {
        let known = DockerConfig::find()?.credentials(self.host).await?;
        let challenges = challenges(&reply.headers);
        let wanted = challenges
            .iter()
            .find(|challenge| !matches!(challenge, Challenge::Other(_)));
        let authorization = match (wanted.or(challenges.first()), &known) {
            (None, _) => None,
            (Some(Challenge::Basic), Some(Credentials::Password { user, password })) => Some(basic(user, password)),
            (Some(Challenge::Basic), _) => return Err(LoginError::Missing(self.host.to_owned())),
            (Some(Challenge::Bearer(bearer)), known) => {
                let token = self.token(bearer, repository, known.as_ref()).await?;
                Some(format!("Bearer {token}"))
            }
            (Some(Challenge::Other(scheme)), _) => return Err(LoginError::Scheme(scheme.clone())),
        };
        Ok(LoggedIn {
            // A password or token that no header can hold is as good as none.
            caller: Caller::with(authorization.and_then(|text| HeaderValue::try_from(text).ok())),
            has_credentials: known.is_some(),
        })
    }

    /// Docker's token authentication.
    async fn token(
        &self,
        bearer: &Bearer,
        repository: Option<&RepositoryName>,
        known: Option<&Credentials>,
    ) -> Result<String, LoginError> {
        let failed = |problem: String| LoginError::Token {
            realm: bearer.realm.clone(),
            problem,
        };
        let realm = Url::parse(&bearer.realm).map_err(|error| failed(format!("is not a URL: {error}")))?;
        let basic = match known {
            None => None,
            Some(Credentials::IdentityToken(_)) => {
                return Err(failed(
                    "would take an identity token, which is not supported: log in with a password".to_owned(),
                ));
            }
            Some(_) if self.config.url.scheme() == "https" && realm.scheme() != "https" => {
                return Err(failed("is not https: the credentials stay here".to_owned()));
            }
            Some(Credentials::Password { user, password }) => HeaderValue::try_from(basic(user, password)).ok(),
        };
        let endpoint = Upstream::new(&self.endpoint_config(&realm), &LimitsConfig::default())?;
        let scope = repository.map(|repository| format!("repository:{repository}:{}", self.access.actions()));
        let question = question(&realm, bearer, scope.as_slice());
        let reply = endpoint.get(&question, &Caller::with(basic), MAX_REPLY).await?;
        if !reply.status.is_success() {
            let mend = match known {
                Some(_) => "check the credentials".to_owned(),
                None => format!("run 'docker login {}' first", self.host),
            };
            return Err(failed(format!(
                "gives no token (HTTP {}): {mend}",
                reply.status.as_u16()
            )));
        }
        let token = Token::parse(&reply.body).map(|token| token.token);
        token.ok_or_else(|| failed("answers without a token".to_owned()))
    }

    /// The token endpoint, trusted and waited for as the registry is.
    fn endpoint_config(&self, realm: &Url) -> UpstreamConfig {
        let mut origin = realm.clone();
        origin.set_path("");
        origin.set_query(None);
        origin.set_fragment(None);
        UpstreamConfig {
            url: origin,
            http2_prior_knowledge: false,
            ..self.config.clone()
        }
    }
}
