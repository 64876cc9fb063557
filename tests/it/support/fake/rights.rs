//! What callers may not do, and how often they may do the rest.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Response, StatusCode};
use refshim::testing::http::body::Body;

use super::answer::Asked;
use super::reply::refused;

/// The answer to a caller who lacks the right.
pub fn refuse(asked: &Asked<'_>) -> Option<Response<Body>> {
    let rights = &asked.knobs.rights;
    let authorization = asked
        .head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if !asked.is_read() || rights.insider.is_some() && authorization == rights.insider {
        return None;
    }
    let is_listing = asked.path.ends_with("/tags/list");
    let is_read = ["manifests", "blobs", "referrers"]
        .iter()
        .any(|word| asked.part(word).is_some());
    if rights.hidden && (is_listing || is_read) {
        return Some(refused(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "repository name not known to registry",
        ));
    }
    let status = match (is_listing, is_read) {
        (true, _) => rights.listing?,
        (_, true) => rights.pulling?,
        _ => return None,
    };
    let code = if status == 401 { "UNAUTHORIZED" } else { "DENIED" };
    let status = StatusCode::from_u16(status).expect("a status");
    Some(refused(status, code, "requested access to the resource is denied"))
}

/// Counts a pull, where this registry does, and says so.
pub fn count(asked: &Asked<'_>, response: Response<Body>) -> Response<Body> {
    let Some(limit) = asked
        .knobs
        .pull_limit
        .filter(|_| asked.part("manifests").is_some() && asked.is_read())
    else {
        return response;
    };
    let pulls = asked.shared.change(|state| {
        state.pulls += usize::from(asked.head.method == Method::GET);
        state.pulls
    });
    let mut response = match pulls > limit && asked.head.method == Method::GET {
        true => refused(
            StatusCode::TOO_MANY_REQUESTS,
            "TOOMANYREQUESTS",
            "You have reached your pull rate limit.",
        ),
        false => response,
    };
    for (name, value) in [
        ("ratelimit-limit", limit),
        ("ratelimit-remaining", limit.saturating_sub(pulls)),
    ] {
        let value = HeaderValue::from_str(&format!("{value};w=21600")).expect("a number fits a header");
        response.headers_mut().insert(name, value);
    }
    response
}
