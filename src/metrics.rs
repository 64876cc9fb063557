//! What refshim did, counted; `admin` names it for Prometheus. A leaf: labels are bounded and never hold a repository or a tag.

mod family;
mod label;
mod request_notes;

use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

pub use family::{CounterFamily, FixedFamily};
pub(crate) use label::label;
pub use label::{Label, LabelSet};
pub use request_notes::{CacheUse, RequestNotes, for_current_request, note_cache_use, note_signed_pull};

label! {
    /// What a request was about.
    pub enum Endpoint: "endpoint" {
        /// `/v2/`.
        Ping = "ping",
        /// `/v2/_catalog`.
        Catalog = "catalog",
        /// A manifest.
        Manifest = "manifest",
        /// A blob.
        Blob = "blob",
        /// A blob upload.
        Upload = "upload",
        /// `tags/list`.
        Tags = "tags",
        /// The referrers API of OCI 1.1.
        Referrers = "referrers",
        /// The referrers API of Proposal A, and its ORAS forms.
        ProposalA = "proposal-a",
        /// The references API of Proposal B.
        ProposalB = "proposal-b",
        /// `/v3/` of Proposal C.
        ProposalC = "proposal-c",
        /// Extension discovery.
        Discover = "discover",
        /// The upstream's token endpoint, when its realm is rewritten.
        Token = "token",
        /// A page for people.
        Ui = "ui",
        /// Anything else below `/v2/`.
        Other = "other",
        /// A request that leads nowhere.
        Refused = "refused",
    }
}

label! {
    pub enum StatusClass: "status" {
        Informational = "1xx",
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
    }
}

impl StatusClass {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            ..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

label! {
    /// Whether an image that was pulled had a signature that refshim knew of.
    pub enum SignedPull: "signed" {
        /// One was remembered.
        Yes = "yes",
        /// It was proven a moment ago that it has none.
        No = "no",
        /// Nobody asked lately.
        Unknown = "unknown",
    }
}

/// Upper bounds of latency histograms, in seconds; the last bucket has none.
const LATENCY_BOUNDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// A histogram of times until an answer began.
pub fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BOUNDS)
}

/// What callers asked for.
#[derive(Debug)]
pub struct Metrics {
    /// Requests answered.
    pub requests: CounterFamily<(Endpoint, StatusClass)>,
    /// Requests whose caller was gone before there was an answer.
    pub abandoned: CounterFamily<Endpoint>,
    /// In seconds, to the head of the answer.
    pub latency: FixedFamily<Endpoint, Histogram>,
    /// Of response bodies.
    pub bytes_sent: CounterFamily<Endpoint>,
    /// Requests that are being answered, their bodies included.
    pub in_flight: Gauge,
    /// Open connections of callers.
    pub connections: Gauge,
    /// Images that were pulled, where that is noted.
    pub pulls: CounterFamily<SignedPull>,
    /// Handlers that panicked: defects.
    pub panics: Counter,
    /// Lines of the log that nobody read in time.
    pub lost_log_lines: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: CounterFamily::default(),
            abandoned: CounterFamily::from_zero(),
            latency: FixedFamily::new(latency_histogram),
            bytes_sent: CounterFamily::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            pulls: CounterFamily::default(),
            panics: Counter::default(),
            lost_log_lines: Counter::default(),
        }
    }
}

impl Metrics {
    /// Counts an answer whose head went out after `latency`.
    pub fn answered(&self, endpoint: Endpoint, status: StatusCode, latency: Duration) {
        self.requests.get((endpoint, StatusClass::of(status))).inc();
        self.latency.get(endpoint).observe(latency.as_secs_f64());
    }

    /// Counts bytes of a response body.
    pub fn sent(&self, endpoint: Endpoint, bytes: u64) {
        if bytes > 0 {
            self.bytes_sent.get(endpoint).inc_by(bytes);
        }
    }

    /// Counts a request for as long as the guard lives.
    pub fn request(&self) -> GaugeGuard {
        GaugeGuard::raise(&self.in_flight)
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(&self) -> GaugeGuard {
        GaugeGuard::raise(&self.connections)
    }
}

/// Raises a gauge by one while it lives.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn raise(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_fall_when_their_guard_is_dropped() {
        let metrics = Metrics::default();
        let guard = metrics.request();
        assert_eq!(metrics.in_flight.get(), 1);
        drop(guard);
        assert_eq!(metrics.in_flight.get(), 0);
    }
}
