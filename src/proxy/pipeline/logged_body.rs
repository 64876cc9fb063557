//! An answer's body, which keeps the request's entry of the access log open until it has gone out.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::access_log::AccessEntry;
use crate::http::body::{Body, BoxError};

pub struct LoggedBody {
    inner: Body,
    entry: AccessEntry,
}

impl LoggedBody {
    pub(super) fn new(inner: Body, mut entry: AccessEntry) -> Self {
        entry.is_complete(inner.is_end_stream());
        Self { inner, entry }
    }
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.entry.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
                this.entry.is_complete(this.inner.is_end_stream());
            }
            Poll::Ready(None) => this.entry.is_complete(true),
            Poll::Ready(Some(Err(error))) => this.entry.broke_off(error),
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
