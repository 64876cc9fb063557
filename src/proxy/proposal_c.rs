//! Proposal C: `GET /v3/<name>/referrers|reference|objects|description/<ref>`.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::answer::Answered;
use super::backend::Backend;
use super::failure::Failure;
use super::lookup::{manifest, subject_of};
use super::route::V3Question;
use crate::body::Body;
use crate::dialect::proposal_c;
use crate::oci::{Code, Manifest, OciError, Reference, RepositoryName};

/// The probe for support.
pub(super) fn ping(request: &Parts) -> Response<Body> {
    Answered::new(proposal_c::CONTENT_TYPE, Bytes::from_static(b"{}")).respond(request)
}

pub(super) async fn answer(
    backend: &Backend,
    request: &Parts,
    question: V3Question,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    let caller = backend.caller(request);
    if question == V3Question::Referrers {
        let subject = subject_of(backend, repository, reference, &caller).await?;
        let resolved = backend.resolver.resolve(repository, &subject, &caller).await?;
        let body = proposal_c::referrers(&resolved.links);
        return Ok(Answered::new(proposal_c::CONTENT_TYPE, body)
            .made_of(&resolved)
            .respond(request));
    }
    let raw = manifest(backend, repository, reference, &caller).await?;
    let manifest = Manifest::parse(&raw.bytes, &raw.media_type)
        .map_err(|error| OciError::new(StatusCode::BAD_GATEWAY, Code::ManifestInvalid, error.to_string()))?;
    let body = match question {
        V3Question::Reference => proposal_c::reference(&manifest),
        V3Question::Objects => proposal_c::objects(&manifest),
        V3Question::Description | V3Question::Referrers => proposal_c::description(&manifest),
    };
    Ok(Answered::new(proposal_c::CONTENT_TYPE, body).respond(request))
}
