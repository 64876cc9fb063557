//! A body of which a copy is kept while it streams, without delaying or changing it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::http::body::{Body, BoxError};

/// Passes a body on and keeps a copy of up to `limit` bytes. Calls `whole` with the copy once the body has ended without error.
pub(crate) struct Tee<F> {
    inner: Body,
    /// `None` after an error, or once the body exceeded the limit.
    kept: Option<(BytesMut, F)>,
    limit: usize,
    /// Bytes still to come, if the length is known: a reader may stop polling after the last byte.
    left: Option<u64>,
}

impl<F: FnOnce(Bytes)> Tee<F> {
    pub(crate) fn new(inner: Body, limit: usize, whole: F) -> Self {
        let left = inner.size_hint().exact();
        let fits = left.is_none_or(|length| length <= limit as u64);
        // A buffer that grows piece by piece would end up to twice as large, and stay so in the cache.
        let expected = left.and_then(|length| usize::try_from(length).ok()).filter(|_| fits);
        let expected = expected.unwrap_or_default();
        Self {
            inner,
            kept: fits.then(|| (BytesMut::with_capacity(expected), whole)),
            limit,
            left,
        }
    }

    fn saw(&mut self, data: &Bytes) {
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        let Some((kept, _)) = &mut self.kept else { return };
        if kept.len() + data.len() > self.limit {
            self.kept = None;
            return;
        }
        kept.extend_from_slice(data);
        if self.left == Some(0) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some((kept, whole)) = self.kept.take() {
            whole(kept.freeze());
        }
    }
}

impl<F: FnOnce(Bytes) + Unpin> HttpBody for Tee<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.saw(data);
                }
            }
            Poll::Ready(Some(Err(_))) => this.kept = None,
            Poll::Ready(None) => this.finish(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const NOTHING: usize = usize::MAX;

    /// How many bytes were handed over after the whole body was read.
    async fn handed_over(body: Body, limit: usize) -> usize {
        let seen = Arc::new(AtomicUsize::new(NOTHING));
        let kept = seen.clone();
        let mut tee = Tee::new(body, limit, move |bytes: Bytes| {
            kept.store(bytes.len(), Ordering::SeqCst)
        });
        while let Some(Ok(_)) = tee.frame().await {}
        seen.load(Ordering::SeqCst)
    }

    fn streamed(parts: Vec<Result<&'static str, BoxError>>) -> Body {
        let frames = parts
            .into_iter()
            .map(|part| part.map(|text| Frame::data(Bytes::from(text))));
        Body::stream(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_whole_body_is_handed_over_once_it_has_ended() {
        assert_eq!(handed_over(Body::from(Bytes::from_static(b"abc")), 3).await, 3);
        assert_eq!(handed_over(streamed(vec![Ok("ab"), Ok("cd")]), 4).await, 4);
        assert_eq!(handed_over(streamed(vec![]), 4).await, 0);
    }

    #[tokio::test]
    async fn too_much_or_broken_bodies_are_only_passed_on() {
        assert_eq!(handed_over(Body::from(Bytes::from_static(b"abcd")), 3).await, NOTHING);
        assert_eq!(handed_over(streamed(vec![Ok("ab"), Ok("cd")]), 3).await, NOTHING);
        assert_eq!(
            handed_over(streamed(vec![Ok("ab"), Err("broken".into())]), 9).await,
            NOTHING
        );
    }
}
