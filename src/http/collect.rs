//! Reads bodies into memory, each up to a limit in bytes.

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;

/// The beginning of a body.
pub(crate) struct CollectedBody {
    pub(crate) bytes: Bytes,
    /// Whether nothing follows.
    pub(crate) is_whole: bool,
}

/// The next piece of `body`; `None` at its end. Trailers are skipped.
pub(crate) async fn next_chunk<B>(body: &mut B) -> Result<Option<Bytes>, B::Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads `limit` bytes of `body` at most. They are copied: a chunk is a part of the connection's buffer, which would stay in memory
/// with it.
pub(crate) async fn up_to<B>(body: &mut B, limit: usize) -> Result<CollectedBody, B::Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    // Over HTTP/2 the answer to a HEAD has the length of what it leaves out.
    let expected = match body.is_end_stream() {
        true => 0,
        false => usize::try_from(body.size_hint().lower()).unwrap_or(limit),
    };
    // Grown piece by piece it would take up to twice as much, and keep it.
    let mut all = BytesMut::with_capacity(expected.min(limit));
    while let Some(chunk) = next_chunk(body).await? {
        let room = limit - all.len();
        if chunk.len() > room {
            all.extend_from_slice(&chunk[..room]);
            let bytes = all.freeze();
            return Ok(CollectedBody { bytes, is_whole: false });
        }
        all.extend_from_slice(&chunk);
    }
    let bytes = all.freeze();
    Ok(CollectedBody { bytes, is_whole: true })
}

/// The whole of `body`; `None` when it is longer than `limit` bytes.
pub(crate) async fn whole<B>(body: &mut B, limit: usize) -> Result<Option<Bytes>, B::Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if !body.is_end_stream() && body.size_hint().lower() > limit as u64 {
        return Ok(None);
    }
    let collected = up_to(body, limit).await?;
    Ok(collected.is_whole.then_some(collected.bytes))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn body(chunks: Vec<Bytes>) -> impl HttpBody<Data = Bytes, Error = Infallible> + Unpin {
        let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn what_is_kept_is_no_part_of_a_connections_buffer() {
        let buffer = Bytes::from(vec![b'x'; 9]);
        for lengths in [vec![9], vec![4, 5]] {
            let mut left = buffer.clone();
            let chunks = lengths.into_iter().map(|length| left.split_to(length)).collect();
            let read = whole(&mut body(chunks), 9).await.unwrap().unwrap();
            assert_eq!(read, buffer);
            assert!(!buffer.as_ptr_range().contains(&read.as_ptr()));
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_cut() {
        let chunks = || [4, 5].map(|length| Bytes::from(vec![b'x'; length])).to_vec();
        let cut = up_to(&mut body(chunks()), 8).await.unwrap();
        assert_eq!((cut.bytes.len(), cut.is_whole), (8, false));
        assert_eq!(whole(&mut body(chunks()), 8).await.unwrap(), None);
    }
}
