//! The first page: a field for an image's name, and the names of repositories where the registry tells them.

use bytes::Bytes;
use http::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::html::{html, offers_basic, see_other, with_status};
use super::typed::TypedReference;
use crate::http::body::Body;
use crate::http::link_header;
use crate::oci::{Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::registry::{Refusal, RegistryResponse};
use crate::render::Query;
use crate::ui::{Address, Home, HomeList, Site};

/// Names that are shown.
const NAMES: usize = 100;
/// Names of a page of the catalog that is searched, and how many of these pages.
const SEARCHED: usize = 1000;
const SEARCHED_PAGES: usize = 10;
/// Largest page of the catalog that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Vec<String>,
}

/// A page of the catalog.
struct CatalogPage {
    /// As the registry lists them.
    names: Vec<String>,
    /// Whether others follow.
    goes_on: bool,
}

pub(super) async fn show_home(context: &RequestContext<'_>, site: &Site<'_>) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let typed = query
        .first("repository")
        .map(str::trim)
        .filter(|typed| !typed.is_empty());
    let found = typed.and_then(|typed| TypedReference::parse(context, typed));
    if let Some(found) = &found {
        if let Some(name) = found.whole_name() {
            return Ok(redirect(found, &name));
        }
        if let Some(page) = search(context, site, found).await? {
            return Ok(page);
        }
        // Where there is no catalog, only the repository's own page can tell.
        if let Some(name) = found.valid_name() {
            return Ok(redirect(found, &name));
        }
    }
    let after = query.first("after");
    let catalog = ask(context, NAMES, after).await?;
    let repositories = match catalog.status {
        StatusCode::OK => first_names(&catalog, after),
        _ => HomeList::Unlisted,
    };
    let page = print(context, site, repositories, typed.filter(|_| found.is_none()));
    if catalog.status == StatusCode::UNAUTHORIZED {
        let response = context.failed(Refusal::from(catalog).into());
        if offers_basic(response.headers()) {
            return Ok(with_status(response.status(), response.headers(), page));
        }
    }
    Ok(html(page, &context.head))
}

fn print(context: &RequestContext<'_>, site: &Site<'_>, repositories: HomeList, mistyped: Option<&str>) -> String {
    let page = Home {
        site,
        registry: context.backend.upstream.url().authority(),
        repositories,
        mistyped,
    };
    page.print()
}

fn redirect(found: &TypedReference, name: &RepositoryName) -> Response<Body> {
    // As any `Location`, the pipeline turns an address of this upstream back to the caller's view.
    let address = Address {
        namespace: found.elsewhere.clone(),
        prefix: None,
    };
    see_other(&match &found.reference {
        Some(reference) => address.details(name, reference, &[]),
        None => address.tags(name, &[]),
    })
}

/// Looks for the typed name in the catalog. `None` where there is no catalog.
async fn search(
    context: &RequestContext<'_>,
    site: &Site<'_>,
    found: &TypedReference,
) -> Result<Option<Response<Body>>, ProxyError> {
    let mut names = Vec::new();
    let (mut searched, mut last, mut goes_on) = (0, None, true);
    for _ in 0..SEARCHED_PAGES {
        let answer = ask(context, SEARCHED, last.as_deref()).await?;
        if answer.status != StatusCode::OK {
            return Ok(None);
        }
        let page = CatalogPage::read(&answer);
        if page.names.contains(&found.name)
            && let Some(name) = found.valid_name()
        {
            return Ok(Some(redirect(found, &name)));
        }
        searched += page.names.len();
        let matching = page.names.iter().filter(|name| name.contains(&found.name));
        names.extend(matching.filter_map(|name| RepositoryName::parse(name).ok()));
        names.truncate(NAMES);
        goes_on = page.goes_on && page.names.last() != last.as_ref();
        last = page.names.last().cloned();
        if !goes_on || last.is_none() {
            break;
        }
    }
    let reference: Option<Reference> = found.reference.clone();
    if let ([only], false) = (names.as_slice(), goes_on) {
        return Ok(Some(redirect(found, only)));
    }
    let list = HomeList::Found {
        typed: found.name.clone(),
        names,
        reference,
        partial: goes_on.then_some(searched),
    };
    Ok(Some(html(print(context, site, list, None), &context.head)))
}

async fn ask(context: &RequestContext<'_>, number: usize, last: Option<&str>) -> Result<RegistryResponse, ProxyError> {
    let last = last.map(|last| format!("&last={}", utf8_percent_encode(last, NON_ALPHANUMERIC)));
    let path = format!("/v2/_catalog?n={number}{}", last.unwrap_or_default());
    Ok(context.backend.upstream.get(&path, &context.caller(), LIMIT).await?)
}

impl CatalogPage {
    fn read(answer: &RegistryResponse) -> Self {
        Self {
            names: names(&answer.body),
            goes_on: link_header::has_links(&answer.headers),
        }
    }
}

/// The first names after `after`; a registry that ignores the size of pages, or where they begin, lists more.
fn first_names(answer: &RegistryResponse, after: Option<&str>) -> HomeList {
    let page = CatalogPage::read(answer);
    let before = after.and_then(|after| page.names.iter().position(|name| name == after));
    let rest = page
        .names
        .get(before.map_or(0, |place| place + 1)..)
        .unwrap_or_default();
    let shown = &rest[..rest.len().min(NAMES)];
    let goes_on = page.goes_on || shown.len() < rest.len();
    HomeList::Catalog {
        next: shown.last().filter(|_| goes_on).cloned(),
        names: shown
            .iter()
            .filter_map(|name| RepositoryName::parse(name).ok())
            .collect(),
        continued: after.is_some(),
    }
}

fn names(catalog: &Bytes) -> Vec<String> {
    let listed = serde_json::from_slice::<Catalog>(catalog).map(|catalog| catalog.repositories);
    listed.unwrap_or_default()
}
