//! The bytes of manifests and blobs: as files for people, and read for what a page says of them.

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, RANGE, USER_AGENT, VIA};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri};

use crate::http::body::Body;
use crate::oci::{Code, Digest, OciError, Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::{blobs, subject_lookup};
use crate::proxy::respond::LocalResponse;
use crate::referrers::UnknownForm;
use crate::registry::{Answer, UpstreamError};
use crate::render::Query;

/// Longest file name, in bytes.
const LONGEST_NAME: usize = 100;
/// What of a browser's headers the registry gets with a request for content. The others tell how the page is wanted.
const PASSED_ON: [HeaderName; 5] = [
    http::header::AUTHORIZATION,
    VIA,
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A manifest's bytes, as a file.
pub(super) async fn show_manifest(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: Digest,
) -> Result<Response<Body>, ProxyError> {
    let reference = Reference::Digest(digest);
    let raw = subject_lookup::manifest(context, repository, &reference, &context.caller()).await?;
    let file = LocalResponse::new("application/json", raw.bytes.clone());
    let file = file.header("content-disposition", "attachment; filename=\"manifest.json\"");
    Ok(file.respond(&context.head))
}

/// A blob's bytes as they come, to be saved under the name that the page gave it.
pub(super) async fn show_blob(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let name = query.first("title").and_then(file_name);
    let name = name.unwrap_or_else(|| digest.as_str().replace(':', "-"));
    let mut asking = asking_for(context, repository, digest)?;
    if let Some(range) = context.head.headers.get(RANGE) {
        asking.head.headers.insert(RANGE, range.clone());
    }
    asking.head.method = context.head.method.clone();
    let mut response = Box::pin(blobs::transfer::transfer(&asking, Body::empty(), Some(repository))).await?;
    let status = response.status();
    if status.is_client_error() && status != StatusCode::RANGE_NOT_SATISFIABLE || status.is_server_error() {
        return Err(not_given(status, digest));
    }
    let headers = response.headers_mut();
    // Names have no quotes.
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// Not the registry's own answer: a challenge would ask for a password that the page's session already has.
fn not_given(status: StatusCode, digest: &Digest) -> ProxyError {
    let message = format!(
        "the registry does not give the blob {digest} (HTTP {})",
        status.as_u16()
    );
    let (status, code) = match status {
        StatusCode::NOT_FOUND => (StatusCode::NOT_FOUND, Code::BlobUnknown),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (StatusCode::FORBIDDEN, Code::Denied),
        _ => (StatusCode::BAD_GATEWAY, Code::Unavailable),
    };
    OciError::new(status, code, message).into()
}

/// A blob of at most `limit` bytes, from memory where this caller may have it. `None` if it is larger.
pub(super) async fn read_blob(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
    limit: usize,
) -> Result<Option<Bytes>, ProxyError> {
    let asking = asking_for(context, repository, digest)?;
    let response = Box::pin(blobs::transfer::transfer(&asking, Body::empty(), Some(repository))).await?;
    if response.status() == StatusCode::OK {
        let read = response.into_body().read(limit).await;
        let bytes = read.map_err(|error| UpstreamError::Broken(error.to_string()))?;
        return match bytes {
            Some(bytes) if digest.matches(&bytes) == Some(true) => Ok(Some(bytes)),
            Some(_) => Err(UpstreamError::Invalid(format!("bytes that are not those of {digest}")).into()),
            None => Ok(None),
        };
    }
    // A refusal, or a redirect to storage, which is followed where the configuration lets refshim go.
    let (backend, caller) = (context.backend, context.caller());
    let kept = Box::pin(
        backend
            .resolver
            .linked_blob(repository, digest, &caller, UnknownForm::Leave),
    )
    .await?;
    let (upstream, repository, caller) = match &kept {
        Some(sibling) => (backend.upstream.links_upstream(), &sibling.repository, &sibling.caller),
        None => (&backend.upstream, repository, &caller),
    };
    match upstream.blob(repository, digest, limit, caller).await? {
        Answer::Found(bytes) => Ok(Some(bytes)),
        Answer::Absent => {
            Err(OciError::not_found(Code::BlobUnknown, format!("the registry has no blob {digest} here")).into())
        }
        Answer::Refused(refusal) => Err(refusal.into()),
    }
}

/// The request for a blob that this one stands for.
fn asking_for<'a>(
    context: &'a RequestContext<'_>,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<RequestContext<'a>, ProxyError> {
    let mut head = context.head.clone();
    head.method = Method::GET;
    let target = format!("/v2/{repository}/blobs/{digest}");
    head.uri = Uri::try_from(target).map_err(|error| UpstreamError::Invalid(error.to_string()))?;
    head.headers.clear();
    for name in PASSED_ON {
        for value in context.head.headers.get_all(&name) {
            head.headers.append(&name, value.clone());
        }
    }
    Ok(context.with_head(head))
}

/// A title as a file name that means nothing to any system; `None` where nothing is left of it.
fn file_name(title: &str) -> Option<String> {
    let last = title.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let plain: String = last
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .take(LONGEST_NAME)
        .collect();
    let plain = plain.trim_matches(['.', '_', '-']);
    (!plain.is_empty()).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_harmless_as_file_names() {
        for (title, expected) in [
            ("sbom.spdx.json", Some("sbom.spdx.json")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\evil.exe", Some("evil.exe")),
            (".bashrc", Some("bashrc")),
            ("a\"; filename=\"b", Some("a___filename__b")),
            ("x\r\nset-cookie: y", Some("x__set-cookie__y")),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(file_name(title).as_deref(), expected, "{title}");
        }
        assert_eq!(file_name(&"é".repeat(500)), None);
        assert_eq!(file_name(&"x".repeat(500)).unwrap().len(), LONGEST_NAME);
    }
}
