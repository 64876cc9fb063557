//! Bodies with an idle time-out. Only time in which the registry sends nothing counts, not time in which a caller reads slowly.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

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
