//! A stream whose writes fail when the caller no longer reads. It has no timeout for reads, because callers send nothing while they wait for a
//! response or receive a long one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Number of bytes transferred over a connection, in both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(Arc<AtomicU64>);

impl Traffic {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A stream whose writes fail if they make no progress for a while.
pub(super) struct WriteTimeout<S> {
    inner: S,
    traffic: Traffic,
    patience: Duration,
    /// Reused for the next wait, because resetting a timer is cheaper than creating one.
    clock: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            traffic: Traffic::default(),
            patience,
            clock: None,
            waiting: false,
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    fn written(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.traffic.add(*bytes);
        }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        if !std::mem::replace(&mut self.waiting, true) {
            clock.as_mut().reset(Instant::now() + self.patience);
        }
        clock.as_mut().poll(cx).map(|()| {
            let message = "the caller stopped reading";
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.traffic.add(buffer.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(&polled);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.written(&polled);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_stops_reading_is_given_up() {
        let (server, mut caller) = duplex(4);
        let mut server = WriteTimeout::new(server, PATIENCE);
        server.write_all(b"full").await.unwrap();
        let begun = Instant::now();
        let error = server.write_all(b"more").await.unwrap_err();
        assert_eq!(
            (error.kind(), begun.elapsed() >= PATIENCE),
            (io::ErrorKind::TimedOut, true)
        );
        let mut read = [0; 4];
        caller.read_exact(&mut read).await.unwrap();
    }

    #[tokio::test]
    async fn what_goes_over_the_wire_is_counted() {
        let (server, mut caller) = duplex(64);
        let mut server = WriteTimeout::new(server, PATIENCE);
        server.write_all(b"four").await.unwrap();
        caller.write_all(b"three").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(server.traffic().bytes(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_a_little_now_and_then_is_not() {
        let (server, mut caller) = duplex(1);
        let mut server = WriteTimeout::new(server, PATIENCE);
        let reading = async {
            let mut byte = [0];
            for _ in 0..5 {
                tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
                caller.read_exact(&mut byte).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(b"bytes"), reading);
        written.unwrap();
    }
}
