//! Records how a connection was used: whether it served a request before, and whether any byte of the latest response arrived.
//!
//! A registry may close an idle connection just when refshim sends the next request on it. If the connection was used before and not one
//! byte of a response arrives, the registry has not processed that request, and refshim may send it again.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The use of one HTTP/1.1 connection so far.
#[derive(Debug, Default)]
pub(crate) struct ConnectionUse {
    /// Number of requests sent on it.
    requests: AtomicUsize,
    /// Whether a byte arrived since the latest request was sent.
    answered: AtomicBool,
}

impl ConnectionUse {
    fn writes(&self) {
        let is_first = self.requests.load(Ordering::Relaxed) == 0;
        if self.answered.swap(false, Ordering::Relaxed) || is_first {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reads(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether no byte has arrived since the latest request was sent.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.answered.load(Ordering::Relaxed)
    }

    /// Whether a request on it is unanswered that was not its first.
    pub(super) fn is_stale(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 1 && self.is_unanswered()
    }
}

/// A connection that records its use.
///
/// Over HTTP/1.1, what the peer no longer takes counts as written. A registry may answer before it has read the whole request, and close the
/// connection: its answer is then still to be read, but hyper would give up at the first write that fails.
pub(crate) struct Recorded<S> {
    inner: S,
    used: Arc<ConnectionUse>,
    /// Whether the connection uses HTTP/2, where many requests share it and the peer itself says which it has not processed.
    http2: bool,
    /// Whether a proxy is asked on it for whole URLs.
    asks_proxy: bool,
    /// Whether the peer has closed it, so that nothing can be written.
    is_refused: bool,
}

impl<S> Recorded<S> {
    pub(crate) fn new(inner: S, http2: bool) -> Self {
        Self {
            inner,
            used: Arc::default(),
            http2,
            asks_proxy: false,
            is_refused: false,
        }
    }

    pub(crate) fn used(&self) -> Arc<ConnectionUse> {
        Arc::clone(&self.used)
    }

    /// Says whether a proxy is asked on it for whole URLs.
    pub(crate) fn asking_proxy(self, asks_proxy: bool) -> Self {
        Self { asks_proxy, ..self }
    }
}

impl<S: Connection> Connection for Recorded<S> {
    fn connected(&self) -> Connected {
        let connected = self.inner.connected().proxy(self.asks_proxy);
        match self.http2 {
            true => connected,
            false => connected.extra(self.used.clone()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.used.reads();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Recorded<S> {
    /// What `write` yields, or `unwritten` where the peer takes nothing any more.
    fn write_unless_refused<T>(
        &mut self,
        unwritten: T,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_refused {
            return Poll::Ready(Ok(unwritten));
        }
        match ready!(write(Pin::new(&mut self.inner))) {
            Err(error) if !self.http2 && is_closed_by_peer(&error) => {
                self.is_refused = true;
                Poll::Ready(Ok(unwritten))
            }
            written => Poll::Ready(written),
        }
    }
}

fn is_closed_by_peer(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.used.writes();
        self.write_unless_refused(bytes.len(), |inner| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.used.writes();
        let length = bytes.iter().map(|part| part.len()).sum();
        self.write_unless_refused(length, |inner| inner.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_unless_refused((), |inner| inner.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_a_later_request_to_which_nothing_came_back_is_stale() {
        let (here, mut there) = tokio::io::duplex(64);
        let mut here = Recorded::new(here, false);
        here.write_all(b"GET").await.unwrap();
        here.write_all(b" /").await.unwrap();
        assert!(!here.used.is_stale(), "a first request, in two pieces");
        there.write_all(b"200").await.unwrap();
        here.read_exact(&mut [0; 3]).await.unwrap();
        here.write_all(b"POST").await.unwrap();
        assert!(here.used.is_stale());
        there.write_all(b"5").await.unwrap();
        here.read_exact(&mut [0; 1]).await.unwrap();
        assert!(!here.used.is_stale(), "something came back");
    }
}
