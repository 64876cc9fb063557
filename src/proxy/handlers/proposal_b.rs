//! Proposal B: `GET /v2/<name>/manifests/<ref>/references`.

use http::Response;

use super::subject_lookup::subject_of;
use crate::http::body::Body;
use crate::oci::{Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::render::proposal_b;

pub(in crate::proxy) async fn list_proposal_b(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let caller = context.caller();
    let subject = subject_of(context, repository, reference, &caller).await?;
    let resolved = context.backend.resolver.resolve(repository, &subject, &caller).await?;
    let body = proposal_b::print(&resolved.links);
    Ok(LocalResponse::new(proposal_b::CONTENT_TYPE, body)
        .made_of(&resolved)
        .respond(&context.head))
}
