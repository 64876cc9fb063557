//! The body type of requests and responses in both directions: a stream, or a few bytes in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use super::collect;

/// Any error of a body or connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or response.
pub enum Body {
    /// Bytes in memory; `None` once they are sent, or if the body is empty.
    Full(Option<Bytes>),
    /// Streamed from a connection as it arrives.
    Incoming(Incoming),
    /// Streamed through a wrapper that observes or changes it.
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// A body without content.
    pub fn empty() -> Self {
        Self::Full(None)
    }

    /// A second body with the same content, if it is in memory; `None` for a stream.
    pub fn copy(&self) -> Option<Self> {
        match self {
            Self::Full(bytes) => Some(Self::Full(bytes.clone())),
            Self::Incoming(_) | Self::Boxed(_) => self.is_end_stream().then(Self::empty),
        }
    }

    /// Reads the whole body into memory; `None` if it is longer than `limit` bytes. Only for bodies that refshim must understand before
    /// it passes them on: manifests.
    pub async fn read(mut self, limit: usize) -> Result<Option<Bytes>, BoxError> {
        collect::whole(&mut self, limit).await
    }

    /// Streams `body` unchanged.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt as _;
        Self::Boxed(body.map_err(Into::into).boxed_unsync())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        Self::Incoming(body)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Incoming(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
