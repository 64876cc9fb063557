//! The catalog and the tags of a repository.

use http::header::LINK;
use http::{Response, StatusCode};
use serde_json::json;

use super::error::RegistryError;
use super::registry::DemoRequest;
use super::response::DemoResponse;
use crate::http::body::Body;
use crate::oci::RepositoryName;

/// The default of `n` (Distribution 2.8).
const CATALOG_PAGE: usize = 100;

/// The catalog, sorted, and paged by `n` and `last`.
pub fn catalog(asked: &DemoRequest<'_>) -> Response<Body> {
    let n = asked.query("n").and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    let n = n.unwrap_or(CATALOG_PAGE);
    let last = asked.query("last").unwrap_or_default();
    let store = asked.registry.store();
    let mut names = store.repositories().filter(|name| name.as_str() > last.as_str());
    let page: Vec<_> = names.by_ref().take(n).collect();
    let mut reply = DemoResponse::new(StatusCode::OK);
    if let (Some(_), Some(end)) = (names.next(), page.last()) {
        // A repository name needs no escaping in a query but for its slashes, which a query may hold.
        reply = reply.header(LINK, &format!("</v2/_catalog?last={end}&n={n}>; rel=\"next\""));
    }
    reply.json(&json!({ "repositories": page }))
}

/// All tags at once and unsorted, whatever `n` and `last` say; `null` if there are none.
pub fn tags(asked: &DemoRequest<'_>, name: &RepositoryName) -> Result<Response<Body>, RegistryError> {
    let tags = asked.registry.store().tags(name);
    let tags = tags.ok_or_else(|| RegistryError::name_unknown(name))?;
    let tags = Some(tags).filter(|tags| !tags.is_empty());
    Ok(DemoResponse::new(StatusCode::OK).json(&json!({"name": name, "tags": tags})))
}
