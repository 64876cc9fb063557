//! Blobs and uploads: passed through, and mended where an old registry's answer breaks clients that keep to the spec.
//!
//! - A chunk out of order is answered 416 (distribution-spec, "Pushing a blob in chunks"); Distribution takes it.
//! - A 416 has a body of the length that it states; Distribution's states the blob's and breaks the connection.
//! - A mount that left nothing behind, or that refshim's own account may not make, becomes an upload.
//! - `Docker-Content-Digest` is the digest that was asked for; Distribution names its own sha256 of sha512 content.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::cache::{self, BlobAnswer};
use super::sibling;
use super::upload::{Chunk, out_of_order};
use crate::http::body::Body;
use crate::oci::{Code, Digest, OciError, RepositoryName};
use crate::proxy::content_reads::ContentRead;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::CONTENT_DIGEST;
use crate::proxy::{headers, memory, passthrough};
use crate::render::Query;

/// How much of a refused chunk is read, in bytes.
const DISCARDED: usize = 16 << 20;
const DISCARDED_WITHIN: Duration = Duration::from_secs(30);

pub(in crate::proxy) async fn transfer(
    context: &RequestContext<'_>,
    body: Body,
    repository: Option<&RepositoryName>,
) -> Result<Response<Body>, ProxyError> {
    let head = &context.head;
    let named = repository.zip(asked_digest(head));
    if let Some((repository, digest)) = &named
        && let Some(kept) = sibling::listed(context, repository, digest).await
    {
        return Ok(kept);
    }
    let mut read = None;
    let mut known = None;
    if let Some((repository, digest)) = &named {
        known = cache::known(context, repository, digest).await;
        if known.is_none() {
            (known, read) = Box::pin(cache::known_or_begun(context, repository, digest)).await;
        }
    }
    if let (Some((repository, digest)), Some(known)) = (&named, known) {
        if memory::is_enough(&known, head) {
            return Ok(memory::serve_blob(&known, digest, head));
        }
        return match cache::ask(context, body, (repository, digest), &known).await? {
            BlobAnswer::Registry(response) => Ok(observed(context, repository, digest.clone(), response, read).await),
            BlobAnswer::Memory(response) => Ok(response),
        };
    }
    let chunk = Chunk::of(head);
    if let Some(chunk) = chunk
        && let Some(expected) = Box::pin(out_of_order(context, chunk)).await
    {
        Box::pin(discard(body)).await;
        return Ok(wrong_offset(head, expected));
    }
    // What a POST may bring along is not counted.
    let begins = head.method == Method::POST && body.is_end_stream();
    let mut response = passthrough::forward(context, body).await?;
    if let Some(repository) = repository
        && (is_barred_mount(context, response.status())
            || is_hollow_mount(context, repository, response.status()).await?)
    {
        let again = without_query(head.clone());
        response = Box::pin(passthrough::forward_as(context, again, Body::empty())).await?;
    }
    let stands_at = chunk.map(|chunk| chunk.last + 1).or_else(|| begins.then_some(0));
    context.backend.uploads.saw(head, &response, stands_at);
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(not_satisfiable(response.headers()));
    }
    let Some((repository, digest)) = named else {
        return Ok(response);
    };
    if response.status() == StatusCode::NOT_FOUND
        && let Some(kept) = sibling::found(context, repository, &digest).await?
    {
        return Ok(kept);
    }
    Ok(observed(context, repository, digest, response, read).await)
}

/// The registry's answer about a blob, under the name by which that was asked for.
async fn observed(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: Digest,
    mut response: Response<Body>,
    read: Option<ContentRead>,
) -> Response<Body> {
    if response.status().is_success() {
        name_as_asked(response.headers_mut(), &digest);
    }
    cache::learn(context, repository, digest, response, read).await
}

/// Whether the upstream refuses to mount a blob because of the repository that it is in. On refshim's own credentials the caller cannot
/// do anything about it, and has a right to an upload instead (distribution-spec 1.1, "Mounting a blob from another repository"). On the
/// caller's own, a challenge is the caller's to answer.
fn is_barred_mount(context: &RequestContext<'_>, status: StatusCode) -> bool {
    context.head.method == Method::POST
        && matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
        )
        && context.backend.upstream.has_own_credentials()
        && Query::parse(context.head.uri.query()).first("mount").is_some()
}

/// Whether the upstream says that it mounted a blob which it does not have afterwards: Distribution links sha512 content under
/// a name by which it never looks.
async fn is_hollow_mount(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    status: StatusCode,
) -> Result<bool, ProxyError> {
    if context.head.method != Method::POST || status != StatusCode::CREATED {
        return Ok(false);
    }
    let query = Query::parse(context.head.uri.query());
    match query.first("mount").map(Digest::parse) {
        Some(Ok(digest)) if digest.algorithm() != "sha256" => {
            let (upstream, caller) = (&context.backend.upstream, context.caller());
            Ok(!Box::pin(upstream.has_blob(repository, &digest, None, &caller)).await?)
        }
        _ => Ok(false),
    }
}

/// The same request as the beginning of an upload: what a registry answers that does not mount.
fn without_query(mut request: Parts) -> Parts {
    if let Ok(uri) = Uri::try_from(request.uri.path()) {
        request.uri = uri;
    }
    request
}

/// Takes a refused chunk off the wire, so that the refusal is read before the connection closes.
async fn discard(mut body: Body) {
    let read = async {
        let mut left = DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 || body.is_end_stream() {
                return;
            }
        }
    };
    // Whoever is slower than this learns of it from the closed connection.
    let _ = tokio::time::timeout(DISCARDED_WITHIN, read).await;
}

fn wrong_offset(request: &Parts, expected: u64) -> Response<Body> {
    let message = format!("the upload goes on at byte {expected}, not where this chunk starts");
    let error = OciError::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message);
    let mut response = ProxyError::from(error).into_response();
    let headers = response.headers_mut();
    if let Some(target) = request.uri.path_and_query()
        && let Ok(location) = HeaderValue::from_str(target.as_str())
    {
        headers.insert(LOCATION, location);
    }
    if let Ok(range) = HeaderValue::try_from(format!("0-{}", expected.saturating_sub(1))) {
        headers.insert(RANGE, range);
    }
    response
}

fn not_satisfiable(upstreams: &HeaderMap) -> Response<Body> {
    let message = "the blob has no such range";
    let error = OciError::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, message);
    let mut response = ProxyError::from(error).into_response();
    for name in [CONTENT_RANGE, ETAG] {
        if let Some(value) = upstreams.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    headers::add(response.headers_mut(), &headers::along_with_another_body(upstreams));
    debug_assert!(response.headers().contains_key(CONTENT_TYPE) && !response.headers().contains_key(CONTENT_LENGTH));
    response
}

/// The digest that a blob is read or deleted by, or that an upload or mount is finished with. The upstream checked the content against
/// it before it answered with success.
fn asked_digest(request: &Parts) -> Option<Digest> {
    let query = Query::parse(request.uri.query());
    let named = query.first("digest").or_else(|| query.first("mount"));
    let text = match request.method {
        Method::GET | Method::HEAD | Method::DELETE => request.uri.path().rsplit('/').next(),
        _ => named,
    };
    Digest::parse(text?).ok()
}

fn name_as_asked(headers: &mut HeaderMap, asked: &Digest) {
    let stated = headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
    let Some(stated) = stated.and_then(|text| Digest::parse(text).ok()) else {
        return;
    };
    if stated.algorithm() != asked.algorithm()
        && let Ok(value) = HeaderValue::try_from(asked.as_str())
    {
        headers.insert(CONTENT_DIGEST, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_of_another_algorithm_is_renamed() {
        let (sha256, sha512) = (
            Digest::sha256(b""),
            Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap(),
        );
        let mut headers = HeaderMap::from_iter([(CONTENT_DIGEST, HeaderValue::from_str(sha256.as_str()).unwrap())]);
        name_as_asked(&mut headers, &Digest::sha256(b"x"));
        assert_eq!(headers[CONTENT_DIGEST], sha256.as_str());
        name_as_asked(&mut headers, &sha512);
        assert_eq!(headers[CONTENT_DIGEST], sha512.as_str());
    }

    #[test]
    fn a_blob_is_named_by_the_path_and_an_upload_by_its_query() {
        let digest = Digest::sha256(b"");
        let asked = |method, path: &str| {
            let request = http::Request::builder().method(method).uri(path);
            asked_digest(&request.body(()).unwrap().into_parts().0)
        };
        // A deleted blob must be forgotten, too.
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(asked(method, &format!("/v2/a/blobs/{digest}")), Some(digest.clone()));
        }
        let upload = "/v2/a/blobs/uploads/id";
        assert_eq!(
            asked(Method::PUT, &format!("{upload}?digest={digest}")),
            Some(digest.clone())
        );
        assert_eq!(
            asked(Method::POST, &format!("/v2/a/blobs/uploads/?mount={digest}&from=b")),
            Some(digest)
        );
        assert_eq!(asked(Method::DELETE, upload), None);
    }
}
