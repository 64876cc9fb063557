//! Blobs that are somewhere else, and the somewhere else.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use refshim::body::{Body, BoxError};
use refshim::oci::{Digest, RepositoryName};

use super::answer::Asked;
use super::knobs::Redirect;
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

/// The foreign host: signed storage, and a page for everything else.
pub async fn elsewhere(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let (mut head, body) = request.into_parts();
    shared.change(|state| state.seen_elsewhere.push(seen(&head)));
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
    head.uri = format!("/v2/{name}/blobs/{digest}").parse()?;
    Ok(shared.registry.handle(Request::from_parts(head, body)).await)
}
