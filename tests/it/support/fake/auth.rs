//! Who may ask: GHCR's tokens, ECR's twelve hours.

use base64::Engine as _;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use refshim::testing::http::body::Body;

use super::answer::Asked;
use super::knobs::{Auth, Bearer};
use super::reply::{plain, refused};

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

/// The answer to somebody who may not ask this; also the token endpoint's.
pub fn refuse(asked: &Asked<'_>) -> Option<Response<Body>> {
    match &asked.knobs.auth {
        Auth::None => None,
        Auth::Bearer(bearer) if asked.path == "/token" => Some(give_token(asked, bearer)),
        Auth::Bearer(bearer) => refuse_without_token(asked, bearer),
        Auth::Aws { password, expired } => refuse_without_password(asked, password, *expired),
    }
}

/// The token for a scope. It says what it is for, which is all that a fake needs to check it.
pub fn token(scope: &str) -> String {
    BASE64.encode(scope)
}

fn basic_password(asked: &Asked<'_>) -> Option<String> {
    let value = asked.head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let pair = BASE64.decode(value.strip_prefix("Basic ")?).ok()?;
    let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(password.to_owned())
}

fn give_token(asked: &Asked<'_>, bearer: &Bearer) -> Response<Body> {
    if bearer.password.is_some() && basic_password(asked) != bearer.password {
        return refused(StatusCode::FORBIDDEN, "DENIED", "denied");
    }
    let token = token(&asked.query("scope").unwrap_or_default());
    let body = serde_json::json!({ "token": token }).to_string();
    plain(StatusCode::OK, "application/json", body)
}

fn refuse_without_token(asked: &Asked<'_>, bearer: &Bearer) -> Option<Response<Body>> {
    // Web pages, downloads and storage are open to everybody.
    let rest = asked.path.strip_prefix("/v2/")?;
    let words = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
    let name = words
        .iter()
        .find_map(|word| rest.split_once(word))
        .map(|(name, _)| name);
    let actions = if asked.is_read() { "pull" } else { "pull,push" };
    let scope = name.map(|name| format!("repository:{name}:{actions}"));
    let authorization = asked
        .head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match authorization {
        // No challenge: the wrong scheme is final.
        Some(value) if value.starts_with("Basic ") => return Some(refused(StatusCode::FORBIDDEN, "DENIED", "denied")),
        Some(value) if grants(value, scope.as_deref()) => return None,
        _ => {}
    }
    let scope = scope.map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"{}\"{scope}",
        asked.origin(),
        bearer.service
    );
    Some(challenged(&challenge))
}

/// Whether a token's own scope covers what is asked: the same repository, and the action among its own.
fn grants(authorization: &str, scope: Option<&str>) -> bool {
    let token = authorization
        .strip_prefix("Bearer ")
        .and_then(|t| BASE64.decode(t).ok());
    let Some(granted) = token.and_then(|token| String::from_utf8(token).ok()) else {
        return false;
    };
    scope.is_none_or(|scope| granted == scope || granted.strip_suffix(",push") == Some(scope))
}

fn refuse_without_password(asked: &Asked<'_>, password: &str, expired: bool) -> Option<Response<Body>> {
    match basic_password(asked) {
        Some(given) if given == password && expired => {
            let message = "Your authorization token has expired. Reauthenticate and try again.";
            Some(refused(StatusCode::FORBIDDEN, "DENIED", message))
        }
        Some(given) if given == password => None,
        _ => Some(challenged(&format!(
            "Basic realm=\"{}/\",service=\"ecr.amazonaws.com\"",
            asked.origin()
        ))),
    }
}

fn challenged(challenge: &str) -> Response<Body> {
    let mut response = refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    let challenge = HeaderValue::from_str(challenge).expect("a challenge fits a header");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

impl super::Fake {
    /// What a client that fetched a token sends to read `repository` (or to push, with `pull,push`).
    pub fn bearer(repository: &str, actions: &str) -> String {
        format!("Bearer {}", token(&format!("repository:{repository}:{actions}")))
    }
}
