//! Deletions in a repository whose links are kept in a sibling (`links.repository`): what is kept there goes by the caller's own rights alone, never
//! by those of refshim's account, and not at all in another registry.

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
        if sibling.elsewhere.is_some() {
            return Err(not_there(&sibling));
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

/// 403: nothing in the image's registry says who may delete in another, and the caller's credentials do not go there.
fn not_there(sibling: &Sibling) -> WriteError {
    let message =
        format!("it is kept in {sibling}, another registry, where only its own clients delete; nothing was deleted");
    WriteError::Oci(OciError::new(StatusCode::FORBIDDEN, Code::Denied, message)).untouched()
}

/// 403: a challenge for the sibling would be answered with a token that does not open the repository.
fn denied(sibling: &Sibling) -> WriteError {
    let message = format!("it is kept in {sibling}, where these credentials may not delete; nothing was deleted");
    WriteError::Oci(OciError::new(StatusCode::FORBIDDEN, Code::Denied, message)).untouched()
}
