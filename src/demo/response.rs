//! Responses in the shapes of Distribution 2.8.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::error::RegistryError;
use crate::http::body::Body;
use crate::oci::Digest;

pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A response under construction. Invalid header values, which come from the request, are left out.
pub struct DemoResponse {
    response: Response<Body>,
}

impl DemoResponse {
    pub fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self { response }
    }

    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    pub fn digest(self, digest: &Digest) -> Self {
        self.header(DOCKER_CONTENT_DIGEST, digest.as_str())
    }

    pub fn etag(self, digest: &Digest) -> Self {
        self.header(ETAG, &format!("\"{digest}\""))
    }

    /// Completes the response with a body, whose length is stated even if the body is not sent (HEAD).
    pub fn bytes(self, bytes: Bytes) -> Response<Body> {
        let length = bytes.len().to_string();
        let mut response = self.header(CONTENT_LENGTH, &length).response;
        *response.body_mut() = bytes.into();
        response
    }

    pub fn empty(self) -> Response<Body> {
        self.bytes(Bytes::new())
    }

    /// Completes a response whose status has no content and no length (204, 304).
    pub fn without_content(self) -> Response<Body> {
        self.response
    }

    pub fn json(self, value: &Value) -> Response<Body> {
        self.header(CONTENT_TYPE, "application/json; charset=utf-8")
            .bytes(value.to_string().into())
    }
}

pub fn error(error: &RegistryError) -> Response<Body> {
    DemoResponse::new(error.status).json(&error.body())
}

/// The answer of Go's router to an unknown path.
pub fn page_not_found() -> Response<Body> {
    text(DemoResponse::new(StatusCode::NOT_FOUND), "404 page not found\n")
}

pub fn method_not_allowed(allow: &str) -> Response<Body> {
    let reply = DemoResponse::new(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, allow);
    text(reply, "Method not allowed\n")
}

fn text(reply: DemoResponse, text: &'static str) -> Response<Body> {
    reply
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(HeaderName::from_static("x-content-type-options"), "nosniff")
        .bytes(Bytes::from_static(text.as_bytes()))
}
