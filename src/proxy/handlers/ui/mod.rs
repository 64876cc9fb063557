//! Pages for people, below `/ui/`: what they show is asked of the upstream on the caller's behalf, as everything else is.

mod details;
mod home;
mod tags;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::http::body::Body;
use crate::oci::{Digest, Reference, RepositoryName};
use crate::proxy::backend::Backend;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::{LocalResponse, without_body};
use crate::proxy::upstream_view::UpstreamView;
use crate::ui::{self, Address, ErrorPage};

const HTML: &str = "text/html; charset=utf-8";
const NOSNIFF: &str = "nosniff";
/// What was looked up for one caller is no other's, and may be old the next time.
const PRIVATE: &str = "private, no-cache";
/// Questions to the upstream at once, for one page.
const AT_ONCE: usize = 8;

/// What a browser asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UiPage {
    Home,
    Style,
    Icon,
    /// A repository's tags.
    Tags(RepositoryName),
    Details(RepositoryName, Reference),
    /// A manifest's bytes.
    Manifest(RepositoryName, Digest),
    /// Below `/ui/`, but nothing.
    Unknown,
}

/// `None` for what is not below `/ui/`.
pub(in crate::proxy) fn route(path: &str) -> Option<UiPage> {
    let below = path.strip_prefix("/ui")?;
    if !below.is_empty() && !below.starts_with('/') {
        return None;
    }
    let found = match path {
        "/ui" | Address::HOME => Some(UiPage::Home),
        Address::STYLE => Some(UiPage::Style),
        Address::ICON => Some(UiPage::Icon),
        _ => repository_page(path),
    };
    Some(found.unwrap_or(UiPage::Unknown))
}

fn repository_page(path: &str) -> Option<UiPage> {
    if let Some(rest) = path.strip_prefix(Address::MANIFEST) {
        let (name, digest) = rest.split_once('@')?;
        return Some(UiPage::Manifest(
            RepositoryName::parse(name).ok()?,
            Digest::parse(digest).ok()?,
        ));
    }
    let (name, reference) = image(path.strip_prefix(Address::REPOSITORY)?)?;
    Some(match reference {
        Some(reference) => UiPage::Details(name, reference),
        None => UiPage::Tags(name),
    })
}

/// `name`, `name:tag`, `name@digest` or `name:tag@digest`, where the digest decides.
fn image(text: &str) -> Option<(RepositoryName, Option<Reference>)> {
    let (before, digest) = match text.split_once('@') {
        Some((before, digest)) => (before, Some(Digest::parse(digest).ok()?)),
        None => (text, None),
    };
    let (name, tag) = match before.split_once(':') {
        Some((name, tag)) => (name, Some(crate::oci::Tag::parse(tag).ok()?)),
        None => (before, None),
    };
    let reference = digest.map(Reference::Digest).or(tag.map(Reference::Tag));
    Some((RepositoryName::parse(name).ok()?, reference))
}

/// Answers with a page, whatever happens.
pub(in crate::proxy) async fn show_page(backend: &Backend, request: &Parts, page: UiPage) -> Response<Body> {
    let address = request
        .extensions
        .get::<UpstreamView>()
        .map(UpstreamView::address)
        .unwrap_or_default();
    let answered = match page {
        UiPage::Home => home::show_home(backend, request, &address).await,
        UiPage::Style => Ok(file("text/css; charset=utf-8", ui::STYLE, request)),
        UiPage::Icon => Ok(file("image/svg+xml", ui::ICON, request)),
        UiPage::Tags(repository) => tags::show_tags(backend, request, &address, &repository).await,
        UiPage::Details(repository, reference) => {
            details::show_details(backend, request, &address, &repository, &reference).await
        }
        UiPage::Manifest(repository, digest) => details::manifest(backend, request, &repository, digest).await,
        UiPage::Unknown => Err(crate::proxy::route::RouteError::NotFound.into()),
    };
    let mut response = answered.unwrap_or_else(|failure| error_page(backend, request, &address, failure));
    protect(response.headers_mut());
    if request.method == Method::HEAD {
        response = without_body(response);
    }
    response
}

/// Keeps what a registry serves from acting as a page of this origin, at which people are logged in.
pub(in crate::proxy) fn confine(headers: &mut HeaderMap) {
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static(NOSNIFF));
}

fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, ui::CONTENT_SECURITY_POLICY),
        (X_CONTENT_TYPE_OPTIONS, NOSNIFF),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (CACHE_CONTROL, PRIVATE),
        (VARY, "authorization"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn file(content_type: &'static str, content: &'static str, request: &Parts) -> Response<Body> {
    LocalResponse::new(content_type, Bytes::from_static(content.as_bytes())).respond(request)
}

fn html(page: String, request: &Parts) -> Response<Body> {
    LocalResponse::new(HTML, page.into()).respond(request)
}

fn see_other(target: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Addresses are ASCII.
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// The failure's own status, and of its headers those that tell what to do, around a page.
fn error_page(backend: &Backend, request: &Parts, address: &Address, failure: ProxyError) -> Response<Body> {
    let message = failure.to_string();
    let told = backend.fail(failure, request);
    let status = told.status();
    let title = match status {
        StatusCode::UNAUTHORIZED => "Log in to see this",
        StatusCode::FORBIDDEN => "You may not see this",
        StatusCode::NOT_FOUND => "Not found",
        _ => "This cannot be shown now",
    };
    let advice = match status {
        StatusCode::UNAUTHORIZED if !offers_basic(told.headers()) => Some(
            "This registry wants a token, which browsers cannot fetch. Give refshim credentials of its own, or ask on the command line: \
             refshim tree, with the credentials of docker login.",
        ),
        StatusCode::UNAUTHORIZED => Some("Reload the page to be asked for the user and the password of this registry."),
        _ => None,
    };
    let page = ErrorPage {
        address,
        title,
        message: &message,
        advice,
    };
    with_status(status, told.headers(), page.print())
}

fn with_status(status: StatusCode, told: &HeaderMap, page: String) -> Response<Body> {
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
fn offers_basic(headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    let mut schemes = challenges.filter_map(|challenge| challenge.to_str().ok()?.split_whitespace().next());
    schemes.any(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_pages() {
        let name = || RepositoryName::parse("o/app").unwrap();
        let digest = Digest::sha256(b"x");
        let by_digest = || Reference::Digest(digest.clone());
        for (path, page) in [
            ("/ui", UiPage::Home),
            ("/ui/", UiPage::Home),
            ("/ui/style.css", UiPage::Style),
            ("/ui/r/o/app", UiPage::Tags(name())),
            (
                "/ui/r/o/app:v1",
                UiPage::Details(name(), Reference::parse("v1").unwrap()),
            ),
            (&format!("/ui/r/o/app@{digest}"), UiPage::Details(name(), by_digest())),
            (
                &format!("/ui/r/o/app:v1@{digest}"),
                UiPage::Details(name(), by_digest()),
            ),
            (
                &format!("/ui/m/o/app@{digest}"),
                UiPage::Manifest(name(), digest.clone()),
            ),
            ("/ui/m/o/app:v1", UiPage::Unknown),
            ("/ui/r/../x", UiPage::Unknown),
            ("/ui/r/", UiPage::Unknown),
            ("/ui/x", UiPage::Unknown),
        ] {
            assert_eq!(route(path), Some(page), "{path}");
        }
        assert_eq!((route("/v2/"), route("/uix"), route("/")), (None, None, None));
    }
}
