//! The bodies of responses, which drive the connection that they arrive on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::sync::DropGuard;

use super::exclusive_clients::BorrowedClient;
use super::http1_connection::Http1Connection;
use super::idle_connections::IdleConnections;

pub(crate) struct ResponseBody {
    /// Dropped before the connection, which only then can tell that nobody wants the rest.
    incoming: Incoming,
    connection: BodyConnection,
    /// Why the rest does not come, until that is told.
    failure: Option<hyper::Error>,
    /// Tells the task that drives the connection that the body was read, or that nobody wants the rest.
    _wanted: Option<DropGuard>,
    /// Whose connection it arrives on, if no other request may use that meanwhile. Dropped last.
    _client: Option<BorrowedClient>,
}

impl ResponseBody {
    /// A body that arrives on `connection`, which goes to `pool` when it is read.
    pub(super) fn new(incoming: Incoming, connection: Box<Http1Connection>, pool: &Arc<IdleConnections>) -> Self {
        let mut connection = BodyConnection(Some((connection, Arc::clone(pool))));
        connection.release_idle();
        Self {
            incoming,
            connection,
            failure: None,
            _wanted: None,
            _client: None,
        }
    }

    /// A body whose connection has a task of its own, which is told by `wanted` when the body is dropped.
    pub(super) fn driven(incoming: Incoming, wanted: DropGuard) -> Self {
        Self {
            _wanted: Some(wanted),
            ..Self::from(incoming)
        }
    }

    /// The same body, which keeps `client` until it is dropped.
    pub(super) fn keeping(self, client: BorrowedClient) -> Self {
        Self {
            _client: Some(client),
            ..self
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self {
            incoming, connection, ..
        } = self;
        let Some((driven, _)) = &mut connection.0 else {
            return Pin::new(incoming).poll_frame(cx);
        };
        let frame = driven.poll_received(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx));
        if frame.is_ready() {
            connection.release_idle();
        }
        frame
    }
}

/// Whose connection has a task of its own.
impl From<Incoming> for ResponseBody {
    fn from(incoming: Incoming) -> Self {
        Self {
            incoming,
            connection: BodyConnection(None),
            failure: None,
            _wanted: None,
            _client: None,
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match this.poll_connection(cx) {
            // hyper drops what it has not yet written of a response whose body fails: first let it write what came before.
            Poll::Ready(Some(Err(failure))) => {
                this.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The connection that a body still arrives on, and where it goes afterwards. It is closed when the body is dropped midway.
struct BodyConnection(Option<(Box<Http1Connection>, Arc<IdleConnections>)>);

impl BodyConnection {
    /// Gives an idle connection back: hyper holds the rest of the body.
    fn release_idle(&mut self) {
        if let Some((connection, pool)) = self.0.take_if(|(connection, _)| connection.is_idle()) {
            pool.put(connection);
        }
    }
}

impl Drop for BodyConnection {
    fn drop(&mut self) {
        if let Some((connection, _)) = &mut self.0 {
            // What is left may have arrived already.
            connection.drive_once();
            self.release_idle();
        }
    }
}
