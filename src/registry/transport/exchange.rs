//! One exchange: a request goes out, and the head of the response comes within the time-outs.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, Uri};
use http_body::Body as _;
use tokio::time::{Instant, sleep_until};

use super::advice::advice;
use crate::http::body::Body;
use crate::http::client::HttpClient;
use crate::http::client_error::ClientError;
use crate::http::connector::ConnectTimedOut;
use crate::http::error_chain::{chain, find};
use crate::http::redirect_policy::Forbidden;
use crate::http::response_body::ResponseBody;
use crate::http::sharing::Sharing;
use crate::http::transfer_progress::{ProgressBody, TransferProgress};
use crate::registry::error::{CONNECTING, UpstreamError};

/// How long the upstream may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
}

/// A request that brought no answer.
pub(super) struct Unanswered {
    pub(super) error: UpstreamError,
    /// See [`ClientError::is_stale`].
    pub(super) on_stale_connection: bool,
}

impl From<UpstreamError> for Unanswered {
    fn from(error: UpstreamError) -> Self {
        Self {
            error,
            on_stale_connection: false,
        }
    }
}

/// Waits for the head of the answer. While a body is on its way up, only its standing still counts: an upload may take hours.
pub(super) async fn exchange(
    client: &HttpClient,
    sharing: Sharing,
    request: Request<Body>,
    timeouts: Timeouts,
) -> Result<Response<ResponseBody>, Unanswered> {
    let progress = TransferProgress::new(request.body().is_end_stream());
    let request = if progress.is_sent() {
        request
    } else {
        request.map(|body| Body::stream(ProgressBody::new(body, Arc::clone(&progress))))
    };
    let asked = request.uri().clone();
    let mut answer = client.request(sharing, request);
    loop {
        let (deadline, what) = deadline(&progress, timeouts);
        tokio::select! {
            biased;
            answer = &mut answer => {
                let answer = answer.map_err(|error| match progress.failure() {
                    // The connection broke for want of it.
                    Some(reason) => UpstreamError::CallersBody(reason.to_owned()).into(),
                    None => Unanswered {
                        error: from_client(&error, &asked),
                        on_stale_connection: error.is_stale(),
                    },
                })?;
                return of_registry(client, answer, &asked).map_err(Unanswered::from);
            }
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

/// Fails where a proxy refuses, in the registry's place, to ask it.
fn of_registry(
    client: &HttpClient,
    answer: Response<ResponseBody>,
    asked: &Uri,
) -> Result<Response<ResponseBody>, UpstreamError> {
    if answer.status() != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Ok(answer);
    }
    match client.forward_proxy_of(asked) {
        None => Ok(answer),
        Some(proxy) => Err(UpstreamError::Connect(format!(
            "the proxy {proxy} asks for a user and a password that it knows (HTTP 407): put them into its URL"
        ))),
    }
}

fn from_client(error: &ClientError, asked: &Uri) -> UpstreamError {
    if find::<ConnectTimedOut>(error).is_some() || (error.is_connect() && has_timed_out(error)) {
        return UpstreamError::Timeout(CONNECTING);
    }
    if let Some(forbidden) = find::<Forbidden>(error) {
        return UpstreamError::Invalid(forbidden.to_string());
    }
    if let ClientError::Framing(problem) = error {
        return UpstreamError::Invalid(problem.to_string());
    }
    let mut reason = error.source().map_or_else(|| error.to_string(), chain);
    if let Some(advice) = advice(error, asked) {
        reason = format!("{reason}; {advice}");
    }
    if error.is_connect() {
        UpstreamError::Connect(reason)
    } else {
        UpstreamError::Broken(reason)
    }
}

/// Of several addresses, each has a part of the time.
fn has_timed_out(error: &ClientError) -> bool {
    find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
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
}
