//! Proposal B: `GET /v2/<name>/manifests/<ref>/references`.

use http::Response;
use http::request::Parts;

use super::subject_lookup::subject_of;
use crate::http::body::Body;
use crate::oci::{Reference, RepositoryName};
use crate::proxy::backend::Backend;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::render::proposal_b;

pub(in crate::proxy) async fn list_proposal_b(
    backend: &Backend,
    request: &Parts,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let caller = backend.caller(request);
    let subject = subject_of(backend, repository, reference, &caller).await?;
    let resolved = backend.resolver.resolve(repository, &subject, &caller).await?;
    let body = proposal_b::print(&resolved.links);
    Ok(LocalResponse::new(proposal_b::CONTENT_TYPE, body)
        .made_of(&resolved)
        .respond(request))
}
