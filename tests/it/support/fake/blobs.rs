//! Blobs that are somewhere else, and the somewhere else.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_RANGE, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use refshim::testing::http::body::{Body, BoxError};
use refshim::testing::oci::{Digest, RepositoryName};

use super::answer::Asked;
use super::knobs::{Moved, Redirect};
use super::{Shared, reply, seen};

/// Sends readers of a blob that exists to where it is.
pub fn redirect(asked: &Asked<'_>) -> Option<Response<Body>> {
    let to = asked.knobs.redirect.filter(|_| asked.is_read())?;
    let (name, digest) = asked.part("blobs")?;
    let (repository, digest) = (RepositoryName::parse(name).ok()?, Digest::parse(digest).ok()?);
    asked.shared.registry.store().blob(&repository, &digest)?;
    Some(match to {
        Redirect::SignedElsewhere => {
            let place = format!("{}/storage/{name}/{digest}?se=300&sig=a%2Bb%3D", asked.shared.elsewhere);
            reply::redirect(StatusCode::TEMPORARY_REDIRECT, &place)
        }
        Redirect::Downloads => {
            let place = format!("/artifacts-downloads/{name}/{digest}");
            reply::redirect(StatusCode::FOUND, &place)
        }
    })
}

/// Where a mirror of the registry is on the foreign host.
const MIRROR: &str = "/v2/mirror";

/// Sends readers to the mirror.
pub fn moved(asked: &Asked<'_>) -> Option<Response<Body>> {
    let is_listing = asked.path.ends_with("/tags/list");
    let moves = match asked.knobs.moved {
        Moved::Nothing => false,
        Moved::Listings => is_listing,
        Moved::Reads => is_listing || asked.part("manifests").is_some(),
    };
    if !moves || !asked.is_read() || asked.knobs.base == MIRROR {
        return None;
    }
    let query = asked
        .head
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let place = format!("{}{MIRROR}{}{query}", asked.shared.elsewhere, asked.path);
    Some(reply::redirect(StatusCode::TEMPORARY_REDIRECT, &place))
}

/// The foreign host: a mirror, signed storage, and a page for everything else.
pub async fn elsewhere(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let (mut head, body) = request.into_parts();
    let mut knobs = shared.change(|state| {
        state.seen_elsewhere.push(seen(&head));
        state.knobs.clone()
    });
    if head.uri.path().starts_with(MIRROR) {
        knobs.base = MIRROR;
        return super::answer::respond(&shared, &knobs, head, body).await;
    }
    let Some((name, digest)) = head
        .uri
        .path()
        .strip_prefix("/storage/")
        .and_then(|path| path.rsplit_once('/'))
    else {
        return Ok(reply::html(StatusCode::OK, "Sign in"));
    };
    if head.headers.contains_key(AUTHORIZATION) {
        let message = "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>";
        return Ok(reply::plain(StatusCode::BAD_REQUEST, "application/xml", message));
    }
    // The signature is for GET; and it is a part of the URL, to the byte.
    if head.method != Method::GET || head.uri.query() != Some("se=300&sig=a%2Bb%3D") {
        return Ok(reply::plain(StatusCode::FORBIDDEN, "application/xml", "<Error/>"));
    }
    if let Some(part) = part(&shared, &head, name, digest) {
        return Ok(part);
    }
    head.uri = format!("/v2/{name}/blobs/{digest}").parse()?;
    Ok(shared.registry.handle(Request::from_parts(head, body)).await)
}

/// `Range: bytes=<first>-[<last>]`
fn part(shared: &Shared, head: &Parts, name: &str, digest: &str) -> Option<Response<Body>> {
    let range = head.headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = range.split_once('-')?;
    let (repository, digest) = (RepositoryName::parse(name).ok()?, Digest::parse(digest).ok()?);
    let blob = shared.registry.store().blob(&repository, &digest)?.clone();
    let first: usize = first.parse().ok()?;
    let last = last.parse().unwrap_or(usize::MAX).min(blob.len().saturating_sub(1));
    let (status, range, content) = if first < blob.len() {
        let range = format!("bytes {first}-{last}/{}", blob.len());
        (StatusCode::PARTIAL_CONTENT, range, blob.slice(first..=last))
    } else {
        (
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("bytes */{}", blob.len()),
            Bytes::new(),
        )
    };
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_RANGE, range.parse().expect("a header value"));
    Some(response)
}
