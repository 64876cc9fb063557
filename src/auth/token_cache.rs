//! Tokens that are kept until they end, each fetched once for everybody who needs it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::token::sensitive;
use super::{Bearer, LoginRefusal, Token};
use crate::expiring_map::ExpiringMap;
use crate::http::attempt_lock::AttemptLock;

/// How many tokens are kept; those that were not used for the longest time go first.
const TOKENS: u64 = 10_000;
/// A token that nobody used for this long is dropped: repositories come and go.
const TOKENS_IDLE: Duration = Duration::from_secs(3600);
/// A token is not used in its last tenth, nor in its last 30 s where it lives long.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);
/// Longer lives are cut to this, so that the end of a token can always be computed.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Which realm gave a token, and for which scopes.
type TokenKey = (String, Vec<String>);

/// The tokens of one login.
pub(super) struct TokenCache<E>(ExpiringMap<TokenKey, Arc<TokenSlot<E>>>);

impl<E: Send + 'static> TokenCache<E> {
    pub(super) fn new() -> Self {
        Self(ExpiringMap::builder(TOKENS).time_to_idle(TOKENS_IDLE).build())
    }

    pub(super) fn slot(&self, bearer: &Bearer, scopes: &[String]) -> Arc<TokenSlot<E>> {
        let key = (bearer.realm.clone(), scopes.to_vec());
        self.0.get_or_insert_with(&key, || Arc::new(TokenSlot::new()))
    }

    /// Drops all tokens.
    pub(super) fn clear(&self) {
        self.0.clear();
    }

    /// Drops the token that a registry just refused.
    pub(super) fn forget(&self, bearer: &Bearer, scopes: &[String]) {
        self.0.remove(&(bearer.realm.clone(), scopes.to_vec()));
    }
}

/// Why there is no token.
#[derive(Clone)]
pub(super) enum NoToken<E> {
    /// Its endpoint refuses to give one.
    Refused(LoginRefusal),
    /// Its endpoint gave no answer that could be used.
    Failed(E),
}

/// The place of one token.
pub(super) struct TokenSlot<E> {
    token: Mutex<Option<CachedToken>>,
    /// Held by whoever asks the realm.
    pub(super) attempt_lock: AttemptLock<NoToken<E>>,
}

impl<E> TokenSlot<E> {
    fn new() -> Self {
        Self {
            token: Mutex::default(),
            attempt_lock: AttemptLock::default(),
        }
    }

    pub(super) fn hold(&self, token: CachedToken) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    pub(super) fn usable(&self) -> Option<HeaderValue> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().and_then(CachedToken::usable)
    }
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
            until: Instant::now() + token.lives.saturating_sub(margin).min(LONGEST_LIFE),
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

#[cfg(test)]
mod tests {
    use super::*;

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
