//! What a request asks for.

mod parse;

use http::Method;

use super::ui_page::UiPage;
use crate::metrics::Endpoint;
use crate::oci::digest::InvalidDigest;
use crate::oci::name::{InvalidName, InvalidTag};
use crate::oci::{Digest, Reference, RepositoryName};
use crate::render::proposal_a::Shape;

pub use parse::route;

/// One variant per behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// OCI 1.1: `/v2/<name>/referrers/<digest>`.
    Referrers {
        repository: RepositoryName,
        subject: Digest,
    },
    /// Proposal A's list in one of its three forms.
    ProposalA {
        shape: Shape,
        repository: RepositoryName,
        subject: Digest,
    },
    /// Proposal B: `/v2/<name>/manifests/<ref>/references`.
    References {
        repository: RepositoryName,
        reference: Reference,
    },
    /// Proposal C: `/v3/`.
    V3Ping,
    /// Proposal C: `/v3/<name>/<question>/<ref>`.
    V3 {
        question: V3Question,
        repository: RepositoryName,
        reference: Reference,
    },
    /// Extension discovery, of the registry or of one repository.
    Discover { repository: Option<RepositoryName> },
    /// `GET` or `HEAD /v2/<name>/tags/list`.
    TagsList { repository: RepositoryName },
    /// `/v2/<name>/manifests/<ref>` with any method.
    Manifest {
        repository: RepositoryName,
        reference: Reference,
    },
    /// A page for people, where the configuration wants them.
    Ui(UiPage),
    /// Everything else below `/v2/`: the upstream's business.
    Passthrough {
        endpoint: Endpoint,
        repository: Option<RepositoryName>,
    },
}

/// Proposal C's four questions about a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V3Question {
    Referrers,
    Reference,
    Objects,
    Description,
}

/// Why a request leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is nothing here: this is an OCI registry, its API begins at /v2/")]
    NotFound,
    #[error("this endpoint can only be read")]
    ReadOnly,
    #[error("no registry here is called '{0}'; refshim's configuration lists what it serves in upstream.ns")]
    Namespace(String),
    #[error("the query names two registries: ns must be given once")]
    TwoNamespaces,
    #[error("the request's target is longer than {0} bytes")]
    TargetBytes(usize),
    #[error("the request has more than {0} header lines")]
    HeaderCount(usize),
    #[error("the request's header lines are longer than {0} bytes together")]
    HeaderBytes(usize),
    #[error(
        "the request came back to a refshim that it passed before, or passed too many: its upstream.url leads in a circle"
    )]
    Loop,
    #[error("the distribution-spec has no such method")]
    Method,
    #[error("a request must have exactly one Host header")]
    Host,
    #[error("no transfer coding but 'chunked' is understood")]
    TransferCoding,
    #[error("the path has empty, '.', '..' or percent-encoded parts that no registry path has")]
    Path,
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

impl Route {
    /// Whether the answer is refshim's own, or a manifest: something that does not take long. Everything else takes as long as it
    /// moves.
    pub fn is_short(&self, method: &Method) -> bool {
        match self {
            Self::Passthrough { .. } => false,
            Self::Manifest { .. } => is_read(method),
            _ => true,
        }
    }

    /// The metric and log label.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Referrers { .. } => Endpoint::Referrers,
            Self::ProposalA { .. } => Endpoint::ProposalA,
            Self::References { .. } => Endpoint::ProposalB,
            Self::V3Ping | Self::V3 { .. } => Endpoint::ProposalC,
            Self::Discover { .. } => Endpoint::Discover,
            Self::TagsList { .. } => Endpoint::Tags,
            Self::Manifest { .. } => Endpoint::Manifest,
            Self::Ui(_) => Endpoint::Ui,
            Self::Passthrough { endpoint, .. } => *endpoint,
        }
    }
}

pub(in crate::proxy) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
