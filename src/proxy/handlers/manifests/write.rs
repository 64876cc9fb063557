//! `PUT` and `DELETE /v2/<name>/manifests/<ref>`: the request read, handed to the writer, and its answer relayed.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tracing::Instrument as _;

use super::request::ManifestRequest;
use crate::http::body::Body;
use crate::http::request_budget::{ReadBody, ReadError, RequestBudget};
use crate::metrics::for_current_request;
use crate::oci::{Code, OciError, Reference};
use crate::proxy::error::{ProxyError, relay};
use crate::proxy::headers;
use crate::proxy::write::{Push, PushQuery};
use crate::registry::{Answer, RegistryResponse, UpstreamError, WriteHeaders};

/// A manifest is small: a caller who takes longer than this to send one holds memory for nothing.
const READ_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn push(asked: &ManifestRequest<'_>, body: Body) -> Result<Response<Body>, ProxyError> {
    let backend = asked.context.backend;
    let query = PushQuery::read(asked.context.head.uri.query(), asked.reference)?;
    let (bytes, _held) = read(
        &backend.shared.request_budget,
        body,
        backend.shared.limits.manifest_bytes,
    )
    .await?;
    let media_type = asked
        .context
        .head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let push = Push {
        repository: asked.repository.clone(),
        reference: asked.reference.clone(),
        query,
        media_type: media_type.unwrap_or_default().to_owned(),
        bytes,
        headers: write_headers(asked),
        caller: asked.caller.clone(),
    };
    let reply = backend.writer.push(push).await?;
    Ok(relayed(asked, reply))
}

fn write_headers(asked: &ManifestRequest<'_>) -> WriteHeaders {
    let mut headers = asked.context.head.headers.clone();
    headers::clean_request(&mut headers);
    WriteHeaders::of(headers)
}

pub(super) async fn delete(asked: &ManifestRequest<'_>) -> Result<Response<Body>, ProxyError> {
    let mut reply = delete_to_the_end(asked).await?;
    let undone = matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    if undone && is_synthesised_only(asked).await? {
        reply = accepted();
    }
    Ok(relayed(asked, reply))
}

/// A caller who hangs up does not stop it half-way: what is left of a deleted manifest is cleaned up.
async fn delete_to_the_end(asked: &ManifestRequest<'_>) -> Result<RegistryResponse, ProxyError> {
    let writer = asked.context.backend.writer.clone();
    let (repository, reference) = (asked.repository.clone(), asked.reference.clone());
    let (headers, caller) = (write_headers(asked), asked.caller.clone());
    let deleting = async move { writer.delete(&repository, &reference, headers, &caller).await };
    match tokio::spawn(for_current_request(deleting).in_current_span()).await {
        Ok(reply) => Ok(reply?),
        Err(lost) => Err(UpstreamError::Broken(lost.to_string()).into()),
    }
}

/// Whether refshim made this index and there is nothing upstream to delete. Somebody may well have pushed the same bytes: an
/// empty index is the same everywhere.
async fn is_synthesised_only(asked: &ManifestRequest<'_>) -> Result<bool, ProxyError> {
    let Reference::Digest(digest) = asked.reference else {
        return Ok(false);
    };
    let (backend, repository, caller) = (asked.context.backend, asked.repository, &asked.caller);
    if backend
        .resolver
        .synthesised(repository, digest, caller)
        .await?
        .is_none()
    {
        return Ok(false);
    }
    let stored = backend
        .upstream
        .head_manifest(repository, asked.reference, caller)
        .await?;
    Ok(matches!(stored, Answer::Absent))
}

fn accepted() -> RegistryResponse {
    RegistryResponse {
        status: StatusCode::ACCEPTED,
        headers: HeaderMap::from_iter([(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"))]),
        body: bytes::Bytes::new(),
    }
}

fn relayed(asked: &ManifestRequest<'_>, reply: RegistryResponse) -> Response<Body> {
    let mut response = relay(reply);
    asked.context.adapt(response.headers_mut());
    response
}

async fn read(room: &RequestBudget, body: Body, limit: usize) -> Result<ReadBody<'_>, ProxyError> {
    let late = |_| {
        OciError::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::ManifestInvalid,
            "the manifest did not arrive within a minute; push it again",
        )
    };
    let read = tokio::time::timeout(READ_WITHIN, room.read(body, limit))
        .await
        .map_err(late)?;
    let unread = |why| match why {
        ReadError::NoRoom => ProxyError::no_room(),
        ReadError::Broken(error) => {
            let message = format!("the manifest did not arrive whole: {error}");
            OciError::bad_request(Code::ManifestInvalid, message).into()
        }
    };
    let too_large = || {
        let message = format!("the manifest is larger than {limit} bytes");
        OciError::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ManifestInvalid, message)
    };
    Ok(read.map_err(unread)?.ok_or_else(too_large)?)
}
