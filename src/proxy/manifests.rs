//! `/v2/<name>/manifests/<ref>`: passed through; what passes is learned from.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode};

use super::failure::Failure;
use super::gateway::Gateway;
use super::passthrough;
use super::tee::Tee;
use crate::body::Body;
use crate::oci::{Digest, Reference, RepositoryName, media_type};
use crate::upstream::RawManifest;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

pub(super) async fn answer(
    gateway: &Gateway,
    request: Parts,
    body: Body,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    match request.method {
        Method::PUT | Method::DELETE => write(gateway, request, body, repository, reference).await,
        Method::GET | Method::HEAD => read(gateway, request, body, repository, reference).await,
        _ => passthrough::forward(gateway, request, body).await,
    }
}

/// A write makes what is remembered of the repository old, whoever's it was.
async fn write(
    gateway: &Gateway,
    request: Parts,
    body: Body,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    let response = passthrough::forward(gateway, request, body).await?;
    if response.status().is_success() {
        gateway.resolver.wrote(repository, Some(reference)).await;
    }
    Ok(response)
}

/// The answer tells what the manifest links to, and whether this caller may read the repository.
async fn read(
    gateway: &Gateway,
    request: Parts,
    body: Body,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    let (method, caller) = (request.method.clone(), gateway.caller(&request));
    let response = passthrough::forward(gateway, request, body).await?;
    match response.status() {
        StatusCode::OK => gateway.resolver.allow(repository, &caller).await,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => gateway.resolver.refuse(repository, &caller).await,
        _ => {}
    }
    if method == Method::GET && response.status() == StatusCode::OK {
        Ok(learn(gateway, response, repository, reference))
    } else {
        Ok(response)
    }
}

/// Reads along while the manifest streams to the caller.
fn learn(
    gateway: &Gateway,
    response: Response<Body>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Response<Body> {
    let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let media_type = media_type::essence(text(CONTENT_TYPE).unwrap_or_default()).to_owned();
    let promised = match reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => text(CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok()),
    };
    let (resolver, repository) = (gateway.resolver.clone(), repository.clone());
    let limit = gateway.manifest_bytes;
    response.map(|body| {
        Body::stream(Tee::new(body, limit, move |bytes: Bytes| {
            tokio::spawn(async move {
                if let Some(manifest) = verified(promised, media_type, bytes) {
                    resolver.learn(&repository, manifest).await;
                }
            });
        }))
    })
}

/// `None` where the bytes are not what was promised, such as compressed.
fn verified(promised: Option<Digest>, media_type: String, bytes: Bytes) -> Option<RawManifest> {
    let digest = promised.unwrap_or_else(|| Digest::sha256(&bytes));
    (digest.matches(&bytes) == Some(true)).then_some(RawManifest {
        digest,
        media_type,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_its_digest_promises_is_learned() {
        let bytes = Bytes::from_static(b"{}");
        let own = Digest::sha256(&bytes);
        let learned = |promised| verified(promised, String::new(), bytes.clone()).map(|raw| raw.digest);
        assert_eq!(learned(None), Some(own.clone()));
        assert_eq!(learned(Some(own.clone())), Some(own));
        assert_eq!(learned(Some(Digest::sha256(b"x"))), None);
    }
}
