//! Reading bodies into memory. Nowhere else is one collected; every one has a limit and the idle clock of [`IdleBody`].

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::timed::IdleBody;
use super::{Reply, UpstreamError};
use crate::hop_by_hop::remove_hop_by_hop;

/// Of an error body, no more than this is kept, in bytes.
const ERROR_BYTES: usize = 64 << 10;

/// The next piece of `body`; `None` at its end. Trailers are skipped.
pub(super) async fn next_chunk(body: &mut IdleBody) -> Result<Option<Bytes>, UpstreamError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads until `limit` bytes are there; whether that was all.
async fn up_to(body: &mut IdleBody, limit: usize) -> Result<(Bytes, bool), UpstreamError> {
    let Some(first) = next_chunk(body).await? else {
        return Ok((Bytes::new(), true));
    };
    if body.is_end_stream() && first.len() <= limit {
        return Ok((first, true));
    }
    let mut all = BytesMut::from(first);
    while all.len() <= limit {
        match next_chunk(body).await? {
            Some(chunk) => all.extend_from_slice(&chunk),
            None => return Ok((all.freeze(), true)),
        }
    }
    all.truncate(limit);
    Ok((all.freeze(), false))
}

/// A whole answer; `None` when a success is longer than `limit` bytes. Of any other answer, the beginning.
pub(super) async fn reply(response: Response<IdleBody>, limit: usize) -> Result<Option<Reply>, UpstreamError> {
    if !response.status().is_success() {
        return refusal(response).await.map(Some);
    }
    let (parts, mut body) = response.into_parts();
    // Over HTTP/2 the answer to a HEAD has the length of what it leaves out.
    if !body.is_end_stream() && body.size_hint().lower() > limit as u64 {
        return Ok(None);
    }
    let (bytes, complete) = up_to(&mut body, limit).await?;
    Ok(complete.then(|| into_reply(parts.status, parts.headers, bytes, true)))
}

/// The beginning of an answer, cut at [`ERROR_BYTES`].
pub(super) async fn refusal(response: Response<IdleBody>) -> Result<Reply, UpstreamError> {
    let (parts, mut body) = response.into_parts();
    let (bytes, complete) = up_to(&mut body, ERROR_BYTES).await?;
    Ok(into_reply(parts.status, parts.headers, bytes, complete))
}

fn into_reply(status: StatusCode, mut headers: HeaderMap, body: Bytes, complete: bool) -> Reply {
    remove_hop_by_hop(&mut headers);
    if !complete {
        headers.remove(CONTENT_LENGTH);
    }
    Reply { status, headers, body }
}
