//! Why there is no answer. An upstream *status* is no error; an error means that nothing can be said.

use std::sync::Arc;

use crate::auth::AuthProblem;

/// What went wrong between refshim and the upstream.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is no connection.
    #[error("the registry cannot be reached: {0}")]
    Connect(String),
    /// There was no answer in time; of what.
    #[error("the registry did not answer in time ({0})")]
    Timeout(&'static str),
    /// The connection broke.
    #[error("the connection to the registry broke: {0}")]
    Broken(String),
    /// The caller's doing: what it sends ends too soon, or in framing that nobody can read (RFC 9112, section 7.1).
    #[error("the request's body did not arrive whole: {0}")]
    CallersBody(String),
    /// 429 or 503 that outlasted the retries.
    #[error("the registry is overloaded or limits requests (HTTP {status})")]
    Limited {
        /// The registry's status.
        status: http::StatusCode,
        /// Seconds, from `Retry-After` or the message.
        retry_after: Option<u64>,
    },
    /// A search was not made, because the upstream asked to be left alone or keeps failing.
    #[error("{cause}; refshim asks it again in {seconds} s")]
    Paused {
        /// What the last search met.
        cause: Arc<UpstreamError>,
        /// Until it may be asked again.
        seconds: u64,
    },
    /// A search that made all the requests that one may make. What it read is remembered, so that the next goes on from there.
    #[error("there is more to look through than {requests} requests of one search; ask again, it goes on from there")]
    Unfinished {
        /// Requests for manifests and blobs that the search made.
        requests: usize,
    },
    /// The repository has many tags, and whoever asks has waited for their listing as long as anybody is to wait. It goes on.
    #[error("its tags are still being listed, {names} so far; ask again in {seconds} s")]
    StillListing {
        /// How many names were read so far.
        names: usize,
        /// In how many seconds to ask again.
        seconds: u64,
    },
    /// Whoever asks has waited for a search through the whole repository as long as anybody is to wait. It goes on.
    #[error("what refers to the images of the repository is still being looked through; ask again in {seconds} s")]
    StillSearching {
        /// In how many seconds to ask again.
        seconds: u64,
    },
    /// The work has made all the requests that it may make.
    #[error("all {requests} requests that may be made were made")]
    AllowanceSpent {
        /// The bound.
        requests: u64,
    },
    /// Refused before anything was asked: too much waits for this upstream already.
    #[error("too many questions wait for the registry already")]
    Busy,
    /// Another 5xx.
    #[error("the registry failed (HTTP {status}){meaning}", status = .0, meaning = explained(*.0))]
    Failed(http::StatusCode),
    /// Those with which the registry is to be asked are not there, or are of no use.
    #[error("no credentials for the registry: {0}")]
    Credentials(String),
    /// One manifest or blob that is not what its digest, size or type promises. It concerns that content alone, so a scan
    /// skips it.
    #[error("the registry holds content that cannot be believed: {0}")]
    Content(String),
    /// An answer that no registry gives: HTML, broken JSON, a wrong digest, too many bytes, a redirect loop.
    #[error("the registry's answer cannot be used: {0}")]
    Invalid(String),
    /// What its referrers API answers this caller looks like there is none, after it answered somebody in this repository.
    #[error(
        "the registry's answer cannot be used: its referrers API, which has answered in this repository, is gone: {0}"
    )]
    ReferrersApiGone(String),
}

impl UpstreamError {
    /// Whether there was no connection, so that the upstream has seen nothing of the request.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout(CONNECTING))
    }

    /// What the upstream did, also where this is the pause that followed.
    pub fn root(&self) -> &Self {
        match self {
            Self::Paused { cause, .. } => cause.root(),
            other => other,
        }
    }

    /// Whether the registry gave no answer of its own to what was asked, so that what is known may be given instead. Everything
    /// else is an answer, if an odd one.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Timeout(_)
            | Self::Broken(_)
            | Self::Limited { .. }
            | Self::Paused { .. }
            | Self::Failed(_)
            | Self::Credentials(_) => true,
            Self::Busy
            | Self::StillListing { .. }
            | Self::StillSearching { .. }
            | Self::Unfinished { .. }
            | Self::AllowanceSpent { .. }
            | Self::CallersBody(_)
            | Self::Content(_)
            | Self::Invalid(_)
            | Self::ReferrersApiGone(_) => false,
        }
    }

    /// Whether refshim is still at it, so that whoever asks again gets an answer.
    pub fn is_under_way(&self) -> bool {
        matches!(
            self,
            Self::StillListing { .. } | Self::StillSearching { .. } | Self::Unfinished { .. }
        )
    }
}

impl From<AuthProblem> for UpstreamError {
    fn from(problem: AuthProblem) -> Self {
        match problem {
            AuthProblem::Credentials(reason) => Self::Credentials(reason),
            AuthProblem::Realm { .. } => Self::Invalid(problem.to_string()),
        }
    }
}

/// What a status of failure means, where it means one thing.
fn explained(status: http::StatusCode) -> &'static str {
    match status {
        http::StatusCode::LOOP_DETECTED => {
            ": requests for it come back to where they were before; check that upstream.url leads to the registry itself"
        }
        _ => "",
    }
}

/// What took too long when no connection came about.
pub(super) const CONNECTING: &str = "connecting";

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL is not one of a registry.
    #[error("upstream '{name}': the URL '{url}' needs a scheme http or https and a host")]
    Url {
        /// The upstream's name.
        name: String,
        /// The URL, as configured.
        url: String,
    },
    /// The certificate authorities cannot be read.
    #[error("upstream '{name}': certificate authorities cannot be read: {reason}")]
    Authorities {
        /// The upstream's name.
        name: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The TLS settings cannot be used.
    #[error("upstream '{name}': TLS cannot be set up: {reason}")]
    Tls {
        /// The upstream's name.
        name: String,
        /// What is wrong with them.
        reason: String,
    },
}
