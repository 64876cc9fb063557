//! The one place where requests leave for the network: timed and counted.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::counts::{RequestCounts, RequestKind, RequestOutcome};
use super::error::CONNECTING;
use super::idle_timeout::{IdleBody, ProgressBody, TransferProgress};
use super::{Upstream, UpstreamError};
use crate::http::body::Body;
use crate::http::connection_use::was_stale;
use crate::http::connector::{ConnectTimedOut, HttpClient};
use crate::http::redirect_policy::Forbidden;
use crate::http::trace_context;
use crate::http::via;

/// How long the upstream may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
}

/// Requests that are sent again because the pool's connection was closed under them, one after the other.
const MOST_STALE: usize = 5;

impl Upstream {
    /// Sends `request`, whose URI is absolute, through `client`. Without a body, and but for deletions and ends of uploads, it is sent again where the registry closed the
    /// connection just as it was used again: it has seen nothing of it.
    pub(super) async fn send(
        &self,
        kind: RequestKind,
        client: &HttpClient,
        mut request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        via::add(request.headers_mut());
        for _ in 0..MOST_STALE {
            let Some(again) = copy_without_body(&request) else {
                break;
            };
            match self.send_once(kind, client, request).await {
                Err(unanswered) if unanswered.on_stale_connection => request = again,
                other => return other.map_err(|unanswered| unanswered.error),
            }
        }
        let sent = self.send_once(kind, client, request).await;
        sent.map_err(|unanswered| unanswered.error)
    }

    async fn send_once(
        &self,
        kind: RequestKind,
        client: &HttpClient,
        mut request: Request<Body>,
    ) -> Result<Response<IdleBody>, Unanswered> {
        let mut counted = Counted {
            counts: &self.counts,
            kind,
            outcome: RequestOutcome::Broken,
        };
        let (method, begun) = (request.method().clone(), Instant::now());
        let span = tracing::debug_span!(
            "ask",
            upstream = self.name,
            kind = kind.as_str(),
            otel.kind = tracing::field::Empty
        );
        trace_context::follow(&span, &mut request);
        let result = exchange(client, request, self.timeouts).instrument(span).await;
        let elapsed = begun.elapsed();
        match &result {
            Ok(response) => {
                let status = response.status();
                counted.outcome = RequestOutcome::of(status);
                tracing::debug!(upstream = self.name, kind = kind.as_str(), %method, %status, ?elapsed, "asked");
            }
            Err(Unanswered { error, .. }) => {
                tracing::debug!(upstream = self.name, kind = kind.as_str(), %method, %error, ?elapsed, "asked in vain");
            }
        }
        Ok(result?.map(|body| IdleBody::new(body, self.timeouts.idle)))
    }
}

/// A request that brought no answer.
struct Unanswered {
    error: UpstreamError,
    /// See [`connection_use`](super::connection_use).
    on_stale_connection: bool,
}

impl From<UpstreamError> for Unanswered {
    fn from(error: UpstreamError) -> Self {
        Self {
            error,
            on_stale_connection: false,
        }
    }
}

/// The same request, where it has no body. A deletion, or the end of an upload, that was made after all would be answered 404 the
/// second time.
fn copy_without_body(request: &Request<Body>) -> Option<Request<Body>> {
    if matches!(*request.method(), Method::DELETE | Method::PUT) {
        return None;
    }
    let mut copy = Request::new(request.body().is_end_stream().then(Body::empty)?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Counts a request when it is over, also when the caller hung up in its midst.
struct Counted<'a> {
    counts: &'a RequestCounts,
    kind: RequestKind,
    outcome: RequestOutcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.counts.get((self.kind, self.outcome)).inc();
    }
}

/// Waits for the head of the answer. While a body is on its way up, only its standing still counts: an upload may take hours.
async fn exchange(
    client: &HttpClient,
    request: Request<Body>,
    timeouts: Timeouts,
) -> Result<Response<Incoming>, Unanswered> {
    let progress = TransferProgress::new(request.body().is_end_stream());
    let request = if progress.is_sent() {
        request
    } else {
        request.map(|body| Body::stream(ProgressBody::new(body, Arc::clone(&progress))))
    };
    let mut answer = std::pin::pin!(client.request(request));
    loop {
        let (deadline, what) = deadline(&progress, timeouts);
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(|error| match progress.failure() {
                // The connection broke for want of it.
                Some(reason) => UpstreamError::CallersBody(reason.to_owned()).into(),
                None => Unanswered {
                    error: from_client(&error),
                    on_stale_connection: was_stale(&error),
                },
            }),
            () = sleep_until(deadline) => {}
        }
        if self::deadline(&progress, timeouts).0 <= Instant::now() {
            return Err(UpstreamError::Timeout(what).into());
        }
    }
}

/// Connecting has its own clock and is allowed for here.
fn deadline(progress: &TransferProgress, timeouts: Timeouts) -> (Instant, &'static str) {
    let (limit, what) = if progress.is_sent() {
        (timeouts.first_byte, "no answer began")
    } else {
        (timeouts.idle, "the request's body stalled")
    };
    (progress.moved() + timeouts.connect + limit, what)
}

fn from_client(error: &legacy::Error) -> UpstreamError {
    if find::<ConnectTimedOut>(error).is_some() {
        return UpstreamError::Timeout(CONNECTING);
    }
    if let Some(forbidden) = find::<Forbidden>(error) {
        return UpstreamError::Invalid(forbidden.to_string());
    }
    let reason = error.source().map_or_else(|| error.to_string(), chain);
    if error.is_connect() {
        UpstreamError::Connect(reason)
    } else {
        UpstreamError::Broken(reason)
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    sources(error).find_map(|source| source.downcast_ref())
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error and its causes in one line, none of them twice.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for source in sources(error) {
        let part = source.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::http::body::BoxError;

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::ZERO,
        first_byte: Duration::from_secs(30),
        idle: Duration::from_secs(60),
    };

    fn left(progress: &TransferProgress) -> Duration {
        deadline(progress, TIMEOUTS).0 - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_take_hours_as_long_as_it_moves() {
        let progress = TransferProgress::new(false);
        let piece = |text: &'static str| Ok::<_, BoxError>(Frame::data(Bytes::from(text)));
        let pieces = futures_util::stream::iter([piece("a"), piece("b")]);
        let mut body = ProgressBody::new(Body::stream(StreamBody::new(pieces)), Arc::clone(&progress));
        for _ in 0..2 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert_eq!(left(&progress), Duration::from_secs(1));
            assert!(body.frame().await.is_some());
            assert_eq!(left(&progress), Duration::from_secs(60));
        }
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(body.frame().await.is_none());
        assert_eq!(
            left(&progress),
            Duration::from_secs(30),
            "now it is the upstream's turn"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_let_go_of_is_sent() {
        let progress = TransferProgress::new(false);
        drop(ProgressBody::new(Body::empty(), Arc::clone(&progress)));
        assert!(progress.is_sent());
    }

    #[test]
    fn causes_are_told_once() {
        let inner = UpstreamError::Invalid("x".into());
        let outer = std::io::Error::other(inner.clone());
        assert_eq!(chain(&outer), inner.to_string());
    }
}
