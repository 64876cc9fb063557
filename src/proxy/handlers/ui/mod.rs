//! Pages for people, below `/ui/`: what they show is asked of the upstream on the caller's behalf, as everything else is.

mod artifact;
mod content;
mod details;
mod home;
mod html;
mod login;
mod tags;
mod typed;
mod visitor;
mod walk;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::http::body::Body;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::without_body;
use crate::proxy::route::RouteError;
use crate::proxy::ui_page::UiPage;
use crate::ui::{self, Account, ErrorPage, RegistryLink, Site};
use html::{file, offers_basic, with_status};
use visitor::{Visitor, identify};

const NOSNIFF: &str = "nosniff";
/// What was looked up for one caller must reach no other, and be asked for again the next time.
const PRIVATE: &str = "private, no-cache";
/// For what the registry serves: it acts as no page.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// Answers with a page, whatever happens.
pub(in crate::proxy) async fn show_page(context: &RequestContext<'_>, page: UiPage, body: Body) -> Response<Body> {
    let Visitor {
        context: asking,
        account,
        problem,
    } = identify(context, &page).await;
    let registries = &context.backend.shared.registries;
    let registries: Vec<RegistryLink> = registries.iter().map(|registry| registry.link.clone()).collect();
    let site = Site {
        address: &context.view.address(),
        account,
        registries: &registries,
    };
    let is_content = matches!(page, UiPage::Manifest(..) | UiPage::Blob(..));
    let answered = match problem {
        Some(problem) => Err(problem),
        None if page.is_form() => match page {
            UiPage::Logout => login::show_logout(context, &site).await,
            _ => login::show_login(context, &site, body).await,
        },
        None => show(&asking, &site, page).await,
    };
    let is_content = is_content && answered.is_ok();
    let mut response = answered.unwrap_or_else(|failure| error_page(&asking, &site, failure));
    protect(response.headers_mut(), is_content);
    if context.head.method == Method::HEAD {
        response = without_body(response);
    }
    response
}

async fn show(context: &RequestContext<'_>, site: &Site<'_>, page: UiPage) -> Result<Response<Body>, ProxyError> {
    match page {
        UiPage::Home => home::show_home(context, site).await,
        UiPage::Style => Ok(file("text/css; charset=utf-8", ui::STYLE, &context.head)),
        UiPage::Icon => Ok(file("image/svg+xml", ui::ICON, &context.head)),
        UiPage::Tags(repository) => tags::show_tags(context, site, &repository).await,
        UiPage::Details(repository, reference) => details::show_details(context, site, &repository, &reference).await,
        UiPage::Manifest(repository, digest) => content::show_manifest(context, &repository, digest).await,
        UiPage::Blob(repository, digest) => content::show_blob(context, &repository, &digest).await,
        UiPage::Login | UiPage::Logout | UiPage::Unknown => Err(RouteError::NotFound.into()),
    }
}

/// Keeps what a registry serves from acting as a page of this origin, at which people are logged in.
pub(in crate::proxy) fn confine(headers: &mut HeaderMap) {
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(SANDBOX);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static(NOSNIFF));
}

fn protect(headers: &mut HeaderMap, is_content: bool) {
    let policy = HeaderValue::try_from(ui::CONTENT_SECURITY_POLICY.as_str());
    let policy = policy.ok().filter(|_| !is_content).unwrap_or(SANDBOX);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, NOSNIFF),
        // Without any, browsers would not say which site a form comes from.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (CACHE_CONTROL, PRIVATE),
        (VARY, "authorization, cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The failure's own status, and of its headers those that tell what to do, around a page.
fn error_page(context: &RequestContext<'_>, site: &Site<'_>, failure: ProxyError) -> Response<Body> {
    let message = failure.to_string();
    let response = context.failed(failure);
    let status = response.status();
    let title = match status {
        StatusCode::UNAUTHORIZED => "Log in to see this",
        StatusCode::FORBIDDEN => "You may not see this",
        StatusCode::NOT_FOUND => "Not found",
        _ => "This cannot be shown now",
    };
    let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let advice = match &site.account {
        Account::LoggedOut { .. } if is_refusal || status == StatusCode::NOT_FOUND => {
            Some("Some registries show private repositories only to those who are logged in.")
        }
        Account::LoggedIn { .. } if is_refusal => {
            Some("If the token has ended or was replaced, log out and log in again.")
        }
        Account::Fixed if status == StatusCode::UNAUTHORIZED && offers_basic(response.headers()) => {
            Some("Reload the page to be asked for the user and the password of this registry.")
        }
        _ => None,
    };
    let page = ErrorPage {
        site,
        title,
        message: &message,
        advice,
    };
    let mut page = with_status(status, response.headers(), page.print());
    // Why it failed.
    *page.extensions_mut() = response.extensions().clone();
    page
}
