//! Deletions in a repository whose links are kept in a sibling (`links.repository`): what is kept there goes by the caller's own rights alone, never
//! by those of refshim's account.

use std::sync::Arc;

use http::StatusCode;

use crate::oci::{Code, OciError, Reference, RepositoryName, tag_scheme};
use crate::referrers::{Recency, UnknownForm};
use crate::registry::{Caller, RegistryResponse, Sibling, WriteHeaders};

use super::Writer;
use super::delete::states_absence;
use super::error::WriteError;

impl Writer {
    /// Deletes in the repository and in its sibling. The sibling comes first: where the caller may not delete there, nothing is deleted, and the
    /// deletion can be repeated with other credentials.
    pub(super) async fn delete_beside(
        self: &Arc<Self>,
        (repository, sibling): (&RepositoryName, Sibling),
        reference: &Reference,
        headers: WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, WriteError> {
        if let Reference::Tag(tag) = reference {
            let reply = self.delete_here(repository, reference, headers.clone(), caller).await?;
            if tag_scheme::parse(tag.as_str()).is_none() || !states_absence(&reply) {
                return Ok(reply);
            }
        }
        let as_kept = (UnknownForm::Leave, Recency::Now);
        let kept = self.resolver.linked_manifest(repository, reference, caller, as_kept);
        let is_kept = kept.await.map_err(WriteError::of_reading)?.is_some();
        if !is_kept {
            return self.delete_here(repository, reference, headers, caller).await;
        }
        let gone = self
            .delete_here(&sibling.repository, reference, headers.clone(), caller)
            .await?;
        match (gone.status, reference) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(denied(&sibling)),
            (status, Reference::Digest(_)) if status.is_success() => {
                let here = self.delete_here(repository, reference, headers, caller).await?;
                Ok(match states_absence(&here) {
                    true => gone,
                    false => here,
                })
            }
            _ => Ok(gone),
        }
    }
}

/// 403: a challenge for the sibling would be answered with a token that does not open the repository.
fn denied(sibling: &Sibling) -> WriteError {
    let message = format!(
        "it is kept in {}, where these credentials may not delete; nothing was deleted",
        sibling.repository
    );
    WriteError::Oci(OciError::new(StatusCode::FORBIDDEN, Code::Denied, message)).untouched()
}
