//! Pages, files and redirections as HTTP responses.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::http::body::Body;
use crate::proxy::respond::LocalResponse;

const HTML: &str = "text/html; charset=utf-8";

pub(super) fn file(content_type: &'static str, content: &'static str, request: &Parts) -> Response<Body> {
    LocalResponse::new(content_type, Bytes::from_static(content.as_bytes())).respond(request)
}

pub(super) fn html(page: String, request: &Parts) -> Response<Body> {
    LocalResponse::new(HTML, page.into()).respond(request)
}

pub(super) fn see_other(target: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Addresses are ASCII.
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// A page with the status of a failure, and of its headers those that say what to do.
pub(super) fn with_status(status: StatusCode, told: &HeaderMap, page: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(page)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
    for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
        for value in told.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    response
}

/// Whether a browser can answer one of the challenges.
pub(super) fn offers_basic(headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    let mut schemes = challenges.filter_map(|challenge| challenge.to_str().ok()?.split_whitespace().next());
    schemes.any(|scheme| scheme.eq_ignore_ascii_case("basic"))
}
