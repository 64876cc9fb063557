//! Logins on credentials that a caller typed into a page, or on none: what a client does that answers challenges itself.

use http::HeaderValue;

use super::Upstream;
use crate::auth::token_scopes::read_scope;
use crate::auth::{AuthScheme, Authorization, CredentialsSource};
use crate::oci::RepositoryName;
use crate::registry::authentication::login::Login;
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;

/// The scope of the list of repositories.
const CATALOG: &str = "registry:catalog:*";
/// Of the answer to a ping that is read, in bytes.
const PING_LIMIT: usize = 1 << 20;

/// A caller's login at one registry, with the tokens that it was given.
pub struct CallerLogin(Login);

impl Upstream {
    /// A login with a password, or without one: many token endpoints give anybody a token for what is public. Asks nobody yet.
    pub fn caller_login(&self, password: Option<(String, String)>) -> CallerLogin {
        let source = match password {
            Some((user, password)) => CredentialsSource::Password { user, password },
            None => CredentialsSource::Nobody,
        };
        // As with refshim's own credentials, no registry leads to a token endpoint on a private address that is not listed.
        CallerLogin(Login::of_proxy(source, self.url.scheme() == "https"))
    }

    /// What the caller's reads of `repository` take along, without one those of the catalog.
    pub async fn authorize(
        &self,
        login: &CallerLogin,
        repository: Option<&RepositoryName>,
    ) -> Result<Authorization, UpstreamError> {
        let scope = repository.map_or_else(|| CATALOG.to_owned(), |name| read_scope(name.as_str()));
        self.reader.transport().log_in_as(&login.0, &[scope]).await
    }

    /// Whether the registry, or its token endpoint, lets the caller in at all.
    pub async fn accepts(&self, login: &CallerLogin) -> Result<bool, UpstreamError> {
        match self.reader.transport().log_in_as(&login.0, &[]).await? {
            Authorization::Refused(_) => Ok(false),
            Authorization::Unneeded => Ok(true),
            Authorization::Header(header) => match login.0.authenticator.scheme() {
                // Who gives tokens has checked the password.
                Some(AuthScheme::Bearer(_)) => Ok(true),
                _ => self.lets_in(header).await,
            },
        }
    }

    async fn lets_in(&self, authorization: HeaderValue) -> Result<bool, UpstreamError> {
        let ping = self.get("/v2/", &Caller::with(Some(authorization)), PING_LIMIT).await?;
        Ok(ping.status.is_success())
    }
}

impl CallerLogin {
    /// Whether the registry asks for no login, as far as it was asked.
    pub fn is_needless(&self) -> bool {
        self.0.authenticator.scheme() == Some(AuthScheme::Open)
    }
}
