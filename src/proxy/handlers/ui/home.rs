//! The first page: a field for a repository's name, and the first names where the registry tells them.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;

use super::html::{html, offers_basic, see_other, with_status};
use crate::http::body::Body;
use crate::oci::RepositoryName;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::ui_page::image;
use crate::registry::Refusal;
use crate::render::Query;
use crate::ui::{Address, Home};

/// Names that are shown.
const NAMES: usize = 100;
/// Largest page of the catalog that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Vec<String>,
}

pub(super) async fn show_home(context: &RequestContext<'_>, address: &Address) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let typed = query
        .first("repository")
        .map(str::trim)
        .filter(|typed| !typed.is_empty());
    if let Some((name, reference)) = typed.and_then(image) {
        // As any `Location`, the pipeline turns it back to the caller's view.
        let inner = Address::default();
        return Ok(see_other(&match reference {
            Some(reference) => inner.details(&name, &reference),
            None => inner.tags(&name, "", None),
        }));
    }
    let upstream = &context.backend.upstream;
    let catalog = format!("/v2/_catalog?n={NAMES}");
    let catalog = upstream.get(&catalog, &context.caller(), LIMIT).await?;
    let page = Home {
        address,
        registry: upstream.url().host_str().unwrap_or_default(),
        repositories: (catalog.status == StatusCode::OK).then(|| names(&catalog.body)),
        mistyped: typed,
    };
    let page = page.print();
    if catalog.status == StatusCode::UNAUTHORIZED {
        let told = context.failed(Refusal::from(catalog).into());
        if offers_basic(told.headers()) {
            return Ok(with_status(told.status(), told.headers(), page));
        }
    }
    Ok(html(page, &context.head))
}

fn names(catalog: &Bytes) -> Vec<RepositoryName> {
    let listed = serde_json::from_slice::<Catalog>(catalog).map(|catalog| catalog.repositories);
    let names = listed.unwrap_or_default();
    let names = names.iter().filter_map(|name| RepositoryName::parse(name).ok());
    names.take(NAMES).collect()
}
