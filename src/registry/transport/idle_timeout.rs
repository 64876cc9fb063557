//! Bodies with an idle time-out. Only time in which the registry sends nothing counts, not time in which a caller reads slowly.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::http::body::{Body, BoxError};
use crate::http::error_chain::chain;
use crate::http::response_body::ResponseBody;
use crate::registry::error::UpstreamError;

/// A response's body that fails when the upstream is silent for too long.
pub(in crate::registry) struct IdleBody {
    inner: ResponseBody,
    idle: Duration,
    /// Kept between waits: making a timer costs more than resetting one.
    clock: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IdleBody {
    pub(super) fn new(inner: ResponseBody, idle: Duration) -> Self {
        Self {
            inner,
            idle,
            clock: None,
            waiting: false,
        }
    }
}

impl HttpBody for IdleBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| UpstreamError::Broken(chain(&error)))));
        }
        let clock = this.clock.get_or_insert_with(|| Box::pin(sleep(this.idle)));
        if !std::mem::replace(&mut this.waiting, true) {
            clock.as_mut().reset(Instant::now() + this.idle);
        }
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Some(Err(UpstreamError::Timeout("its answer stalled"))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How far a request's body has got, shared between the connection that sends it and the call that waits for the answer.
pub(super) struct TransferProgress {
    begun: Instant,
    /// Milliseconds after `begun`.
    moved: AtomicU64,
    sent: AtomicBool,
    /// Why it does not go on.
    failure: OnceLock<String>,
}

impl TransferProgress {
    pub(super) fn new(sent: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            sent: AtomicBool::new(sent),
            failure: OnceLock::new(),
        })
    }

    pub(super) fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// When the body moved last.
    pub(super) fn moved(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// Why the caller's side of the body failed, where it did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn moves(&self, sent: bool) {
        let elapsed = self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.moved.store(elapsed, Ordering::Relaxed);
        self.sent.fetch_or(sent, Ordering::Relaxed);
    }
}

/// A request's body that records its progress.
pub(super) struct ProgressBody {
    inner: Body,
    progress: Arc<TransferProgress>,
}

impl ProgressBody {
    pub(super) fn new(inner: Body, progress: Arc<TransferProgress>) -> Self {
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
