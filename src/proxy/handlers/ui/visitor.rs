//! On whose rights a page is made: the browser's own `Authorization`, the account that is logged in by a page, or anybody's.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::auth::Authorization;
use crate::oci::{Code, OciError};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::ui_page::UiPage;
use crate::proxy::ui_sessions::UiSession;
use crate::ui::Account;

/// A request as the upstream may be asked for it, and who is told to look.
pub(super) struct Visitor<'a> {
    pub context: RequestContext<'a>,
    pub account: Account,
    /// Why nothing can be asked on the rights of who is logged in.
    pub problem: Option<ProxyError>,
}

/// Finds out who looks at `page`.
pub(super) async fn identify<'a>(context: &'a RequestContext<'_>, page: &UiPage) -> Visitor<'a> {
    let headers = &context.head.headers;
    let brings_its_own = context.backend.upstream.has_own_credentials() || headers.contains_key(AUTHORIZATION);
    if matches!(page, UiPage::Style | UiPage::Icon) || brings_its_own {
        return visitor(context, None, Account::Fixed);
    }
    let sessions = &context.backend.sessions;
    if let Some(session) = sessions.find(headers) {
        return logged_in(context, page, &session).await;
    }
    let header = match page.is_form() {
        true => None,
        false => anybodys(context, page).await,
    };
    let account = match sessions.anybody().is_needless() {
        true => Account::Fixed,
        false => Account::LoggedOut { here: here(context) },
    };
    visitor(context, header, account)
}

/// What the registry tells nobody in particular is never shown to somebody who is logged in: it may hide from nobody what they may see.
async fn logged_in<'a>(context: &'a RequestContext<'_>, page: &UiPage, session: &UiSession) -> Visitor<'a> {
    let account = Account::LoggedIn {
        user: session.user.clone(),
    };
    if page.is_form() {
        return visitor(context, None, account);
    }
    let authorized = context
        .backend
        .upstream
        .authorize(&session.login, page.repository())
        .await;
    let problem = match authorized {
        Ok(Authorization::Header(header)) => return visitor(context, Some(header), account),
        Ok(Authorization::Unneeded) => return visitor(context, None, account),
        // Many registries give nobody a token for their catalog.
        Ok(Authorization::Refused(_)) if page.repository().is_none() => return visitor(context, None, account),
        Ok(Authorization::Refused(refusal)) => {
            OciError::new(StatusCode::FORBIDDEN, Code::Denied, refusal.to_string()).into()
        }
        Err(error) => error.into(),
    };
    Visitor {
        problem: Some(problem),
        ..visitor(context, None, account)
    }
}

/// What registries with tokens give anybody. If there is none, the registry's answer to the page's own requests tells why.
async fn anybodys(context: &RequestContext<'_>, page: &UiPage) -> Option<HeaderValue> {
    let (upstream, sessions) = (&context.backend.upstream, &context.backend.sessions);
    match upstream.authorize(sessions.anybody(), page.repository()).await {
        Ok(Authorization::Header(header)) => Some(header),
        Ok(Authorization::Unneeded | Authorization::Refused(_)) => None,
        Err(error) => {
            tracing::debug!(upstream = upstream.name(), %error, "no token for anybody");
            None
        }
    }
}

fn visitor<'a>(context: &'a RequestContext<'_>, authorization: Option<HeaderValue>, account: Account) -> Visitor<'a> {
    let mut head = context.head.clone();
    // Sessions are refshim's own affair.
    head.headers.remove(COOKIE);
    if let Some(authorization) = authorization {
        head.headers.insert(AUTHORIZATION, authorization);
    }
    Visitor {
        context: context.with_head(head),
        account,
        problem: None,
    }
}

/// The page that is asked for, without what selects the upstream.
fn here(context: &RequestContext<'_>) -> String {
    let target = context.head.uri.path_and_query();
    target.map_or_else(String::new, ToString::to_string)
}

/// Whether the page that sent a form is refshim's own, as far as browsers tell: no other site may log anybody in or out.
pub(super) fn is_own_form(context: &RequestContext<'_>) -> bool {
    let headers = &context.head.headers;
    if let Some(site) = text(headers, "sec-fetch-site") {
        return site == "same-origin";
    }
    let own = context.origin();
    match (
        text(headers, "origin").and_then(authority),
        own.as_deref().and_then(authority),
    ) {
        // Not the scheme, which an ingress may have taken off.
        (Some(theirs), Some(own)) => theirs.eq_ignore_ascii_case(own),
        _ => false,
    }
}

/// Whether browsers reach refshim by TLS, as far as refshim can tell.
pub(super) fn is_secure(context: &RequestContext<'_>) -> bool {
    context.origin().is_some_and(|origin| origin.starts_with("https://"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn authority(origin: &str) -> Option<&str> {
    origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
}
