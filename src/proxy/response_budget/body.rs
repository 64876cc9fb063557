//! A counted body, which lets go of its bytes once they were sent, or when the caller takes none for too long.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{BodyHold, PIECE};
use crate::http::body::BoxError;

/// Whoever takes no piece of an answer for so long goes without the rest. Over HTTP/2 that shows nowhere else: the connection may
/// be busy with other requests, and where a stream's window is shut its body is not asked for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// What a caller has not taken yet; `None` once it has been given up.
type UnsentPart = Arc<Mutex<Option<Unsent>>>;

struct Unsent {
    bytes: Bytes,
    /// When the caller last took something.
    taken: Instant,
    _holder: BodyHold,
}

pub(super) struct BudgetedBody {
    rest: UnsentPart,
    watch: AbortHandle,
}

impl BudgetedBody {
    pub(super) fn new(bytes: Bytes, holder: BodyHold) -> Self {
        let unsent = Unsent {
            bytes,
            taken: Instant::now(),
            _holder: holder,
        };
        let rest: UnsentPart = Arc::new(Mutex::new(Some(unsent)));
        let watch = tokio::spawn(give_up(rest.clone())).abort_handle();
        Self { rest, watch }
    }

    fn rest(&self) -> MutexGuard<'_, Option<Unsent>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of an answer that is not taken.
async fn give_up(rest: UnsentPart) {
    loop {
        let due = {
            let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(unsent) = rest.as_ref() else { return };
            let due = unsent.taken + PATIENCE;
            if due <= Instant::now() {
                tracing::debug!("a caller takes nothing of a large answer: the rest is dropped");
                *rest = None;
                return;
            }
            due
        };
        sleep_until(due).await;
    }
}

impl Drop for BudgetedBody {
    fn drop(&mut self) {
        self.watch.abort();
        // The task's own share of it ends only when the runtime comes to that.
        *self.rest() = None;
    }
}

impl HttpBody for BudgetedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut rest = self.rest();
        let Some(unsent) = rest.as_mut() else {
            return Poll::Ready(Some(Err("the caller took nothing of the answer for too long".into())));
        };
        if unsent.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = unsent.bytes.len().min(PIECE);
        unsent.taken = Instant::now();
        // A part of the whole would keep the whole in memory for as long as the connection has it.
        let piece = Bytes::copy_from_slice(&unsent.bytes.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest().as_ref().is_some_and(|unsent| unsent.bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest();
        let left = rest.as_ref().map(|unsent| unsent.bytes.len() as u64);
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
