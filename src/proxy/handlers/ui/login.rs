//! Logging in and out. A password goes from the form to this registry and its token endpoint; pages are then made on what they give for it.

use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::form_urlencoded;

use super::html::{html, see_other, with_status};
use super::visitor::{is_own_form, is_secure};
use crate::http::body::Body;
use crate::oci::media_type::essence;
use crate::oci::{Code, OciError};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::ui_page::UiPage;
use crate::proxy::ui_sessions::UiSession;
use crate::registry::UpstreamError;
use crate::render::Query;
use crate::ui::{LoginForm, LogoutForm, Site};

/// Largest form, in bytes.
const MAX_FORM: usize = 32 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";
/// Hosts that are this machine.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

pub(super) async fn show_login(
    context: &RequestContext<'_>,
    site: &Site<'_>,
    body: Body,
) -> Result<Response<Body>, ProxyError> {
    if context.backend.upstream.has_own_credentials() {
        let message = "nobody logs in here: refshim asks this registry with credentials of its own";
        return Err(OciError::not_found(Code::Unsupported, message).into());
    }
    let query = Query::parse(context.head.uri.query());
    let target = query.first("to").and_then(page_of).unwrap_or_default();
    let problem = match context.head.method {
        Method::POST => match log_in(context, body).await? {
            Ok(cookie) => return Ok(logged_in(site, target, &cookie)),
            Err(problem) => Some(problem),
        },
        _ => None,
    };
    let form = LoginForm {
        site,
        registry: context.backend.upstream.url().authority(),
        target,
        problem,
        in_clear: !is_secure(context) && !is_loopback(context),
    };
    Ok(match problem {
        // Not 401: a browser that sees no challenge shows the page either way, and this one is the answer to a form.
        Some(_) => with_status(StatusCode::FORBIDDEN, &HeaderMap::new(), form.print()),
        None => html(form.print(), &context.head),
    })
}

pub(super) async fn show_logout(context: &RequestContext<'_>, site: &Site<'_>) -> Result<Response<Body>, ProxyError> {
    if context.head.method != Method::POST {
        return Ok(html(LogoutForm { site }.print(), &context.head));
    }
    if !is_own_form(context) {
        return Err(foreign_form());
    }
    let cookie = context.backend.sessions.end(&context.head.headers, is_secure(context));
    let mut response = see_other(&site.address.home(&[]));
    set(&mut response, &cookie);
    Ok(response)
}

/// The cookie of a new session, or why there is none.
async fn log_in(context: &RequestContext<'_>, body: Body) -> Result<Result<String, &'static str>, ProxyError> {
    if !is_own_form(context) {
        return Err(foreign_form());
    }
    let Some((user, password)) = credentials(context, body).await? else {
        return Ok(Err("Type a user name without a colon, and a password or token."));
    };
    let (upstream, sessions) = (&context.backend.upstream, &context.backend.sessions);
    let Some(_attempt) = sessions.attempt() else {
        return Err(ProxyError::busy(
            "too many logins are tried at once; try again in a moment",
        ));
    };
    let login = upstream.caller_login(Some((user.clone(), password)));
    if !upstream.accepts(&login).await? {
        return Ok(Err(
            "The registry does not accept this user with this password or token.",
        ));
    }
    if login.is_needless() {
        return Ok(Err("This registry asks nobody to log in."));
    }
    Ok(Ok(sessions.begin(UiSession { user, login }, is_secure(context))))
}

/// What was typed; `None` if it cannot be a user and a password.
async fn credentials(context: &RequestContext<'_>, body: Body) -> Result<Option<(String, String)>, ProxyError> {
    let media_type = context
        .head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if media_type.map(essence) != Some(FORM) {
        return Ok(None);
    }
    let read = body.read(MAX_FORM).await;
    let Some(form) = read.map_err(|error| UpstreamError::CallersBody(error.to_string()))? else {
        return Ok(None);
    };
    let (mut user, mut password) = (String::new(), String::new());
    for (name, value) in form_urlencoded::parse(&form) {
        match &*name {
            "user" => user = value.trim().to_owned(),
            // Tokens are copied with the end of their line.
            "password" => password = value.trim().to_owned(),
            _ => {}
        }
    }
    let is_user = !user.is_empty() && !user.contains(|c: char| c == ':' || c.is_control());
    let is_password = !password.is_empty() && !password.contains(char::is_control);
    Ok((is_user && is_password).then_some((user, password)))
}

fn logged_in(site: &Site<'_>, target: &str, cookie: &str) -> Response<Body> {
    let mut response = match target.is_empty() {
        true => see_other(&site.address.home(&[])),
        // As any `Location`, the pipeline turns it back to the caller's view.
        false => see_other(target),
    };
    set(&mut response, cookie);
    response
}

fn set(response: &mut Response<Body>, cookie: &str) {
    // Made of hexadecimal digits and literals.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

fn foreign_form() -> ProxyError {
    let message = "this form was not sent by a page of refshim's; open the page again and try it there";
    OciError::new(StatusCode::FORBIDDEN, Code::Denied, message).into()
}

/// A target within these pages to which a login may lead; no other host can be named by a path that begins so.
fn page_of(target: &str) -> Option<&str> {
    let parsed: PathAndQuery = target.parse().ok()?;
    let page = UiPage::route(parsed.path())?;
    matches!(page, UiPage::Tags(_) | UiPage::Details(..)).then_some(target)
}

fn is_loopback(context: &RequestContext<'_>) -> bool {
    let origin = context.origin().unwrap_or_default();
    let host = origin.trim_start_matches("http://");
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    LOOPBACK.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_a_repository_only() {
        for target in ["/ui/r/o/app", "/ui/r/o/app:v1?kind=SBOM"] {
            assert_eq!(page_of(target), Some(target));
        }
        for elsewhere in [
            "https://evil.example/ui/r/o/app",
            "//evil.example/ui/r/o/app",
            "/ui/r/../../v2/",
            "/v2/o/app/blobs/x",
            "/ui/logout",
            "javascript:alert(1)",
            "",
        ] {
            assert_eq!(page_of(elsewhere), None, "{elsewhere}");
        }
    }
}
