//! Reads the registry's responses into memory, each up to a limit in bytes and under the idle time-out of [`IdleBody`].

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};

use super::advice::expects_tls;
use super::idle_timeout::IdleBody;
use crate::http::collect;
use crate::http::hop_by_hop::remove_hop_by_hop;
use crate::registry::answer::RegistryResponse;
use crate::registry::error::UpstreamError;

/// Of an error body, no more than this is kept, in bytes.
const ERROR_BYTES: usize = 64 << 10;

/// A whole answer; `None` when a success is longer than `limit` bytes. Of any other answer, the beginning.
pub(in crate::registry) async fn reply(
    response: Response<IdleBody>,
    limit: usize,
) -> Result<Option<RegistryResponse>, UpstreamError> {
    if !response.status().is_success() {
        return refusal(response).await.map(Some);
    }
    let (parts, mut body) = response.into_parts();
    let bytes = collect::whole(&mut body, limit).await?;
    Ok(bytes.map(|bytes| into_reply(parts.status, parts.headers, bytes, true)))
}

/// The beginning of an answer, cut at [`ERROR_BYTES`].
pub(in crate::registry) async fn refusal(response: Response<IdleBody>) -> Result<RegistryResponse, UpstreamError> {
    let (parts, mut body) = response.into_parts();
    let read = collect::up_to(&mut body, ERROR_BYTES).await?;
    if let Some(problem) = expects_tls(parts.status, &read.bytes) {
        return Err(problem);
    }
    Ok(into_reply(parts.status, parts.headers, read.bytes, read.is_whole))
}

fn into_reply(status: StatusCode, mut headers: HeaderMap, body: Bytes, complete: bool) -> RegistryResponse {
    remove_hop_by_hop(&mut headers);
    if !complete {
        headers.remove(CONTENT_LENGTH);
    }
    RegistryResponse { status, headers, body }
}
