//! Whether the registry accepts the credentials that the configuration gives refshim.

use http::StatusCode;

use super::{Caller, Upstream, UpstreamError};
use crate::auth::AuthScheme;
use crate::oci::RepositoryName;

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
    /// Shows the registry refshim's own credentials: at `repository`, else at `/v2/`. `None` where there are none.
    pub async fn try_own_credentials(
        &self,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<CredentialCheck>, UpstreamError> {
        let Some(login) = &self.login else { return Ok(None) };
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
