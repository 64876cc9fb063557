//! Manifests by tag or digest, for the APIs that take either.

use std::sync::Arc;

use crate::oci::{Digest, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::registry::{Answer, Caller, RawManifest};

/// The digest that `reference` means: a tag must exist, a digest need not.
pub(in crate::proxy) async fn subject_of(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    reference: &Reference,
    caller: &Caller,
) -> Result<Digest, ProxyError> {
    match reference {
        Reference::Digest(digest) => Ok(digest.clone()),
        Reference::Tag(_) => Ok(manifest(context, repository, reference, caller).await?.digest.clone()),
    }
}

/// The manifest that `reference` means; 404 `MANIFEST_UNKNOWN` where there is none.
pub(in crate::proxy) async fn manifest(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    reference: &Reference,
    caller: &Caller,
) -> Result<Arc<RawManifest>, ProxyError> {
    match context.backend.resolver.manifest(repository, reference, caller).await? {
        Answer::Found(manifest) => Ok(manifest),
        Answer::Absent => Err(ProxyError::manifest_unknown(reference)),
        Answer::Refused(refusal) => Err(refusal.into()),
    }
}
