//! A connection that is reset, not closed, when it is cut in the midst of a transfer: a caller that gets an orderly end, or none because
//! its network went before, may take the part that it has for the whole, or wait for the rest.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Resets its connection if it is dropped after `cut`.
pub(super) struct ResetOnCut {
    inner: TcpStream,
    cut: CancellationToken,
}

impl ResetOnCut {
    pub(super) fn new(inner: TcpStream, cut: CancellationToken) -> Self {
        Self { inner, cut }
    }
}

impl Drop for ResetOnCut {
    fn drop(&mut self) {
        if self.cut.is_cancelled()
            && let Err(error) = self.inner.set_zero_linger()
        {
            tracing::debug!(%error, "a connection that is cut cannot be reset");
        }
    }
}

impl AsyncRead for ResetOnCut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ResetOnCut {
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
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
