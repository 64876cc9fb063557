//! Remembered manifests and blobs as answers: when one is given without asking the registry, how the registry is asked whether it is
//! still the same, and how it is given, with a warning, while the registry does not answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, ORIGIN,
    RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::headers;
use super::respond::LocalResponse;
use crate::http::body::Body;
use crate::metrics::{CacheUse, note_cache_use};
use crate::oci::{Digest, media_type};
use crate::referrers::{Known, ServedHeaders};
use crate::registry::RawManifest;

pub(super) type KnownManifest = Known<Arc<RawManifest>>;

const OCTETS: &str = "application/octet-stream";

/// A caller's request as it goes to the registry.
pub(super) struct Question {
    pub request: Parts,
    /// Whether it asks if what is known is the same still, which the caller did not ask.
    pub is_conditional: bool,
}

/// Whether `known` can be given without asking the registry.
pub(super) fn is_enough<T>(known: &Known<T>, request: &Parts) -> bool {
    known.is_current && known.headers.suit(request.headers.get(ORIGIN))
}

/// The request for content that may be remembered, asked under the condition that it is not what is `known`.
pub(super) fn conditional<T>(request: &Parts, known: Option<&Known<T>>) -> Question {
    let mut request = request.clone();
    let own = [
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        RANGE,
    ];
    let is_callers = |request: &Parts| own.iter().any(|name| request.headers.contains_key(name));
    let etag = known
        .and_then(|known| known.headers.etag())
        .filter(|_| !is_callers(&request));
    if let Some(etag) = etag {
        request.headers.insert(IF_NONE_MATCH, etag.clone());
    }
    Question {
        is_conditional: etag.is_some(),
        request,
    }
}

/// The same for a manifest, which must come as it is: compressed, neither its digest nor its links could be read.
pub(super) fn unencoded<T>(request: &Parts, known: Option<&Known<T>>) -> Question {
    let mut question = conditional(request, known);
    let identity = HeaderValue::from_static("identity");
    question.request.headers.insert(ACCEPT_ENCODING, identity);
    question
}

/// Whether the registry does not answer the question: it limits requests, or fails.
pub(super) fn is_outage(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

/// Whether a 404 is a registry's own, by its content type. An ingress that lost the registry answers 404 with an HTML page.
pub(super) fn states_absence(response: &Response<Body>) -> bool {
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| media_type::essence(text).eq_ignore_ascii_case("application/json"))
}

/// What the registry sent with content, to be sent again with it.
pub(super) fn sent_with_content(sent: &HeaderMap, request: &Parts) -> ServedHeaders {
    let along = headers::along_with_the_same_content(sent);
    ServedHeaders::new(&along, request.headers.get(ORIGIN))
}

pub(super) fn serve_manifest(known: &KnownManifest, request: &Parts) -> Response<Body> {
    note_cache_use(CacheUse::Fresh);
    manifest(known).sent_along(known.headers.as_map()).respond(request)
}

/// In place of a 304, whose headers say how things are now (RFC 9110, 15.4.5).
pub(super) fn serve_same_manifest(known: &KnownManifest, now: &HeaderMap, request: &Parts) -> Response<Body> {
    same(manifest(known), known, now).respond(request)
}

pub(super) fn serve_stale_manifest(known: &KnownManifest, request: &Parts) -> Response<Body> {
    warn_of_memory(request, known);
    manifest(known)
        .sent_along(known.headers.as_map())
        .stale(known.age)
        .respond(request)
}

fn manifest(known: &KnownManifest) -> LocalResponse {
    let raw = &known.content;
    LocalResponse::manifest(&raw.media_type, &raw.digest, raw.bytes.clone())
}

pub(super) fn serve_blob(known: &Known<Bytes>, digest: &Digest, request: &Parts) -> Response<Body> {
    note_cache_use(CacheUse::Fresh);
    blob(known, digest).sent_along(known.headers.as_map()).respond(request)
}

/// In place of a 304, whose headers say how things are now (RFC 9110, 15.4.5).
pub(super) fn serve_same_blob(
    known: &Known<Bytes>,
    digest: &Digest,
    now: &HeaderMap,
    request: &Parts,
) -> Response<Body> {
    same(blob(known, digest), known, now).respond(request)
}

pub(super) fn serve_stale_blob(known: &Known<Bytes>, digest: &Digest, request: &Parts) -> Response<Body> {
    warn_of_memory(request, known);
    blob(known, digest)
        .sent_along(known.headers.as_map())
        .stale(known.age)
        .respond(request)
}

fn blob(known: &Known<Bytes>, digest: &Digest) -> LocalResponse {
    let content_type = known.headers.as_map().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or(OCTETS);
    LocalResponse::manifest(content_type, digest, known.content.clone())
}

fn same<T>(answer: LocalResponse, known: &Known<T>, now: &HeaderMap) -> LocalResponse {
    note_cache_use(CacheUse::Confirmed);
    let now = headers::along_with_another_body(now);
    answer.sent_along(&now).sent_along(known.headers.as_map())
}

fn warn_of_memory<T>(request: &Parts, known: &Known<T>) {
    note_cache_use(CacheUse::Stale);
    tracing::warn!(path = request.uri.path(), age = ?known.age, "the registry does not answer; given from memory");
}
