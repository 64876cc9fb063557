//! One HTTP/1.1 connection without a task of its own: whoever sends a request on it drives it, and then whoever reads the response. A
//! connection with a task of its own wakes that for each request, which wakes the caller for each response, often on another core.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::body::Body;
use super::client_error::{ClientError, SendFailure};
use super::connection_use::ConnectionUse;
use super::connector::Stream;
use super::keep_alive;

pub(super) struct Http1Connection {
    sender: SendRequest<Body>,
    polled: PolledConnection,
    used: Arc<ConnectionUse>,
    /// Whether it was idle before.
    was_idle: bool,
    idle_since: Instant,
    /// How long it may be idle, as far as the peer has said.
    kept_for: Duration,
}

impl Http1Connection {
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        let used = stream.inner().used();
        let (sender, connection) = handshake(stream).await?;
        let wake_target = Arc::new(WakeTarget::default());
        Ok(Self {
            sender,
            polled: PolledConnection {
                open: Some(connection),
                waker: Waker::from(Arc::clone(&wake_target)),
                wake_target,
            },
            used,
            was_idle: false,
            idle_since: Instant::now(),
            kept_for: Duration::MAX,
        })
    }

    /// Sends `request` and waits for the head of the response.
    pub(super) fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendFailure>> {
        self.polled.wake_target.mute();
        // Outside of the task's budget: where that is used up, nothing would wake the task.
        let response = unconstrained(self.sender.try_send_request(request));
        async move {
            let mut response = pin!(response);
            let received = poll_fn(|cx| {
                self.polled.drive(cx);
                // It comes by way of the connection, so while that is driven.
                response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            });
            let received = received.await.map_err(|error| self.failure(error))?;
            if let Some(stated) = keep_alive::timeout(received.headers()) {
                self.kept_for = stated;
            }
            Ok(received)
        }
    }

    fn failure(&self, mut error: TrySendError<Request<Body>>) -> SendFailure {
        match error.take_message() {
            // A new connection that is closed at once would be again.
            Some(request) if self.was_idle => SendFailure::Unsent(Box::new(request)),
            _ => SendFailure::Failed(ClientError::Broken {
                source: error.into_error(),
                is_stale: self.was_idle && self.used.is_unanswered(),
            }),
        }
    }

    /// What `poll` yields of a response, once the connection has it.
    pub(super) fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.polled.wake_target.mute();
        let mut silent = Context::from_waker(Waker::noop());
        let mut received = poll(&mut silent);
        if received.is_pending() {
            self.polled.drive(cx);
            self.polled.wake_target.mute();
            received = poll(&mut silent);
        }
        if received.is_pending() && self.polled.wake_target.unmute() {
            cx.waker().wake_by_ref();
        }
        received
    }

    /// Reads and writes what can be at once.
    pub(super) fn drive_once(&mut self) {
        self.polled.drive_once();
    }

    /// Drives the connection until it is idle or closed.
    pub(super) async fn until_idle(&mut self) {
        let idle = poll_fn(|cx| {
            self.polled.drive(cx);
            match self.is_idle() || self.polled.open.is_none() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        idle.await;
    }

    /// Whether it can take a request: the one before was sent whole, and the response to it read.
    pub(super) fn is_idle(&self) -> bool {
        self.polled.open.is_some() && self.sender.is_ready()
    }

    /// Begins to be idle. `sweeper` is woken when something happens: the peer closes the connection, as it has nothing else to say.
    pub(super) fn begin_idle(&mut self, sweeper: &Waker) {
        self.was_idle = true;
        self.idle_since = Instant::now();
        self.polled.wake_target.task.register(sweeper);
        self.polled.wake_target.unmute();
    }

    /// Whether an idle connection still is: the peer may have closed it.
    pub(super) fn is_still_idle(&mut self, sweeper: &Waker) -> bool {
        if self.polled.wake_target.is_woken() {
            self.polled.drive_once();
            self.polled.wake_target.task.register(sweeper);
        }
        self.is_idle()
    }

    /// Whether it has been idle for less than `limit`, and for less than the peer keeps it.
    pub(super) fn is_younger(&self, limit: Duration) -> bool {
        self.idle_since.elapsed() < limit.min(self.kept_for)
    }

    /// When it was idle last.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Closes it as TLS wants it, with a last message.
    pub(super) fn close(mut self) {
        drop(self.sender);
        self.polled.drive_once();
    }
}

/// hyper's side of the connection, and who waits for it.
struct PolledConnection {
    /// `None` once it is closed.
    open: Option<Connection<Stream, Body>>,
    /// What `open` wakes: `wake_target`.
    waker: Waker,
    wake_target: Arc<WakeTarget>,
}

impl PolledConnection {
    /// Reads and writes what can be at once, and wakes the task of `cx` when there is more.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(open) = &mut self.open else { return };
        self.wake_target.begin(cx.waker());
        if let Poll::Ready(ended) = Pin::new(open).poll(&mut Context::from_waker(&self.waker)) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection failed");
            }
            self.open = None;
        }
    }

    fn drive_once(&mut self) {
        let driven = poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        });
        unconstrained(driven).now_or_never();
    }
}

/// Whoever drives a connection at present. hyper keeps wakers from one request to the next, which must not wake the task of the one before,
/// and wakes the connection when it is handed a request or a piece of a response is taken from it, which whoever does so drives next anyway.
#[derive(Default)]
struct WakeTarget {
    task: AtomicWaker,
    /// [`WOKEN`] and [`MUTED`].
    state: AtomicU8,
}

/// Something happened since the connection was driven last.
const WOKEN: u8 = 1;
/// No task is woken.
const MUTED: u8 = 2;

impl WakeTarget {
    /// Begins to wake `task`, for what happens from now on.
    fn begin(&self, task: &Waker) {
        self.state.store(0, Ordering::Release);
        self.task.register(task);
    }

    /// Wakes no task until the connection is driven again or `unmute`.
    fn mute(&self) {
        self.state.fetch_or(MUTED, Ordering::AcqRel);
    }

    /// Whether something happened in the meantime.
    fn unmute(&self) -> bool {
        self.state.fetch_and(!MUTED, Ordering::AcqRel) & WOKEN != 0
    }

    fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) & WOKEN != 0
    }
}

impl Wake for WakeTarget {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & MUTED == 0 {
            self.task.wake();
        }
    }
}
