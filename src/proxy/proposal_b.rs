//! Proposal B: `GET /v2/<name>/manifests/<ref>/references`.

use http::Response;
use http::request::Parts;

use super::answer::Answered;
use super::backend::Backend;
use super::failure::Failure;
use super::lookup::subject_of;
use crate::body::Body;
use crate::dialect::proposal_b;
use crate::oci::{Reference, RepositoryName};

pub(super) async fn answer(
    backend: &Backend,
    request: &Parts,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    let caller = backend.caller(request);
    let subject = subject_of(backend, repository, reference, &caller).await?;
    let resolved = backend.resolver.resolve(repository, &subject, &caller).await?;
    let body = proposal_b::print(&resolved.links);
    Ok(Answered::new(proposal_b::CONTENT_TYPE, body)
        .made_of(&resolved)
        .respond(request))
}
