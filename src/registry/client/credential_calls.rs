//! The credentials that refshim has of its own, or of the user who runs a subcommand: logging in, and whether they are accepted.

use http::StatusCode;

use super::Upstream;
use crate::auth::token_scopes::read_scope;
use crate::auth::{AuthScheme, Authorization, LoginRefusal};
use crate::oci::RepositoryName;
use crate::registry::caller::Caller;
use crate::registry::error::UpstreamError;

/// Of the answer that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// What became of credentials that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialCheck {
    /// The registry let them in.
    Accepted,
    /// The registry did not ask for them, so that nothing is known of them.
    Unneeded,
    /// Their source has none for this registry.
    Missing,
    /// The registry, or its token endpoint, does not let them in.
    Refused,
}

impl Upstream {
    /// Whether callers' credentials are left aside and refshim's own are used.
    pub fn has_own_credentials(&self) -> bool {
        self.reader.transport().login().is_some()
    }

    /// Reads the credentials of refshim's own again for the next request.
    pub fn read_credentials_again(&self) {
        self.reader.transport().read_credentials_again();
    }

    /// Whether an account of refshim's lists tags on behalf of callers ([`Caller::listing_account`]).
    pub fn has_listing_account(&self) -> bool {
        self.reader.transport().has_listing_account()
    }

    /// Gets ahead what reads of `repository` (without one: of `/v2/`) take along, so that whoever is not let in hears of it before
    /// the work begins. Writes and deletions get tokens of their own when they are made.
    pub async fn log_in(&self, repository: Option<&RepositoryName>) -> Result<Result<(), LoginRefusal>, UpstreamError> {
        let scopes: Vec<String> = repository.map(|name| read_scope(name.as_str())).into_iter().collect();
        let mut retry = self.reader.retry();
        loop {
            match self.reader.transport().log_in(&scopes).await {
                Ok(Authorization::Unneeded | Authorization::Header(_)) => return Ok(Ok(())),
                Ok(Authorization::Refused(refusal)) => return Ok(Err(refusal)),
                Err(error) => retry.after(error.into()).await?,
            }
        }
    }

    /// Whether there are credentials for the registry to log in with.
    pub async fn has_credentials(&self) -> Result<bool, UpstreamError> {
        match self.reader.transport().login() {
            Some(login) => Ok(login.authenticator.credentials().await?.is_some()),
            None => Ok(false),
        }
    }

    /// Shows the registry refshim's own credentials: at `repository`, else at `/v2/`. `None` where there are none.
    pub async fn try_own_credentials(
        &self,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<CredentialCheck>, UpstreamError> {
        let Some(login) = self.reader.transport().login() else {
            return Ok(None);
        };
        let held = login.authenticator.credentials().await?.is_some();
        let path = match repository {
            Some(repository) => format!("/v2/{repository}/tags/list?n=1"),
            None => "/v2/".to_owned(),
        };
        let reply = self.get(&path, &Caller::anonymous(), LIMIT).await?;
        let refused = matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        Ok(Some(match login.authenticator.scheme() {
            Some(AuthScheme::Open | AuthScheme::Unknown(_)) | None if !refused => CredentialCheck::Unneeded,
            _ if !held => CredentialCheck::Missing,
            _ if refused => CredentialCheck::Refused,
            _ => CredentialCheck::Accepted,
        }))
    }
}
