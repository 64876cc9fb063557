//! The one body type of messages in both directions: a stream, or a few bytes that are known.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is passed on.
pub enum Body {
    /// Known bytes; `None` once they are sent, or when there are none.
    Full(Option<Bytes>),
    /// Streamed from a connection as it arrives.
    Incoming(Incoming),
    /// Streamed through something that watches or changes it.
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    pub fn empty() -> Self {
        Self::Full(None)
    }

    /// The same once more, where it is known already.
    pub fn copy(&self) -> Option<Self> {
        match self {
            Self::Full(bytes) => Some(Self::Full(bytes.clone())),
            Self::Incoming(_) | Self::Boxed(_) => self.is_end_stream().then(Self::empty),
        }
    }

    /// The whole body, or `None` when it is longer than `limit` bytes. Only for what has to be understood before it is
    /// passed on: manifests.
    pub async fn read(mut self, limit: usize) -> Result<Option<Bytes>, BoxError> {
        use http_body_util::BodyExt as _;
        if self.size_hint().lower() > limit as u64 {
            return Ok(None);
        }
        // Grown piece by piece it would take up to twice as much, and keep it.
        let expected = self.size_hint().lower();
        let mut all = BytesMut::with_capacity(usize::try_from(expected).unwrap_or_default());
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                if all.len() + data.len() > limit {
                    return Ok(None);
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(Some(all.freeze()))
    }

    /// Streams `body` as it is.
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
