//! Proposal C: `GET /v3/<name>/referrers|reference|objects|description/<ref>`.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::subject_lookup::{manifest, subject_of};
use crate::http::body::Body;
use crate::oci::{Code, OciError, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::proxy::route::V3Question;
use crate::render::proposal_c;

/// The probe for support.
pub(in crate::proxy) fn ping(context: &RequestContext<'_>) -> Response<Body> {
    LocalResponse::new(proposal_c::CONTENT_TYPE, Bytes::from_static(b"{}")).respond(&context.head)
}

pub(in crate::proxy) async fn answer_proposal_c(
    context: &RequestContext<'_>,
    question: V3Question,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let caller = context.caller();
    if question == V3Question::Referrers {
        let subject = subject_of(context, repository, reference, &caller).await?;
        let resolved = context.backend.resolver.resolve(repository, &subject, &caller).await?;
        let body = proposal_c::referrers(&resolved.links);
        return Ok(LocalResponse::new(proposal_c::CONTENT_TYPE, body)
            .made_of(&resolved)
            .respond(&context.head));
    }
    let raw = manifest(context, repository, reference, &caller).await?;
    let manifest = raw
        .parse()
        .map_err(|error| OciError::new(StatusCode::BAD_GATEWAY, Code::ManifestInvalid, error.to_string()))?;
    let body = match question {
        V3Question::Reference => proposal_c::reference(&manifest),
        V3Question::Objects => proposal_c::objects(&manifest),
        V3Question::Description | V3Question::Referrers => proposal_c::description(&manifest),
    };
    Ok(LocalResponse::new(proposal_c::CONTENT_TYPE, body).respond(&context.head))
}
