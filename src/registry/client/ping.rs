//! Whether a registry is there.

use http::header::{CONTENT_TYPE, HeaderName, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::Upstream;
use crate::oci::ErrorBody;
use crate::registry::answer::RegistryResponse;
use crate::registry::caller::Caller;
use crate::registry::classify::is_redirect;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::{ReadRequest, Redirects};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Of the answer that is read, in bytes.
const LIMIT: usize = 64 << 10;
/// Of a foreign header that is quoted, in bytes.
const QUOTED: usize = 200;

/// Why no registry answers.
#[derive(Debug, thiserror::Error)]
pub enum PingFailure {
    /// Nothing usable answers.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Something else answers.
    #[error("what answers there is no registry ({0}): check upstream.url")]
    NoRegistry(String),
}

impl Upstream {
    /// Asks for `/v2/`, which every registry answers, if with a refusal. One that limits requests is there.
    pub async fn ping(&self) -> Result<(), PingFailure> {
        let nobody = Caller::anonymous();
        let ask = ReadRequest {
            kind: RequestKind::Ping,
            method: Method::GET,
            uri: self.origin().uri("/v2/")?,
            accept: "application/json, */*;q=0.1",
            redirects: Redirects::Own,
            caller: &nobody,
        };
        match self.reader.ask(&ask, LIMIT).await {
            Ok(reply) => no_registry(&reply).map_or(Ok(()), |seen| Err(PingFailure::NoRegistry(seen))),
            Err(UpstreamError::Limited { status, .. }) if status == StatusCode::TOO_MANY_REQUESTS => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What an answer to `/v2/` is instead of a registry's, for people. `None` where it is one.
pub fn no_registry(reply: &RegistryResponse) -> Option<String> {
    (!is_of_registry(reply)).then(|| seen(reply))
}

/// What registries answer: the 200 of the specification, with their header, nothing or JSON in it; or a refusal, with their header, a
/// challenge or an error of theirs. A 404 is the specification's word for no such API.
fn is_of_registry(reply: &RegistryResponse) -> bool {
    let has = |name: &HeaderName| reply.headers.contains_key(name);
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok();
    match reply.status {
        StatusCode::OK => has(&API_VERSION) || reply.body.is_empty() || is_json(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            has(&API_VERSION) || has(&WWW_AUTHENTICATE) || ErrorBody::parse(&reply.body).is_some()
        }
        _ => false,
    }
}

/// What answered instead, for people.
fn seen(reply: &RegistryResponse) -> String {
    let mut seen = format!("HTTP {} for /v2/", reply.status.as_u16());
    if let Some(kind) = quoted(&reply.headers, &CONTENT_TYPE) {
        seen.push_str(&format!(", {kind}"));
    }
    if let Some(target) = quoted(&reply.headers, &LOCATION).filter(|_| is_redirect(reply.status)) {
        // A query may hold secrets.
        let target = target.split('?').next().unwrap_or_default();
        seen.push_str(&format!(", a redirect to {target}"));
    }
    seen
}

fn quoted<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let text = headers.get(name).map(HeaderValue::to_str)?.ok()?;
    Some(&text[..text.len().min(QUOTED)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> RegistryResponse {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        RegistryResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.into(),
        }
    }

    #[test]
    fn registries_are_known_by_what_they_answer() {
        let version = ("docker-distribution-api-version", "registry/2.0");
        let basic = ("www-authenticate", "Basic realm=\"x\"");
        let denied = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        for (status, headers, body) in [
            (200, &[version][..], ""),
            (200, &[], ""),
            (200, &[("content-type", "application/json")], "{}"),
            (200, &[], "true"),
            (401, &[basic], "<html>"),
            (401, &[version], ""),
            (401, &[], r#"{"errors":[{"code":"UNAUTHORIZED","message":"x"}]}"#),
            (403, &[], denied),
        ] {
            assert!(
                is_of_registry(&reply(status, headers, body)),
                "{status} {headers:?} {body}"
            );
        }
    }

    #[test]
    fn everything_else_is_said() {
        let html = ("content-type", "text/html");
        for (found, said) in [
            (reply(200, &[html], "<html>hello"), "HTTP 200 for /v2/, text/html"),
            (reply(404, &[html], "<html>not found"), "HTTP 404 for /v2/, text/html"),
            (reply(404, &[], r#"{"message":"no Route"}"#), "HTTP 404 for /v2/"),
            (
                reply(404, &[("docker-distribution-api-version", "registry/2.0")], ""),
                "HTTP 404 for /v2/",
            ),
            (reply(401, &[], ""), "HTTP 401 for /v2/"),
            (
                reply(301, &[("location", "https://a.example/v2/?token=secret")], ""),
                "HTTP 301 for /v2/, a redirect to https://a.example/v2/",
            ),
        ] {
            assert!(!is_of_registry(&found), "{found:?}");
            assert_eq!(seen(&found), said);
        }
    }
}
