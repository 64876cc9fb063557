//! refshim's own credentials at one registry: what it asks for is learned from its challenges, tokens are kept until they end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use moka::sync::Cache;
use tokio::time::Instant;

use crate::config::{CredentialsConfig, CredentialsKind, UpstreamConfig};
use crate::credentials::{Bearer, Challenge, Credentials, Ecr, EcrOptions, Source, Token, basic};

use super::UpstreamError;

/// Kinds of tokens at once.
const TOKENS: u64 = 10_000;
/// Repositories come and go.
const TOKENS_IDLE: Duration = Duration::from_secs(3600);
/// A token is not used in its last tenth, nor in its last moments where it lives long.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// It asks for nothing.
    Open,
    Basic,
    Bearer(Bearer),
}

/// Why a token is wanted, and of whom.
type TokenKey = (String, Vec<String>);

pub(super) struct Login {
    source: Source,
    held: tokio::sync::Mutex<Option<Held>>,
    scheme: Mutex<Option<Scheme>>,
    /// Held while the registry is asked for its scheme.
    pub(super) asking: tokio::sync::Mutex<()>,
    tokens: Cache<TokenKey, Arc<TokenSlot>>,
}

/// Its lock is held while the token is fetched, so that it is fetched once.
pub(super) type TokenSlot = tokio::sync::Mutex<Option<HeldToken>>;

struct Held {
    credentials: Option<Credentials>,
    until: Instant,
}

/// A token and the end of its use.
pub(super) struct HeldToken {
    authorization: HeaderValue,
    until: Instant,
}

impl HeldToken {
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

    pub(super) fn usable(&self) -> Option<HeaderValue> {
        (Instant::now() < self.until).then(|| self.authorization.clone())
    }
}

impl Login {
    /// `None` where callers bring their own.
    pub(super) fn new(config: &UpstreamConfig) -> Option<Self> {
        Some(Self {
            source: source(&config.credentials, config.url.authority())?,
            held: tokio::sync::Mutex::default(),
            scheme: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            tokens: Cache::builder().max_capacity(TOKENS).time_to_idle(TOKENS_IDLE).build(),
        })
    }

    pub(super) fn scheme(&self) -> Option<Scheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns from the challenges of an answer.
    pub(super) fn learn(&self, challenges: &[Challenge]) -> Scheme {
        let known = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Basic => Some(Scheme::Basic),
            // What a token is for differs from request to request.
            Challenge::Bearer(bearer) => Some(Scheme::Bearer(Bearer {
                scope: None,
                ..bearer.clone()
            })),
            Challenge::Other(_) => None,
        });
        let mut scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        // A refusal that asks for nothing teaches nothing.
        let learned = known.or_else(|| scheme.take()).unwrap_or(Scheme::Open);
        *scheme = Some(learned.clone());
        learned
    }

    /// The credentials as they are now.
    pub(super) async fn credentials(&self) -> Result<Option<Credentials>, UpstreamError> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.until) {
            return Ok(held.credentials.clone());
        }
        let credentials = self.source.get().await;
        let credentials = credentials.map_err(|error| UpstreamError::Credentials(error.to_string()))?;
        *held = Some(Held {
            credentials: credentials.clone(),
            until: Instant::now() + self.source.holds_for(),
        });
        Ok(credentials)
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

    /// Forgets what was just refused: credentials may have been replaced, tokens withdrawn.
    pub(super) async fn forget(&self, scopes: &[String]) {
        *self.held.lock().await = None;
        self.source.forget();
        if let Some(Scheme::Bearer(bearer)) = self.scheme() {
            self.tokens.invalidate(&(bearer.realm, scopes.to_vec()));
        }
    }
}

fn source(config: &CredentialsConfig, host: &str) -> Option<Source> {
    // The configuration was checked: a static source has a name, and one kind of password.
    let user = config.username.clone().unwrap_or_default();
    Some(match (config.kind, &config.password_file) {
        (CredentialsKind::Caller, _) => return None,
        (CredentialsKind::Static, Some(file)) => Source::PasswordFile {
            user,
            file: file.clone(),
        },
        (CredentialsKind::Static, None) => Source::Password {
            user,
            password: config
                .password
                .as_ref()
                .map(|secret| secret.reveal().to_owned())
                .unwrap_or_default(),
        },
        (CredentialsKind::DockerConfig, _) => Source::DockerConfig {
            file: config.file.clone(),
            host: host.to_owned(),
        },
        (CredentialsKind::Ecr, _) => Source::Ecr(Ecr::new(EcrOptions {
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

    fn token(seconds: u64) -> HeldToken {
        let lives = Duration::from_secs(seconds);
        let token = "t".to_owned();
        HeldToken::new(&Token { token, lives }).unwrap()
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
