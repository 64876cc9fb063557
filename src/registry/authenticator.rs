//! refshim's own credentials at one registry: what it asks for is learned from its challenges, tokens are kept until they end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::auth::{Bearer, Challenge, Credentials, CredentialsSource, Ecr, EcrOptions, Token, basic};
use crate::config::{CredentialsConfig, CredentialsKind, UpstreamConfig};

use super::UpstreamError;
use super::attempt_lock::AttemptLock;

/// Kinds of tokens at once.
const TOKENS: u64 = 10_000;
/// Repositories come and go.
const TOKENS_IDLE: Duration = Duration::from_secs(3600);
/// A token is not used in its last tenth, nor in its last moments where it lives long.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuthScheme {
    /// It asks for nothing.
    Open,
    Basic,
    Bearer(Bearer),
}

/// Why a token is wanted, and of whom.
type TokenKey = (String, Vec<String>);

pub(super) struct Authenticator {
    source: CredentialsSource,
    held: Mutex<Option<CachedCredentials>>,
    /// Of those who ask the source.
    fetching: AttemptLock<UpstreamError>,
    scheme: Mutex<Option<AuthScheme>>,
    /// Of those who ask the registry for its scheme.
    pub(super) asking: AttemptLock<UpstreamError>,
    tokens: Cache<TokenKey, Arc<TokenSlot>>,
}

#[derive(Default)]
pub(super) struct TokenSlot {
    held: Mutex<Option<CachedToken>>,
    /// Of those who ask the realm. `None`: it gives no token.
    pub(super) attempt_lock: AttemptLock<Option<UpstreamError>>,
}

impl TokenSlot {
    pub(super) fn hold(&self, token: CachedToken) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    pub(super) fn usable(&self) -> Option<HeaderValue> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().and_then(CachedToken::usable)
    }
}

struct CachedCredentials {
    credentials: Option<Credentials>,
    fetched: Instant,
    until: Instant,
}

/// A token and the end of its use.
pub(super) struct CachedToken {
    authorization: HeaderValue,
    until: Instant,
}

impl CachedToken {
    /// `None` for a token that no header can hold.
    pub(super) fn new(token: &Token) -> Option<Self> {
        let margin = (token.lives / 10).min(LONGEST_MARGIN);
        Some(Self {
            authorization: sensitive(&format!("Bearer {}", token.token))?,
            until: Instant::now() + token.lives.saturating_sub(margin).min(super::NEVER),
        })
    }

    /// For the request that it was fetched for, however short it lives.
    pub(super) fn at_once(&self) -> HeaderValue {
        self.authorization.clone()
    }

    fn usable(&self) -> Option<HeaderValue> {
        (Instant::now() < self.until).then(|| self.authorization.clone())
    }
}

impl Authenticator {
    /// With these credentials at the registry of `config`. `None` where callers bring their own.
    pub(super) fn new(credentials: &CredentialsConfig, config: &UpstreamConfig) -> Option<Self> {
        source(credentials, config.url.authority()).map(Self::on)
    }

    fn on(source: CredentialsSource) -> Self {
        Self {
            source,
            held: Mutex::default(),
            fetching: AttemptLock::default(),
            scheme: Mutex::default(),
            asking: AttemptLock::default(),
            tokens: Cache::builder().max_capacity(TOKENS).time_to_idle(TOKENS_IDLE).build(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<CachedCredentials>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Option<Option<Credentials>> {
        let held = self.held();
        let usable = held.as_ref().filter(|held| Instant::now() < held.until);
        usable.map(|held| held.credentials.clone())
    }

    pub(super) fn scheme(&self) -> Option<AuthScheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns from the challenges of an answer.
    pub(super) fn learn(&self, challenges: &[Challenge]) -> AuthScheme {
        let known = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Basic => Some(AuthScheme::Basic),
            // What a token is for differs from request to request.
            Challenge::Bearer(bearer) => Some(AuthScheme::Bearer(Bearer {
                scope: None,
                ..bearer.clone()
            })),
            Challenge::Other(_) => None,
        });
        let mut scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        // A refusal that asks for nothing teaches nothing.
        let learned = known.or_else(|| scheme.take()).unwrap_or(AuthScheme::Open);
        *scheme = Some(learned.clone());
        learned
    }

    /// The credentials as they are now.
    pub(super) async fn credentials(&self) -> Result<Option<Credentials>, UpstreamError> {
        if let Some(credentials) = self.usable() {
            return Ok(credentials);
        }
        let attempt = self.fetching.wait().await?;
        if let Some(credentials) = self.usable() {
            return Ok(credentials);
        }
        match self.source.get().await {
            Ok(credentials) => {
                let now = Instant::now();
                *self.held() = Some(CachedCredentials {
                    credentials: credentials.clone(),
                    fetched: now,
                    until: now + self.source.holds_for(),
                });
                Ok(credentials)
            }
            Err(error) => {
                let error = UpstreamError::Credentials(error.to_string());
                attempt.failed(error.clone());
                Err(error)
            }
        }
    }

    /// The value for HTTP Basic; `None` where there is no password.
    pub(super) async fn basic(&self) -> Result<Option<HeaderValue>, UpstreamError> {
        Ok(match self.credentials().await? {
            Some(Credentials::Password { user, password }) => sensitive(&basic(&user, &password)),
            Some(Credentials::IdentityToken(_)) | None => None,
        })
    }

    pub(super) fn slot(&self, bearer: &Bearer, scopes: &[String]) -> Arc<TokenSlot> {
        let key = (bearer.realm.clone(), scopes.to_vec());
        self.tokens.get_with(key, Arc::default)
    }

    /// Forgets what was just refused: credentials may have been replaced, tokens withdrawn. Not over and over where another look
    /// costs more than that: one caller may be refused where all others are not.
    pub(super) fn forget(&self, scopes: &[String]) {
        let pause = self.source.trusted_for();
        self.held().take_if(|held| held.fetched.elapsed() >= pause);
        self.source.forget();
        if let Some(AuthScheme::Bearer(bearer)) = self.scheme() {
            self.tokens.invalidate(&(bearer.realm, scopes.to_vec()));
        }
    }
}

fn source(config: &CredentialsConfig, host: &str) -> Option<CredentialsSource> {
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

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_alone_what_was_just_fetched_of_a_helper() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let write = |auth: &str| {
            let auths = serde_json::json!({"auths": {"registry": {"auth": auth}}});
            std::fs::write(&file, auths.to_string()).unwrap();
        };
        let login = Authenticator::on(CredentialsSource::DockerConfig {
            file: Some(file.clone()),
            host: "registry".into(),
        });
        write("YTpvbGQ=");
        let old = login.basic().await.unwrap();
        write("YTpuZXc=");
        login.forget(&[]);
        assert_eq!(login.basic().await.unwrap(), old);
        tokio::time::advance(login.source.trusted_for()).await;
        login.forget(&[]);
        assert_eq!(login.basic().await.unwrap().unwrap(), "Basic YTpuZXc=");
    }

    fn token(seconds: u64) -> CachedToken {
        let lives = Duration::from_secs(seconds);
        let token = "t".to_owned();
        CachedToken::new(&Token { token, lives }).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_not_used_in_its_last_moments() {
        let (short, long) = (token(60), token(3600));
        assert_eq!(short.usable().unwrap(), "Bearer t");
        tokio::time::advance(Duration::from_secs(53)).await;
        assert!(short.usable().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(short.usable().is_none());
        tokio::time::advance(Duration::from_secs(3600 - 54 - 31)).await;
        assert!(long.usable().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(long.usable().is_none());
        assert!(token(0).usable().is_none());
    }
}
