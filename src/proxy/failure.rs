//! Why an answer is a failure, for the log. It travels with the answer, as an extension of the response.

use std::mem::Discriminant;

use http::{Response, StatusCode};

use crate::http::body::Body;
use crate::registry::UpstreamError;

/// The reason of an answer with a 5xx.
#[derive(Clone, Debug)]
pub(super) struct FailureReason {
    kind: FailureKind,
    message: String,
}

/// What tells reasons apart. Messages hold times and counts that differ each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FailureKind {
    status: StatusCode,
    /// What the upstream did; `None` where it was not the upstream.
    upstream: Option<Discriminant<UpstreamError>>,
}

impl FailureReason {
    /// What went wrong between refshim and the upstream, if that is what went wrong.
    pub(super) fn new(status: StatusCode, upstream: Option<&UpstreamError>, message: String) -> Self {
        let upstream = upstream.map(|error| std::mem::discriminant(error.root()));
        let kind = FailureKind { status, upstream };
        Self { kind, message }
    }

    /// Remembers with a passed-on answer of the registry's, where it is a failure, that it is one of the registry's.
    pub(super) fn note_registrys_own(response: &mut Response<Body>) {
        let status = response.status();
        if status.is_server_error() {
            let message = format!("the registry answered HTTP {}", status.as_u16());
            Self::new(status, None, message).put(response);
        }
    }

    /// Lets the reason travel with the answer.
    pub(super) fn put(self, response: &mut Response<Body>) {
        response.extensions_mut().insert(self);
    }

    /// Takes it off the answer. `None` where the answer is no failure.
    pub(super) fn of(response: &mut Response<Body>) -> Option<Self> {
        let reason = response.extensions_mut().remove();
        reason.filter(|_| response.status().is_server_error())
    }

    pub(super) fn kind(&self) -> FailureKind {
        self.kind
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}
