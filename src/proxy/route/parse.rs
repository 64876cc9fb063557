//! Reads a [`Route`] from a request's method, path and query.
//!
//! Paths are matched raw and by the distribution-spec's grammar **from the right end**, because a repository may itself be
//! called `referrers`, `manifests` or `a/manifests/b`. No component of a name begins with `_`, so `_oci` and `_oras` stand
//! for themselves. Where an endpoint of the distribution-spec and one of a proposal could both be meant, the former is.

use std::borrow::Cow;

use http::{Method, Uri};
use memchr::memchr2;
use percent_encoding::percent_decode_str;

use super::{Route, RouteError, V3Question, is_read};
use crate::metrics::Endpoint;
use crate::oci::digest::InvalidDigest;
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::render::Query;
use crate::render::proposal_a::Shape;

/// How often something behind the upstream's front door could decode a path again.
const MAX_ENCODINGS: usize = 2;

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
        if memchr2(b'\\', b'\0', path.as_bytes()).is_some() {
            return Err(RouteError::Path);
        }
        // By bytes, which is far cheaper than by characters, and the same: these are ASCII.
        let mut segments = path.as_bytes().split(|byte| *byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let inner = segments.peek().is_some();
            if matches!(segment, b"." | b"..") || (segment.is_empty() && inner) {
                return Err(RouteError::Path);
            }
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
    if text.contains(':') || text.contains('%') && (text.contains("%3A") || text.contains("%3a")) {
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
#[path = "parse_tests.rs"]
mod tests;
