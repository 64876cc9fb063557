//! What a registry's host answers besides the registry: pages of a web site, downloads.

use http::{Response, StatusCode};
use refshim::testing::http::body::Body;

use super::answer::Asked;
use super::reply::{html, plain};

pub fn answer(asked: &Asked<'_>) -> Option<Response<Body>> {
    // The target of Nexus' internal links.
    if asked.path.starts_with("/repository/") {
        return Some(html(StatusCode::BAD_REQUEST, "Not a docker request"));
    }
    if let Some(path) = asked.path.strip_prefix("/artifacts-downloads/") {
        return Some(download(asked, path).unwrap_or_else(|| html(StatusCode::NOT_FOUND, "No such download")));
    }
    let outside = !asked.path.starts_with("/v2/") && asked.path != "/v2";
    outside.then(|| html(StatusCode::TOO_MANY_REQUESTS, "Too many requests"))
}

/// The blob `<name>/<digest>`.
fn download(asked: &Asked<'_>, path: &str) -> Option<Response<Body>> {
    let (name, digest) = path.rsplit_once('/')?;
    let name = refshim::testing::oci::RepositoryName::parse(name).ok()?;
    let digest = refshim::testing::oci::Digest::parse(digest).ok()?;
    let blob = asked.shared.registry.store().blob(&name, &digest).cloned()?;
    Some(plain(StatusCode::OK, "application/octet-stream", blob))
}
