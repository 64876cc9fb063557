//! A stream that keeps reading for a while after its end, for callers who are still sending. If it were closed at once, the system would answer
//! further bytes with a reset, on which many clients discard the response that they have received (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Number of bytes that are read and discarded at most.
const MOST: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(10);
/// Silence after which the caller is taken to have stopped sending.
const SILENCE: Duration = Duration::from_secs(2);

/// A stream that keeps reading for a while after it was shut down.
pub(super) struct Lingering<S> {
    inner: S,
    /// The time at which it closes even if the caller is still sending.
    stop: CancellationToken,
    lingers: Option<Lingers>,
}

struct Lingers {
    left: usize,
    until: Instant,
    clock: Pin<Box<Sleep>>,
}

impl Lingers {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            left: MOST,
            until: now + LONGEST,
            clock: Box::pin(sleep_until(now + SILENCE)),
        }
    }

    /// Whether to keep reading after so many bytes.
    fn took(&mut self, bytes: usize) -> bool {
        self.left = self.left.saturating_sub(bytes);
        let now = Instant::now();
        self.clock.as_mut().reset(self.until.min(now + SILENCE));
        bytes > 0 && self.left > 0 && now < self.until
    }
}

impl<S> Lingering<S> {
    pub(super) fn new(inner: S, stop: CancellationToken) -> Self {
        Self {
            inner,
            stop,
            lingers: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingers.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if this.stop.is_cancelled() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingers = this.lingers.get_or_insert_with(Lingers::begin);
        let mut thrown_away = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if lingers.took(buffer.filled().len()) => {}
                // The shutdown succeeded, whatever error follows.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return lingers.clock.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn pair() -> (Lingering<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (server, caller) = duplex(64 << 10);
        (Lingering::new(server, CancellationToken::new()), caller)
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_caller_still_sends_is_taken_and_the_answer_is_there_at_once() {
        let (mut server, mut caller) = pair();
        let sending = async {
            let mut answer = String::new();
            caller.read_to_string(&mut answer).await.unwrap();
            caller.write_all(&vec![0; 1 << 20]).await.unwrap();
            drop(caller);
            answer
        };
        server.write_all(b"no").await.unwrap();
        let begun = Instant::now();
        let (ended, answer) = tokio::join!(server.shutdown(), sending);
        ended.unwrap();
        assert_eq!((answer.as_str(), begun.elapsed()), ("no", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn neither_much_nor_little_is_taken_for_ever() {
        let (mut server, mut caller) = pair();
        let pouring = tokio::spawn(async move { while caller.write_all(&[0; 4096]).await.is_ok() {} });
        server.shutdown().await.unwrap();
        drop(server);
        pouring.await.unwrap();

        let (mut server, mut caller) = pair();
        let dripping = tokio::spawn(async move {
            while caller.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SILENCE / 2).await;
            }
        });
        let begun = Instant::now();
        server.shutdown().await.unwrap();
        assert!(begun.elapsed() <= LONGEST, "{:?}", begun.elapsed());
        drop(server);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_soon_left_and_at_the_end_nobody_is_waited_for() {
        let (mut server, _caller) = pair();
        let begun = Instant::now();
        server.shutdown().await.unwrap();
        assert!(
            begun.elapsed() <= SILENCE + Duration::from_millis(1),
            "{:?}",
            begun.elapsed()
        );

        let (mut server, _caller) = pair();
        server.stop.cancel();
        let begun = Instant::now();
        server.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
