//! What a request asks for, from its method, path and query.
//!
//! Paths are matched raw and by the distribution-spec's grammar **from the right end**, because a repository may itself be
//! called `referrers`, `manifests` or `a/manifests/b`. No component of a name begins with `_`, so `_oci` and `_oras` stand
//! for themselves. Where an endpoint of the distribution-spec and one of a proposal could both be meant, the former is.

use std::borrow::Cow;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use super::ui_page::UiPage;
use crate::metrics::Endpoint;
use crate::oci::digest::InvalidDigest;
use crate::oci::name::{InvalidName, InvalidTag};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::render::Query;
use crate::render::proposal_a::Shape;

/// How often something behind the upstream's front door could decode a path again.
const MAX_ENCODINGS: usize = 2;

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

/// Reads a request's method and target.
pub fn route(method: &Method, uri: &Uri) -> Result<Route, RouteError> {
    let path = uri.path();
    let query = uri.query().unwrap_or_default();
    let found = match path.split('/').nth(1) {
        Some("v2") => v2(method, path, query)?,
        Some("v3") => v3(path)?,
        Some("oras") => oras_v1(path)?,
        _ => return Err(RouteError::NotFound),
    };
    let read_only = !matches!(found, Route::Manifest { .. } | Route::Passthrough { .. });
    if read_only && !is_read(method) {
        return Err(RouteError::ReadOnly);
    }
    Ok(found)
}

pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
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

fn v2(method: &Method, path: &str, query: &str) -> Result<Route, RouteError> {
    let rest = match path.strip_prefix("/v2") {
        None | Some("" | "/") => return Ok(pass(Endpoint::Ping, None)),
        Some(rest) => &rest[1..],
    };
    refuse_disguises(rest)?;
    if rest == "_catalog" {
        return Ok(pass(Endpoint::Catalog, None));
    }
    if rest == "_oci/ext/discover" {
        return Ok(Route::Discover { repository: None });
    }
    let (before, last) = rest.rsplit_once('/').unwrap_or(("", rest));
    let (name, noun) = before.rsplit_once('/').unwrap_or(("", before));
    match (noun, last) {
        ("manifests", _) => manifest(name, last),
        ("tags", "list") => tags_list(method, name),
        ("referrers", _) => Ok(Route::Referrers {
            repository: RepositoryName::parse(name)?,
            subject: digest(last)?,
        }),
        ("blobs", _) => Ok(pass(Endpoint::Blob, plain_name(name)?)),
        // GHCR says `upload`.
        ("uploads" | "upload", _) if name.ends_with("/blobs") => Ok(pass(
            Endpoint::Upload,
            plain_name(&name[..name.len() - "/blobs".len()])?,
        )),
        ("artifacts", "referrers") => match name.rsplit_once('/') {
            Some((name, "_oci")) => proposal_a(Shape::ProposalA, name, query),
            Some((name, "_oras")) => proposal_a(Shape::Oras, name, query),
            _ => Ok(pass(Endpoint::Other, None)),
        },
        ("ext", "discover") => match name.strip_suffix("/_oci") {
            Some(name) => Ok(Route::Discover {
                repository: Some(RepositoryName::parse(name)?),
            }),
            None => Ok(pass(Endpoint::Other, None)),
        },
        (reference, "references") => match name.strip_suffix("/manifests") {
            Some(name) => Ok(Route::References {
                repository: RepositoryName::parse(name)?,
                reference: any_reference(reference)?,
            }),
            None => Ok(pass(Endpoint::Other, None)),
        },
        _ => Ok(pass(Endpoint::Other, None)),
    }
}

/// Refuses what two readers of one path could understand differently: segments that are empty or dots, however often they
/// are percent-encoded. Only the last segment may be empty (`blobs/uploads/`).
fn refuse_disguises(path: &str) -> Result<(), RouteError> {
    let mut path = Cow::Borrowed(path);
    for _ in 0..=MAX_ENCODINGS {
        let mut segments = path.split(['/', '\\']).peekable();
        while let Some(segment) = segments.next() {
            let inner = segments.peek().is_some();
            if matches!(segment, "." | "..") || (segment.is_empty() && inner) {
                return Err(RouteError::Path);
            }
        }
        if path.contains(['\\', '\0']) {
            return Err(RouteError::Path);
        }
        if !path.contains('%') {
            break;
        }
        path = Cow::Owned(percent_decode_str(&path).decode_utf8_lossy().into_owned());
    }
    Ok(())
}

fn pass(endpoint: Endpoint, repository: Option<RepositoryName>) -> Route {
    Route::Passthrough { endpoint, repository }
}

/// A name that the upstream may judge itself, as long as it is not percent-encoded.
fn plain_name(name: &str) -> Result<Option<RepositoryName>, RouteError> {
    match RepositoryName::parse(name) {
        Ok(name) => Ok(Some(name)),
        Err(invalid) if name.contains('%') => Err(invalid.into()),
        Err(_) => Ok(None),
    }
}

fn manifest(name: &str, last: &str) -> Result<Route, RouteError> {
    let repository = plain_name(name)?;
    let reference = match any_reference(last) {
        Ok(reference) => Some(reference),
        Err(RouteError::Tag(invalid)) if last.contains('%') => return Err(invalid.into()),
        // Distribution 2.8 fails with 500 here.
        Err(invalid @ RouteError::Digest(_)) => return Err(invalid),
        // The upstream knows better what to say, such as 404 for a tag of 129 characters.
        Err(_) => None,
    };
    Ok(match (repository, reference) {
        (Some(repository), Some(reference)) => Route::Manifest { repository, reference },
        (repository, _) => pass(Endpoint::Manifest, repository),
    })
}

fn tags_list(method: &Method, name: &str) -> Result<Route, RouteError> {
    Ok(match plain_name(name)? {
        Some(repository) if is_read(method) => Route::TagsList { repository },
        repository => pass(Endpoint::Tags, repository),
    })
}

fn proposal_a(shape: Shape, name: &str, query: &str) -> Result<Route, RouteError> {
    Ok(Route::ProposalA {
        shape,
        repository: RepositoryName::parse(name)?,
        subject: Digest::parse(Query::parse(Some(query)).first("digest").unwrap_or_default())?,
    })
}

/// A digest in a path; some clients write its colon as `%3A`.
fn digest(text: &str) -> Result<Digest, InvalidDigest> {
    if !text.contains('%') {
        return Digest::parse(text);
    }
    match text.find("%3A").or_else(|| text.find("%3a")) {
        Some(at) => Digest::parse(&format!("{}:{}", &text[..at], &text[at + 3..])),
        None => Digest::parse(text),
    }
}

fn any_reference(text: &str) -> Result<Reference, RouteError> {
    if text.contains(':') || text.contains("%3A") || text.contains("%3a") {
        Ok(Reference::Digest(digest(text)?))
    } else {
        Ok(Reference::Tag(Tag::parse(text)?))
    }
}

fn v3(path: &str) -> Result<Route, RouteError> {
    let rest = match path.strip_prefix("/v3") {
        None | Some("" | "/") => return Ok(Route::V3Ping),
        Some(rest) => &rest[1..],
    };
    let (before, last) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
    let (name, noun) = before.rsplit_once('/').ok_or(RouteError::NotFound)?;
    let question = match noun {
        "referrers" => V3Question::Referrers,
        "reference" => V3Question::Reference,
        "objects" => V3Question::Objects,
        "description" => V3Question::Description,
        _ => return Err(RouteError::NotFound),
    };
    Ok(Route::V3 {
        question,
        repository: RepositoryName::parse(name)?,
        reference: any_reference(last)?,
    })
}

fn oras_v1(path: &str) -> Result<Route, RouteError> {
    let rest = path.strip_prefix("/oras/artifacts/v1/").ok_or(RouteError::NotFound)?;
    let rest = rest.strip_suffix("/referrers").ok_or(RouteError::NotFound)?;
    let (before, last) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
    let name = before.strip_suffix("/manifests").ok_or(RouteError::NotFound)?;
    Ok(Route::ProposalA {
        shape: Shape::OrasV1,
        repository: RepositoryName::parse(name)?,
        subject: digest(last)?,
    })
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
