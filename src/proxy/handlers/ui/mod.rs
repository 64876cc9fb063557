//! Pages for people, below `/ui/`: what they show is asked of the upstream on the caller's behalf, as everything else is.

mod details;
mod home;
mod html;
mod tags;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::http::body::Body;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::without_body;
use crate::proxy::route::RouteError;
use crate::proxy::ui_page::UiPage;
use crate::ui::{self, Address, ErrorPage};
use html::{file, offers_basic, with_status};

const NOSNIFF: &str = "nosniff";
/// What was looked up for one caller must reach no other, and be asked for again the next time.
const PRIVATE: &str = "private, no-cache";

/// Answers with a page, whatever happens.
pub(in crate::proxy) async fn show_page(context: &RequestContext<'_>, page: UiPage) -> Response<Body> {
    let (head, address) = (&context.head, context.view.address());
    let answered = match page {
        UiPage::Home => home::show_home(context, &address).await,
        UiPage::Style => Ok(file("text/css; charset=utf-8", ui::STYLE, head)),
        UiPage::Icon => Ok(file("image/svg+xml", ui::ICON, head)),
        UiPage::Tags(repository) => tags::show_tags(context, &address, &repository).await,
        UiPage::Details(repository, reference) => {
            details::show_details(context, &address, &repository, &reference).await
        }
        UiPage::Manifest(repository, digest) => details::show_manifest(context, &repository, digest).await,
        UiPage::Unknown => Err(RouteError::NotFound.into()),
    };
    let mut response = answered.unwrap_or_else(|failure| error_page(context, &address, failure));
    protect(response.headers_mut());
    if head.method == Method::HEAD {
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

/// The failure's own status, and of its headers those that tell what to do, around a page.
fn error_page(context: &RequestContext<'_>, address: &Address, failure: ProxyError) -> Response<Body> {
    let message = failure.to_string();
    let told = context.failed(failure);
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
    let mut response = with_status(status, told.headers(), page.print());
    // Why it failed.
    *response.extensions_mut() = told.extensions().clone();
    response
}
