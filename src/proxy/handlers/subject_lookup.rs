//! Manifests by tag or digest, for the APIs that take either.

use std::sync::Arc;

use crate::oci::{Digest, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::referrers::{Recency, UnknownForm};
use crate::registry::{Caller, RawManifest};

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
    let resolver = &context.backend.resolver;
    if let Some(manifest) = resolver.manifest(repository, reference, caller).await?.or_refusal()? {
        return Ok(manifest);
    }
    let searched = (UnknownForm::Search, Recency::Fresh);
    let kept = Box::pin(resolver.linked_manifest(repository, reference, caller, searched)).await?;
    kept.ok_or_else(|| ProxyError::manifest_unknown(reference))
}
