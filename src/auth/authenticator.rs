//! The login at one registry, on this machine's credentials: `serve` with `upstream.credentials` and the command line use the same.
//!
//! What the registry asks for is learned from its challenges. Passwords are shown to it or to its token endpoint, identity tokens are
//! exchanged there; tokens are kept until they end. The connections are the caller's: it answers each [`AuthQuestion`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use tokio::time::Instant;

use super::authorization::Asking;
use super::scheme::stated_scopes;
use super::token::sensitive;
use super::token_cache::{CachedToken, NoToken, TokenCache};
use super::{
    AuthProblem, AuthQuestion, AuthScheme, Authorization, Bearer, Credentials, CredentialsSource, LoginRefusal, Token,
    TokenRequest, basic, challenges,
};
use crate::http::attempt_lock::AttemptLock;

/// One login at one registry. `E` says why a question got no answer.
pub struct Authenticator<E> {
    source: CredentialsSource,
    /// Credentials are sent to token endpoints with https alone, as the registry is.
    https_only: bool,
    credentials: Mutex<Option<CachedCredentials>>,
    /// The source had some: if it has none any more, the registry is not asked as nobody, who may see less.
    had_credentials: AtomicBool,
    /// Held by whoever asks the source.
    fetching: AttemptLock<E>,
    scheme: Mutex<Option<AuthScheme>>,
    /// Held by whoever asks the registry for its scheme.
    asking: AttemptLock<E>,
    tokens: TokenCache<E>,
}

struct CachedCredentials {
    credentials: Option<Credentials>,
    fetched: Instant,
    until: Instant,
}

impl<E: Clone + Send + From<AuthProblem> + 'static> Authenticator<E> {
    /// Asks nobody yet. `https_only`: the registry is asked over TLS, so credentials go to no token endpoint that is not.
    pub fn new(source: CredentialsSource, https_only: bool) -> Self {
        Self {
            source,
            https_only,
            credentials: Mutex::default(),
            had_credentials: AtomicBool::default(),
            fetching: AttemptLock::default(),
            scheme: Mutex::default(),
            asking: AttemptLock::default(),
            tokens: TokenCache::new(),
        }
    }

    /// What a request that needs `scopes` takes along.
    pub async fn authorization(&self, scopes: &[String], ask: &Asking<'_, E>) -> Result<Authorization, E> {
        let scheme = self.ask_scheme(ask).await?;
        self.by_scheme(&scheme, scopes, ask).await
    }

    /// What the same request takes along when it is made again, after the registry refused it (401) with `headers`.
    pub async fn authorization_again(
        &self,
        headers: &HeaderMap,
        scopes: &[String],
        ask: &Asking<'_, E>,
    ) -> Result<Authorization, E> {
        let challenges = challenges(headers);
        self.forget(scopes);
        let scheme = self.learn(AuthScheme::of(&challenges));
        match stated_scopes(&challenges) {
            None => self.by_scheme(&scheme, scopes, ask).await,
            Some(stated) => {
                self.forget(&stated);
                self.by_scheme(&scheme, &stated, ask).await
            }
        }
    }

    /// What the registry asks for; `None` as long as it was not asked.
    pub fn scheme(&self) -> Option<AuthScheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The credentials as they are now; `None` where their source has none for this registry.
    pub async fn credentials(&self) -> Result<Option<Credentials>, E> {
        if let Some(credentials) = self.usable_credentials() {
            return Ok(credentials);
        }
        let attempt = self.fetching.wait().await?;
        if let Some(credentials) = self.usable_credentials() {
            return Ok(credentials);
        }
        match self.fetch_credentials().await {
            Ok(credentials) => {
                let now = Instant::now();
                *self.cached_credentials() = Some(CachedCredentials {
                    credentials: credentials.clone(),
                    fetched: now,
                    until: now + self.source.holds_for(),
                });
                Ok(credentials)
            }
            Err(problem) => {
                let error = E::from(problem);
                attempt.failed(error.clone());
                Err(error)
            }
        }
    }

    /// Asks the source again for the next request, and for tokens by what it says then.
    pub fn read_credentials_again(&self) {
        self.source.forget();
        *self.cached_credentials() = None;
        self.tokens.clear();
    }

    async fn fetch_credentials(&self) -> Result<Option<Credentials>, AuthProblem> {
        let found = self.source.get().await;
        let found = found.map_err(|error| AuthProblem::Credentials(error.to_string()))?;
        if found.is_some() {
            self.had_credentials.store(true, Ordering::Relaxed);
        } else if self.had_credentials.load(Ordering::Relaxed) {
            let problem = "those that there were are gone: log in again, or start refshim anew to go on without";
            return Err(AuthProblem::Credentials(problem.to_owned()));
        }
        Ok(found)
    }

    fn cached_credentials(&self) -> MutexGuard<'_, Option<CachedCredentials>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable_credentials(&self) -> Option<Option<Credentials>> {
        let cached = self.cached_credentials();
        let usable = cached.as_ref().filter(|cached| Instant::now() < cached.until);
        usable.map(|cached| cached.credentials.clone())
    }

    /// What the registry asks for; it is asked once.
    async fn ask_scheme(&self, ask: &Asking<'_, E>) -> Result<AuthScheme, E> {
        if let Some(scheme) = self.scheme() {
            return Ok(scheme);
        }
        let attempt = self.asking.wait().await?;
        if let Some(scheme) = self.scheme() {
            return Ok(scheme);
        }
        match ask(AuthQuestion::Challenge).await {
            Ok(reply) => Ok(self.learn(AuthScheme::of(&challenges(&reply.headers)))),
            Err(error) => {
                attempt.failed(error.clone());
                Err(error)
            }
        }
    }

    /// Keeps what an answer asks for. A refusal that asks for nothing, or for what refshim does not know, changes nothing that is
    /// known.
    fn learn(&self, asked: Option<AuthScheme>) -> AuthScheme {
        let mut scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = match (asked, scheme.take()) {
            (Some(asked @ (AuthScheme::Open | AuthScheme::Basic | AuthScheme::Bearer(_))), _) => asked,
            (_, Some(known @ (AuthScheme::Basic | AuthScheme::Bearer(_)))) => known,
            (Some(asked @ AuthScheme::Unknown(_)), _) => asked,
            (None, known) => known.unwrap_or(AuthScheme::Open),
        };
        *scheme = Some(learned.clone());
        learned
    }

    async fn by_scheme(&self, scheme: &AuthScheme, scopes: &[String], ask: &Asking<'_, E>) -> Result<Authorization, E> {
        match scheme {
            AuthScheme::Open => Ok(Authorization::Unneeded),
            AuthScheme::Basic => self.basic().await,
            AuthScheme::Bearer(bearer) => self.token(bearer, scopes, ask).await,
            AuthScheme::Unknown(scheme) => {
                let refusal = LoginRefusal::UnknownScheme(scheme.clone());
                Ok(Authorization::Refused(refusal))
            }
        }
    }

    /// HTTP Basic.
    async fn basic(&self) -> Result<Authorization, E> {
        Ok(match self.credentials().await? {
            Some(Credentials::Password { user, password }) => match sensitive(&basic(&user, &password)) {
                Some(header) => Authorization::Header(header),
                // A password that no header can hold is as good as none.
                None => Authorization::Refused(LoginRefusal::NoPassword),
            },
            Some(Credentials::IdentityToken(_)) => Authorization::Refused(LoginRefusal::IdentityTokenOfNoUse),
            None => Authorization::Refused(LoginRefusal::NoPassword),
        })
    }

    /// A token, kept until it ends.
    async fn token(&self, bearer: &Bearer, scopes: &[String], ask: &Asking<'_, E>) -> Result<Authorization, E> {
        let slot = self.tokens.slot(bearer, scopes);
        if let Some(usable) = slot.usable() {
            return Ok(Authorization::Header(usable));
        }
        let no_token = match slot.attempt_lock.wait().await {
            Err(no_token) => no_token,
            Ok(attempt) => {
                if let Some(usable) = slot.usable() {
                    return Ok(Authorization::Header(usable));
                }
                match self.fetch_token(bearer, scopes, ask).await {
                    Ok(token) => {
                        let header = token.at_once();
                        slot.hold(token);
                        return Ok(Authorization::Header(header));
                    }
                    Err(no_token) => {
                        attempt.failed(no_token.clone());
                        no_token
                    }
                }
            }
        };
        match no_token {
            NoToken::Refused(refusal) => Ok(Authorization::Refused(refusal)),
            NoToken::Failed(error) => Err(error),
        }
    }

    async fn fetch_token(
        &self,
        bearer: &Bearer,
        scopes: &[String],
        ask: &Asking<'_, E>,
    ) -> Result<CachedToken, NoToken<E>> {
        let credentials = self.credentials().await.map_err(NoToken::Failed)?;
        let request = TokenRequest::new(bearer, scopes, credentials.as_ref(), self.https_only);
        let request = request.map_err(|problem| NoToken::Failed(problem.into()))?;
        let reply = ask(AuthQuestion::Token(request)).await.map_err(NoToken::Failed)?;
        if reply.status.is_client_error() {
            return Err(NoToken::Refused(LoginRefusal::NoToken {
                realm: bearer.realm.clone(),
                status: reply.status,
                has_credentials: credentials.is_some(),
            }));
        }
        let token = Token::parse(&reply.body).as_ref().and_then(CachedToken::new);
        token.ok_or_else(|| {
            let problem = AuthProblem::Realm {
                realm: bearer.realm.clone(),
                problem: "answered without a token",
            };
            NoToken::Failed(problem.into())
        })
    }

    /// Forgets what was just refused: credentials may have been replaced, tokens withdrawn. A helper's credentials are kept for a
    /// while: one caller may be refused where all others are not, and each look costs a process.
    fn forget(&self, scopes: &[String]) {
        let pause = self.source.trusted_for();
        self.cached_credentials()
            .take_if(|cached| cached.fetched.elapsed() >= pause);
        self.source.forget();
        if let Some(AuthScheme::Bearer(bearer)) = self.scheme() {
            self.tokens.forget(&bearer, scopes);
        }
    }
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
