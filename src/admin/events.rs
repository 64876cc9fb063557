//! `POST /events`: registries and pipelines report writes that bypassed refshim, so that lists show them at once.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;

use super::notifications::Notifications;
use super::reported_links::ReportedLinks;
use crate::http::body::Body;
use crate::oci::Digest;
use crate::referrers::Resolver;

const JSON: &str = "application/json";
const MAX_BODY: usize = 1 << 20;
/// For a whole body. Bodies are small: a client that needs longer only holds a connection.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Repositories of which something is forgotten at once.
const PARALLEL: usize = 16;

pub(super) struct Events {
    /// Of all upstreams: senders name their registry in different ways, so each event goes to every resolver. One of another
    /// registry only asks again about a repository that it probably does not know.
    resolvers: Vec<Resolver>,
    /// SHA-256 of the bearer token: how long a comparison of digests takes says nothing about how much of a guess was right.
    token: Option<Digest>,
    links: ReportedLinks,
}

/// A refusal: status and reason.
type RefusedEvent = (StatusCode, String);

impl Events {
    pub fn new(resolvers: Vec<Resolver>, token: Option<&str>, links: ReportedLinks) -> Self {
        Self {
            resolvers,
            links,
            token: token.map(|token| Digest::sha256(token.as_bytes())),
        }
    }

    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut response = match self.take(request).await {
            Ok(taken) => super::respond(StatusCode::OK, JSON, taken.to_string()),
            Err((status, reason)) => super::respond(status, JSON, json!({"error": reason}).to_string()),
        };
        if let Some((name, value)) = header_of(response.status()) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn take(&self, request: Request<Body>) -> Result<serde_json::Value, RefusedEvent> {
        if request.method() != Method::POST {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "only POST is answered here".to_owned()));
        }
        if !self.may_post(request.headers()) {
            let reason = "the bearer token of admin.events_token_file is needed";
            return Err((StatusCode::UNAUTHORIZED, reason.to_owned()));
        }
        let body = read(request.into_body()).await?;
        let notifications = Notifications::read(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        let (repositories, ignored) = (notifications.written.len(), notifications.ignored);
        self.apply(notifications).await;
        tracing::debug!(repositories, ignored, "events accepted");
        Ok(json!({"repositories": repositories, "ignored": ignored}))
    }

    async fn apply(&self, notifications: Notifications) {
        let mut told = Vec::new();
        for (repository, touched) in notifications.written {
            for resolver in &self.resolvers {
                let (repository, touched) = (repository.clone(), touched.clone());
                told.push(async move { resolver.notified(&repository, touched.as_deref()).await });
            }
        }
        self.links.add(notifications.pushed);
        stream::iter(told).buffer_unordered(PARALLEL).collect::<()>().await;
    }

    fn may_post(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer") && Digest::sha256(given.trim().as_bytes()) == *token
        })
    }
}

/// The header that belongs to a status.
fn header_of(status: StatusCode) -> Option<(http::HeaderName, &'static str)> {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "POST")),
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer realm=\"events\"")),
        _ => None,
    }
}

async fn read(body: Body) -> Result<bytes::Bytes, RefusedEvent> {
    let late = |_| {
        (
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long to arrive".to_owned(),
        )
    };
    let read = tokio::time::timeout(READ_WITHIN, body.read(MAX_BODY))
        .await
        .map_err(late)?;
    let broken = |error| {
        let reason = format!("the body did not arrive whole: {error}");
        (StatusCode::BAD_REQUEST, reason)
    };
    let too_large = || {
        let reason = format!("the body is larger than {MAX_BODY} bytes");
        (StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    read.map_err(broken)?.ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn post(token: Option<&str>, authorization: Option<&str>, body: &str) -> StatusCode {
        let mut request = Request::post("/events");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Body::from(bytes::Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        Events::new(Vec::new(), token, ReportedLinks::start(Vec::new()))
            .answer(request)
            .await
            .status()
    }

    #[tokio::test]
    async fn only_who_knows_the_token_may_post() {
        let body = r#"{"repository": "a/b"}"#;
        assert_eq!(post(None, None, body).await, StatusCode::OK);
        let token = Some("s3cret");
        assert_eq!(post(token, Some("Bearer s3cret"), body).await, StatusCode::OK);
        assert_eq!(post(token, Some("bearer s3cret"), body).await, StatusCode::OK);
        for wrong in [
            None,
            Some("Bearer s3cre"),
            Some("Bearer "),
            Some("Basic s3cret"),
            Some("s3cret"),
        ] {
            assert_eq!(post(token, wrong, body).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_or_too_much_is_refused() {
        assert_eq!(post(None, None, "{").await, StatusCode::BAD_REQUEST);
        let much = "x".repeat(MAX_BODY + 1);
        assert_eq!(post(None, None, &much).await, StatusCode::PAYLOAD_TOO_LARGE);
        let get = Request::get("/events").body(Body::empty()).unwrap();
        let refused = Events::new(Vec::new(), None, ReportedLinks::start(Vec::new()))
            .answer(get)
            .await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "POST");
    }
}
