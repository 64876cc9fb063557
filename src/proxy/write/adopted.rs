//! Deleting adopted forms: what the registry has of them is the original.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::Writer;
use super::error::WriteError;
use crate::oci::{AdoptedOriginal, Code, Digest, OciError, RepositoryName};
use crate::referrers::{ResolveError, UnknownForm};
use crate::registry::{Caller, RegistryResponse, WriteHeaders};

impl Writer {
    /// Deletes the manifest `own`. Of an adopted form the original goes, and both where the form is stored, too: otherwise what was
    /// deleted would be listed again.
    pub(super) async fn delete_with_original(
        self: &Arc<Self>,
        repository: &RepositoryName,
        own: &Digest,
        headers: WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, WriteError> {
        let reply = self.delete_digest(repository, own, headers.clone(), caller).await?;
        let unknown = match reply.status {
            StatusCode::NOT_FOUND => UnknownForm::Search,
            status if status.is_success() => UnknownForm::Leave,
            _ => return Ok(reply),
        };
        let original = Box::pin(self.resolver.adopted_original(repository, own, caller, unknown)).await;
        match (original, reply.status) {
            (Ok(None), _) => Ok(reply),
            (Ok(Some(original)), StatusCode::NOT_FOUND) => {
                self.delete_original_of(repository, own, &original, headers, caller)
                    .await
            }
            (Ok(Some(original)), _) if original.is_in_index => Ok(reply),
            (Ok(Some(original)), _) => {
                let headers = WriteHeaders::of(HeaderMap::new());
                self.delete_digest(repository, &original.digest, headers, caller).await
            }
            (Err(ResolveError::Upstream(under_way)), StatusCode::NOT_FOUND) if under_way.is_under_way() => {
                Err(WriteError::from(under_way).untouched())
            }
            // The registry's own answer stands.
            (Err(error), _) => {
                tracing::debug!(%repository, digest = %own, %error, "not known whether it is an adopted form");
                Ok(reply)
            }
        }
    }

    async fn delete_original_of(
        self: &Arc<Self>,
        repository: &RepositoryName,
        own: &Digest,
        original: &AdoptedOriginal,
        headers: WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, WriteError> {
        if original.is_in_index {
            let message = format!(
                "{own} is made of {}, which an index lists: delete that index instead",
                original.digest
            );
            return Err(WriteError::Oci(OciError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::Unsupported,
                message,
            ))
            .untouched());
        }
        if headers.is_conditional() {
            return Err(WriteError::adopted_form_has_no_conditions(&original.digest));
        }
        self.delete_digest(repository, &original.digest, headers, caller).await
    }
}
