//! How far the body of a request has got.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::body::{Body, BoxError};
use super::error_chain::chain;

/// How far a request's body has got, shared between the connection that sends it and the call that waits for the answer.
pub(crate) struct TransferProgress {
    begun: Instant,
    /// Milliseconds after `begun`.
    moved: AtomicU64,
    sent: AtomicBool,
    /// Why it does not go on.
    failure: OnceLock<String>,
}

impl TransferProgress {
    pub(crate) fn new(sent: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            sent: AtomicBool::new(sent),
            failure: OnceLock::new(),
        })
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// When the body moved last.
    pub(crate) fn moved(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// Why the caller's side of the body failed, where it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn moves(&self, sent: bool) {
        let elapsed = self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.moved.store(elapsed, Ordering::Relaxed);
        self.sent.fetch_or(sent, Ordering::Relaxed);
    }
}

/// A request's body that records its progress.
pub(crate) struct ProgressBody {
    inner: Body,
    progress: Arc<TransferProgress>,
}

impl ProgressBody {
    pub(crate) fn new(inner: Body, progress: Arc<TransferProgress>) -> Self {
        Self { inner, progress }
    }
}

impl HttpBody for ProgressBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.progress.moves(frame.is_none() || self.inner.is_end_stream());
        if let Some(Err(error)) = &frame {
            // What failed first is the reason.
            let _ = self.progress.failure.set(chain(error.as_ref()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection lets go of a body of known length without asking for its end.
impl Drop for ProgressBody {
    fn drop(&mut self) {
        self.progress.moves(true);
    }
}
