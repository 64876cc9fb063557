//! When an idempotent request is made again, and how long before.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep};

use super::error::UpstreamError;
use crate::http::retry_after;

/// No attempt begins later than this after the first.
const WINDOW: Duration = Duration::from_secs(10);
/// A `Retry-After` longer than this is the caller's to wait for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The mean pause before the first repetition; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A failed attempt.
#[derive(Debug)]
pub(super) struct ReadFailure {
    pub(super) error: UpstreamError,
    /// How long the upstream wants to be left alone.
    pub(super) wait: Option<Duration>,
}

impl From<UpstreamError> for ReadFailure {
    fn from(error: UpstreamError) -> Self {
        let wait = match &error {
            // A token's, say.
            UpstreamError::Limited { retry_after, .. } => retry_after.map(Duration::from_secs),
            _ => None,
        };
        Self { error, wait }
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub(super) struct Retry {
    left: u32,
    begun: Instant,
    pause: Duration,
}

impl Retry {
    /// `retries` attempts beyond the first.
    pub(super) fn new(retries: u32) -> Self {
        Self {
            left: retries,
            begun: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// When the first attempt began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Waits until the request may be made again. Returns the failure where that is of no use, or not soon enough.
    pub(super) async fn after(&mut self, failure: ReadFailure) -> Result<(), UpstreamError> {
        let asked = failure.wait.unwrap_or_default();
        // Jitter: many callers that failed together do not come back together.
        let pause = self.pause.mul_f64(rand::random_range(0.5..1.5));
        let wait = asked.max(pause);
        let hopeless = self.left == 0 || !is_transient(&failure.error) || asked > LONGEST_WAIT;
        if hopeless || self.begun.elapsed() + wait > WINDOW {
            return Err(failure.error);
        }
        self.left -= 1;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        sleep(wait).await;
        Ok(())
    }
}

/// Whether the same request may succeed a moment later.
pub(super) fn is_transient(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Connect(_)
        | UpstreamError::Timeout(_)
        | UpstreamError::Broken(_)
        | UpstreamError::Limited { .. } => true,
        // "Not implemented", "version not supported" and "loop detected" will not change.
        UpstreamError::Failed(status) => !matches!(status.as_u16(), 501 | 505 | 508),
        UpstreamError::CallersBody(_)
        | UpstreamError::Unfinished { .. }
        | UpstreamError::AllowanceSpent { .. }
        | UpstreamError::Busy
        | UpstreamError::StillListing { .. }
        | UpstreamError::StillSearching { .. }
        | UpstreamError::Paused { .. }
        | UpstreamError::Credentials(_)
        | UpstreamError::Content(_)
        | UpstreamError::Invalid(_)
        | UpstreamError::ReferrersApiGone(_) => false,
    }
}

/// How long a 429 or 503 asks to wait: `Retry-After` as seconds or as an HTTP date, or, GHCR's way, a Go duration in the
/// message (`retry-after: 880.092µs, allowed: 44000/minute`).
pub(crate) fn retry_after(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Duration> {
    retry_after::stated(headers, now).or_else(|| in_message(body))
}

/// Says in `Retry-After` what a 429 says in its message alone, so that clients understand it.
pub(super) fn state_wait(status: StatusCode, headers: &mut HeaderMap, body: &[u8]) {
    if status != StatusCode::TOO_MANY_REQUESTS || headers.contains_key(RETRY_AFTER) {
        return;
    }
    if let Some(wait) = in_message(body) {
        headers.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
}

fn in_message(body: &[u8]) -> Option<Duration> {
    const KEY: &str = "retry-after:";
    let text = String::from_utf8_lossy(body)
        .to_ascii_lowercase()
        .replace("\\u00b5", "µ");
    text.match_indices(KEY).find_map(|(at, _)| {
        // Messages repeat what they were asked about, and `retry-after:9h` would pass for a digest: none has a space.
        let (before, after) = (&text[..at], text[at + KEY.len()..].strip_prefix(' ')?);
        let begins = before.is_empty() || before.ends_with(' ') || (before.ends_with('"') && !before.ends_with("\\\""));
        let duration = after.trim_start().split([',', '"', ' ', '}', '\n', '\\']).next()?;
        begins.then(|| go_duration(duration))?
    })
}

/// Go's `time.Duration` text: `1m30s`, `1.5h`, `880.092µs`.
fn go_duration(mut text: &str) -> Option<Duration> {
    let mut total = 0.0;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit_length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit_length);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit;
        text = rest;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// A wait in seconds, rounded up.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(header: Option<&str>, body: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        // 1994-11-06 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        retry_after(&headers, body.as_bytes(), now)
    }

    #[test]
    fn reads_every_form() {
        assert_eq!(wait(Some("7"), ""), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(Some("99999999999999999999"), ""),
            Some(Duration::from_secs(u64::MAX))
        );
        assert_eq!(
            wait(Some("Sun, 06 Nov 1994 08:49:47 GMT"), ""),
            Some(Duration::from_secs(10))
        );
        assert_eq!(wait(Some("Sun, 06 Nov 1994 08:49:07 GMT"), ""), Some(Duration::ZERO));
        let ghcr =
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092µs, allowed: 44000/minute"}]}"#;
        assert_eq!(wait(None, ghcr), Some(Duration::from_nanos(880_092)));
        assert_eq!(
            wait(Some("soon"), "Retry-After: 1m30.5s"),
            Some(Duration::from_millis(90_500))
        );
        assert_eq!(wait(None, r#""retry-after: 5\u00b5s""#), Some(Duration::from_micros(5)));
    }

    #[test]
    fn nonsense_is_no_time() {
        for (header, body) in [
            (None, ""),
            (Some("-1"), ""),
            (Some(""), ""),
            (None, "retry-after:"),
            (None, "retry-after: 5"),
        ] {
            assert_eq!(wait(header, body), None, "{header:?} {body}");
        }
        // What a message quotes.
        for body in [
            r#"{"errors":[{"code":"X","message":"unknown manifest retry-after:9h, sorry"}]}"#,
            r#"{"errors":[{"code":"X","message":"unknown tag x-retry-after: 9h"}]}"#,
            r#"{"errors":[{"code":"X","message":"unknown \"retry-after: 9h\""}]}"#,
        ] {
            assert_eq!(wait(None, body), None, "{body}");
        }
        let after_it = r#"unknown manifest retry-after:9h. retry-after: 2s"#;
        assert_eq!(wait(None, after_it), Some(Duration::from_secs(2)));
        assert_eq!(wait(None, "retry-after: 1..2s"), None);
        assert_eq!(wait(None, &format!("retry-after: {}h", "9".repeat(400))), None);
    }

    proptest::proptest! {
        #[test]
        fn no_message_panics(text in "[0-9.hmsnuµμ, \"\\\\]{0,20}", any in ".{0,20}") {
            let _ = (wait(None, &format!("retry-after:{text}")), wait(None, &format!("Retry-After: {any}")));
        }
    }

    fn limited(wait: u64) -> ReadFailure {
        ReadFailure {
            error: UpstreamError::Limited {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(wait),
            },
            wait: Some(Duration::from_secs(wait)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_as_asked_but_not_long() {
        let mut retry = Retry::new(5);
        let begun = Instant::now();
        assert!(retry.after(limited(4)).await.is_ok());
        assert!(begun.elapsed() >= Duration::from_secs(4));
        assert!(retry.after(limited(6)).await.is_err());
        assert!(retry.after(limited(5)).await.is_ok());
        assert!(retry.after(limited(5)).await.is_err(), "the window is over");
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_attempts_run_out_or_it_is_of_no_use() {
        let broken = || ReadFailure::from(UpstreamError::Broken(String::new()));
        let mut retry = Retry::new(1);
        assert!(retry.after(broken()).await.is_ok());
        assert!(retry.after(broken()).await.is_err());
        let invalid = UpstreamError::Invalid(String::new());
        assert!(Retry::new(9).after(invalid.into()).await.is_err());
    }

    #[test]
    fn a_limit_is_stated_once() {
        let ghcr = br#"{"errors":[{"message":"retry-after: 1.2s, allowed: 44000/minute"}]}"#;
        for (status, stated, expected) in [
            (429, None, Some("2")),
            (429, Some("7"), Some("7")),
            (403, None, None),
            (200, None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(stated.map(|text| (RETRY_AFTER, text.parse().unwrap())));
            state_wait(StatusCode::from_u16(status).unwrap(), &mut headers, ghcr);
            let told: Vec<&str> = headers.values().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(told, Vec::from_iter(expected), "{status}");
        }
    }

    #[test]
    fn fractions_of_a_second_are_waited_out() {
        assert_eq!(whole_seconds(Duration::from_nanos(880_092)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }
}
