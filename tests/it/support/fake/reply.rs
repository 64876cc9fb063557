//! Answers that the fakes make up.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Response, StatusCode};
use refshim::testing::demo::RegistryError;
use refshim::testing::http::body::Body;
use serde_json::Value;

pub fn plain(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, media_type);
    response.body(Body::from(body.into())).expect("a well-formed response")
}

pub fn html(status: StatusCode, title: &str) -> Response<Body> {
    let page = format!("<!DOCTYPE html><html><title>{title}</title></html>");
    plain(status, "text/html; charset=utf-8", page)
}

pub fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let response = Response::builder().status(status).header(LOCATION, location);
    response.body(Body::empty()).expect("a well-formed response")
}

/// An OCI error body.
pub fn refused(status: StatusCode, code: &'static str, message: impl Into<String>) -> Response<Body> {
    let error = RegistryError::new(status, code, message, Value::Null);
    plain(status, "application/json", error.body().to_string())
}
