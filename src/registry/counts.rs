//! How many requests went to the upstream, of what kind, how they ended and how long they took: what a scan costs is a promise.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::{CounterFamily, FixedFamily, label, latency_histogram};

label! {
    /// What a request is for.
    pub enum RequestKind: "kind" {
        /// A caller's request that is passed through.
        Forward = "forward",
        /// A manifest (GET).
        Manifest = "manifest",
        /// A manifest (HEAD).
        ManifestHead = "manifest_head",
        /// A page of a tag listing.
        Tags = "tags",
        /// The registry's own referrers API.
        Referrers = "referrers",
        /// A blob.
        Blob = "blob",
        /// A manifest that refshim pushes.
        ManifestWrite = "manifest_write",
        /// A blob that refshim pushes or deletes.
        BlobWrite = "blob_write",
        /// A manifest or tag that refshim deletes.
        Delete = "delete",
        /// Challenges and tokens, where refshim has credentials of its own.
        Token = "token",
        /// Whether the registry is there: at the start, and for `/readyz`.
        Ping = "ping",
        /// Small raw reads: access checks, discovery.
        Other = "other",
    }
}

label! {
    /// How a request ended.
    pub enum RequestOutcome: "outcome" {
        /// 1xx to 3xx.
        Answered = "answered",
        /// 4xx but 429.
        Refused = "refused",
        /// 429.
        Limited = "limited",
        /// 5xx.
        Failed = "failed",
        /// No response.
        Broken = "broken",
        /// Nobody waited for the response any more.
        Abandoned = "abandoned",
    }
}

impl RequestOutcome {
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            429 => Self::Limited,
            400..500 => Self::Refused,
            500.. => Self::Failed,
            _ => Self::Answered,
        }
    }
}

/// Requests since start-up. Clones share their metrics.
#[derive(Clone, Debug)]
pub(super) struct RequestCounts {
    pub(super) ended: CounterFamily<(RequestKind, RequestOutcome)>,
    /// In seconds, until the head of the response came or there was none.
    pub(super) durations: FixedFamily<RequestKind, Histogram>,
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            ended: CounterFamily::default(),
            durations: FixedFamily::new(latency_histogram),
        }
    }
}

impl RequestCounts {
    /// Counts a request that ended so after `time`.
    pub(super) fn count(&self, kind: RequestKind, outcome: RequestOutcome, time: Duration) {
        self.ended.get((kind, outcome)).inc();
        self.durations.get(kind).observe(time.as_secs_f64());
    }
}

label! {
    /// What became of a search's read that had to wait.
    pub enum BackoffOutcome: "how" {
        /// It was made a little later.
        Waited = "waited",
        /// It was not made: the wait would have been long.
        GivenUp = "given-up",
    }
}

/// Reads of searches that were held back, because the upstream asked to be left alone or keeps failing.
pub type BackoffCounts = CounterFamily<BackoffOutcome>;
