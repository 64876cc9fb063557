//! How many requests went to the upstream, of what kind and how they ended: what a scan costs is a promise.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A caller's request that is passed through.
    Forward,
    Manifest,
    ManifestHead,
    Tags,
    Referrers,
    Blob,
    ManifestWrite,
    BlobWrite,
    Delete,
    /// Challenges and tokens, where refshim has credentials of its own.
    Token,
    /// Small raw reads: access checks, discovery.
    Other,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// 1xx to 3xx.
    Answered,
    /// 4xx but 429.
    Refused,
    /// 429.
    Limited,
    /// 5xx.
    Failed,
    /// No response.
    Broken,
}

impl RequestKind {
    pub const ALL: [Self; 11] = [
        Self::Forward,
        Self::Manifest,
        Self::ManifestHead,
        Self::Tags,
        Self::Referrers,
        Self::Blob,
        Self::ManifestWrite,
        Self::BlobWrite,
        Self::Delete,
        Self::Token,
        Self::Other,
    ];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Manifest => "manifest",
            Self::ManifestHead => "manifest_head",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::Blob => "blob",
            Self::ManifestWrite => "manifest_write",
            Self::BlobWrite => "blob_write",
            Self::Delete => "delete",
            Self::Token => "token",
            Self::Other => "other",
        }
    }
}

impl RequestOutcome {
    pub const ALL: [Self; 5] = [Self::Answered, Self::Refused, Self::Limited, Self::Failed, Self::Broken];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Failed => "failed",
            Self::Broken => "broken",
        }
    }

    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            429 => Self::Limited,
            400..500 => Self::Refused,
            500.. => Self::Failed,
            _ => Self::Answered,
        }
    }
}

/// Counters since start-up.
#[derive(Debug, Default)]
pub struct RequestCounts {
    counts: [[AtomicU64; RequestOutcome::ALL.len()]; RequestKind::ALL.len()],
}

impl RequestCounts {
    pub(super) fn add(&self, kind: RequestKind, outcome: RequestOutcome) {
        self.counts[kind as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, kind: RequestKind, outcome: RequestOutcome) -> u64 {
        self.counts[kind as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// Every pair that there is, for metrics.
    pub fn iter(&self) -> impl Iterator<Item = (RequestKind, RequestOutcome, u64)> {
        RequestKind::ALL
            .into_iter()
            .flat_map(move |kind| RequestOutcome::ALL.map(|outcome| (kind, outcome, self.get(kind, outcome))))
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, _, count)| count).sum()
    }
}

/// What became of a search's read that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffOutcome {
    /// It was made a little later.
    Waited,
    /// It was not made: the wait would have been long.
    GivenUp,
}

impl BackoffOutcome {
    pub const ALL: [Self; 2] = [Self::Waited, Self::GivenUp];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waited => "waited",
            Self::GivenUp => "given-up",
        }
    }
}

/// Reads of searches that were held back, because the upstream asked to be left alone or keeps failing.
#[derive(Debug, Default)]
pub struct BackoffCounts {
    counts: [AtomicU64; BackoffOutcome::ALL.len()],
}

impl BackoffCounts {
    pub(super) fn add(&self, held: BackoffOutcome) {
        self.counts[held as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, held: BackoffOutcome) -> u64 {
        self.counts[held as usize].load(Ordering::Relaxed)
    }
}
