//! What is reported of credentials that `serve` would use instead of its callers'.

use std::net::SocketAddr;

use serde::Serialize;

use crate::cli::users::CredentialUsers;

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnCredentials {
    /// `upstream.credentials.kind`
    pub(super) kind: &'static str,
    /// `null` when the registry could not be asked.
    pub(super) outcome: Option<CredentialCheckResult>,
    pub(super) usable_by: CredentialUsers,
    #[serde(skip)]
    pub(super) listen: SocketAddr,
}

/// What became of the credentials when they were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CredentialCheckResult {
    Accepted,
    /// The registry lets everybody in.
    Unneeded,
    /// Their source has none for the registry.
    Missing,
    Refused,
}

impl OwnCredentials {
    pub(super) fn text(&self) -> String {
        let outcome = match self.outcome {
            None => "not tried",
            Some(CredentialCheckResult::Accepted) => "the registry accepts them",
            Some(CredentialCheckResult::Unneeded) => "the registry asks for none, so they were not tried",
            Some(CredentialCheckResult::Missing) => "none for this registry",
            Some(CredentialCheckResult::Refused) => "the registry refuses them",
        };
        format!("{}: {outcome}", self.kind)
    }
}
