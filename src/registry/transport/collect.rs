//! Reads the registry's bodies into memory: each up to a limit in bytes, and under the idle time-out of [`IdleBody`].

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;

use super::idle_timeout::IdleBody;
use crate::http::hop_by_hop::remove_hop_by_hop;
use crate::registry::answer::RegistryResponse;
use crate::registry::error::UpstreamError;

/// Of an error body, no more than this is kept, in bytes.
const ERROR_BYTES: usize = 64 << 10;

/// The next piece of `body`; `None` at its end. Trailers are skipped.
pub(in crate::registry) async fn next_chunk<B>(body: &mut B) -> Result<Option<Bytes>, UpstreamError>
where
    B: HttpBody<Data = Bytes, Error = UpstreamError> + Unpin,
{
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads until `limit` bytes are there; whether that was all. They are copied: a chunk is a part of the connection's buffer,
/// which would stay in memory with it.
async fn up_to<B>(body: &mut B, limit: usize) -> Result<(Bytes, bool), UpstreamError>
where
    B: HttpBody<Data = Bytes, Error = UpstreamError> + Unpin,
{
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut all = match body.is_end_stream() {
        // Over HTTP/2 the answer to a HEAD has the length of what it leaves out.
        true => return Ok((Bytes::new(), true)),
        false => BytesMut::with_capacity(expected.min(limit)),
    };
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
pub(in crate::registry) async fn reply(
    response: Response<IdleBody>,
    limit: usize,
) -> Result<Option<RegistryResponse>, UpstreamError> {
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
pub(in crate::registry) async fn refusal(response: Response<IdleBody>) -> Result<RegistryResponse, UpstreamError> {
    let (parts, mut body) = response.into_parts();
    let (bytes, complete) = up_to(&mut body, ERROR_BYTES).await?;
    Ok(into_reply(parts.status, parts.headers, bytes, complete))
}

fn into_reply(status: StatusCode, mut headers: HeaderMap, body: Bytes, complete: bool) -> RegistryResponse {
    remove_hop_by_hop(&mut headers);
    if !complete {
        headers.remove(CONTENT_LENGTH);
    }
    RegistryResponse { status, headers, body }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_no_part_of_a_connections_buffer() {
        let buffer = Bytes::from(vec![b'x'; 9]);
        for lengths in [vec![9], vec![4, 5]] {
            let mut left = buffer.clone();
            let chunks = lengths.into_iter().map(|length| Ok(Frame::data(left.split_to(length))));
            let mut body = StreamBody::new(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
            let (read, complete) = up_to(&mut body, 9).await.unwrap();
            assert!(complete && read == buffer);
            assert!(!buffer.as_ptr_range().contains(&read.as_ptr()));
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_cut() {
        let chunks = [4, 5].map(|length| Ok(Frame::data(Bytes::from(vec![b'x'; length]))));
        let mut body = StreamBody::new(futures_util::stream::iter(chunks));
        let (read, complete) = up_to(&mut body, 8).await.unwrap();
        assert_eq!((read.len(), complete), (8, false));
    }
}
