//! Counters of what refshim did, without knowing how they are printed. A leaf: labels are bounded and never hold a
//! repository or a tag.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Ping,
    Catalog,
    Manifest,
    Blob,
    Upload,
    Tags,
    Referrers,
    ProposalA,
    ProposalB,
    ProposalC,
    Discover,
    /// The upstream's token endpoint, when its realm is rewritten.
    Token,
    /// A page for people.
    Ui,
    /// Anything else below `/v2/`.
    Other,
    /// A request that leads nowhere.
    Refused,
}

impl Endpoint {
    pub const ALL: [Self; 15] = [
        Self::Ping,
        Self::Catalog,
        Self::Manifest,
        Self::Blob,
        Self::Upload,
        Self::Tags,
        Self::Referrers,
        Self::ProposalA,
        Self::ProposalB,
        Self::ProposalC,
        Self::Discover,
        Self::Token,
        Self::Ui,
        Self::Other,
        Self::Refused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Catalog => "catalog",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Upload => "upload",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::ProposalA => "proposal-a",
            Self::ProposalB => "proposal-b",
            Self::ProposalC => "proposal-c",
            Self::Discover => "discover",
            Self::Token => "token",
            Self::Ui => "ui",
            Self::Other => "other",
            Self::Refused => "refused",
        }
    }
}

/// Upper bounds of the latency histogram, in seconds; the last bucket has none.
pub const LATENCY_BOUNDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Status classes `1xx` to `5xx`.
const CLASSES: usize = 5;

/// The counters of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointCounters {
    by_class: [AtomicU64; CLASSES],
    by_latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    latency_micros: AtomicU64,
    bytes_sent: AtomicU64,
}

/// A reading of [`EndpointCounters`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointReading {
    /// Requests answered with `1xx`, `2xx`, … `5xx`.
    pub by_class: [u64; CLASSES],
    /// Requests per bucket of [`LATENCY_BOUNDS`], not cumulated.
    pub by_latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// Sum of all latencies, in seconds.
    pub latency_seconds: f64,
    /// Bytes of response bodies.
    pub bytes_sent: u64,
}

/// What callers asked for.
#[derive(Debug, Default)]
pub struct Metrics {
    endpoints: [EndpointCounters; Endpoint::ALL.len()],
    in_flight: AtomicU64,
    connections: AtomicU64,
    panics: AtomicU64,
}

impl Metrics {
    /// Counts an answer whose head went out after `latency`.
    pub fn answered(&self, endpoint: Endpoint, status: http::StatusCode, latency: Duration) {
        let counters = self.of(endpoint);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        add(&counters.by_class[class], 1);
        let seconds = latency.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        add(&counters.by_latency[bucket], 1);
        add(
            &counters.latency_micros,
            u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        );
    }

    /// Counts bytes of a response body.
    pub fn sent(&self, endpoint: Endpoint, bytes: u64) {
        add(&self.of(endpoint).bytes_sent, bytes);
    }

    pub fn panicked(&self) {
        add(&self.panics, 1);
    }

    /// Counts a request for as long as the guard lives.
    pub fn request(self: &std::sync::Arc<Self>) -> Gauge {
        Gauge::raise(self, |metrics| &metrics.in_flight)
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(self: &std::sync::Arc<Self>) -> Gauge {
        Gauge::raise(self, |metrics| &metrics.connections)
    }

    pub fn read(&self, endpoint: Endpoint) -> EndpointReading {
        let counters = self.of(endpoint);
        EndpointReading {
            by_class: counters.by_class.each_ref().map(get),
            by_latency: counters.by_latency.each_ref().map(get),
            latency_seconds: get(&counters.latency_micros) as f64 / 1e6,
            bytes_sent: get(&counters.bytes_sent),
        }
    }

    /// Requests that are being answered, their bodies included.
    pub fn in_flight(&self) -> u64 {
        get(&self.in_flight)
    }

    /// Open connections of callers.
    pub fn connections(&self) -> u64 {
        get(&self.connections)
    }

    /// Handlers that panicked: defects.
    pub fn panics(&self) -> u64 {
        get(&self.panics)
    }

    fn of(&self, endpoint: Endpoint) -> &EndpointCounters {
        &self.endpoints[endpoint as usize]
    }
}

/// Raises a gauge while it lives.
#[derive(Debug)]
pub struct Gauge {
    metrics: std::sync::Arc<Metrics>,
    which: fn(&Metrics) -> &AtomicU64,
}

impl Gauge {
    fn raise(metrics: &std::sync::Arc<Metrics>, which: fn(&Metrics) -> &AtomicU64) -> Self {
        add(which(metrics), 1);
        Self {
            metrics: metrics.clone(),
            which,
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.which)(&self.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::StatusCode;

    use super::*;

    #[test]
    fn every_endpoint_counts_for_itself() {
        let metrics = Metrics::default();
        for (position, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint as usize, position, "ALL is in the order of the variants");
        }
        metrics.answered(Endpoint::Blob, StatusCode::OK, Duration::from_millis(3));
        metrics.answered(Endpoint::Blob, StatusCode::BAD_GATEWAY, Duration::from_secs(100));
        metrics.sent(Endpoint::Blob, 7);
        let reading = metrics.read(Endpoint::Blob);
        assert_eq!(reading.by_class, [0, 1, 0, 0, 1]);
        assert_eq!((reading.by_latency[1], reading.by_latency[10]), (1, 1));
        assert_eq!(reading.bytes_sent, 7);
        assert_eq!(metrics.read(Endpoint::Ping), EndpointReading::default());
    }

    #[test]
    fn gauges_fall_when_their_guard_is_dropped() {
        let metrics = Arc::new(Metrics::default());
        let guard = metrics.request();
        assert_eq!(metrics.in_flight(), 1);
        drop(guard);
        assert_eq!(metrics.in_flight(), 0);
    }
}
