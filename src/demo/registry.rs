//! The embedded registry: answers one request at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use url::form_urlencoded;

use super::error::RegistryError;
use super::response::{self, DemoResponse};
use super::route::DemoRoute;
use super::store::Store;
use super::{blobs, lists, stored_manifests, uploads};
use crate::http::body::{Body, BoxError};

/// A registry without a listener, so that tests can put behaviour of their own in front.
#[derive(Clone, Default)]
pub struct DemoRegistry {
    store: Arc<Mutex<Store>>,
}

/// A request's head.
pub(super) struct DemoRequest<'a> {
    pub registry: &'a DemoRegistry,
    pub head: &'a Parts,
}

impl DemoRequest<'_> {
    /// The first query parameter of that name, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A request header as text; empty if it is missing or not text.
    pub fn header(&self, name: http::HeaderName) -> &str {
        let value = self.head.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// An absolute `Location`, built from the request's `Host` as Distribution does.
    pub fn absolute(&self, path: &str) -> String {
        let authority = self.head.uri.authority().map(|authority| authority.as_str());
        let host = authority.unwrap_or_else(|| self.header(http::header::HOST));
        format!("http://{host}{path}")
    }
}

impl DemoRegistry {
    /// The contents. The guard must not be held across an await.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request. If a body breaks off, the bytes received stay in the upload, as in Distribution.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let asked = DemoRequest {
            registry: self,
            head: &head,
        };
        let mut response = match DemoRoute::parse(head.uri.path()) {
            Some(route) => respond(&asked, &route, body)
                .await
                .unwrap_or_else(|refused| response::error(&refused)),
            None => response::page_not_found(),
        };
        let version = http::HeaderValue::from_static("registry/2.0");
        response
            .headers_mut()
            .insert("docker-distribution-api-version", version);
        response
    }
}

async fn respond<B>(asked: &DemoRequest<'_>, route: &DemoRoute, body: B) -> Result<Response<Body>, RegistryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    match (route, &asked.head.method) {
        (DemoRoute::Base, &Method::GET) => Ok(DemoResponse::new(StatusCode::OK).json(&serde_json::json!({}))),
        (DemoRoute::Catalog, &Method::GET) => Ok(lists::catalog(asked)),
        (DemoRoute::Tags(name), &Method::GET) => lists::tags(asked, name),
        (DemoRoute::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
            stored_manifests::get(asked, name, reference)
        }
        (DemoRoute::Manifest(name, reference), &Method::PUT) => {
            stored_manifests::put(asked, name, reference, body).await
        }
        (DemoRoute::Manifest(name, reference), &Method::DELETE) => stored_manifests::delete(asked, name, reference),
        (DemoRoute::Blob(name, digest), &Method::GET | &Method::HEAD) => blobs::get(asked, name, digest),
        (DemoRoute::Blob(name, digest), &Method::DELETE) => blobs::delete(asked, name, digest),
        (DemoRoute::Uploads(name), &Method::POST) => Ok(uploads::start(asked, name)),
        (DemoRoute::Upload(name, id), &Method::GET | &Method::HEAD) => uploads::status(asked, name, id),
        (DemoRoute::Upload(name, id), &Method::PATCH) => uploads::append(asked, name, id, body).await,
        (DemoRoute::Upload(name, id), &Method::PUT) => uploads::finish(asked, name, id, body).await,
        (DemoRoute::Upload(name, id), &Method::DELETE) => uploads::cancel(asked, name, id),
        (route, _) => Ok(response::method_not_allowed(route.allowed())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type::{OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};
    use crate::oci::{Digest, RepositoryName};
    use http::header::{ACCEPT, CONTENT_TYPE, HOST, LOCATION, RANGE};
    use http_body_util::{BodyExt as _, Full};

    async fn ask(registry: &DemoRegistry, method: &str, uri: &str, header: (&str, &str), body: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(uri).header(HOST, "registry.test");
        let request = request.header(header.0, header.1);
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        registry.handle(request).await
    }

    async fn text(mut response: Response<Body>) -> String {
        let mut text = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    /// The `Location` as a request's target.
    fn location(response: &Response<Body>) -> String {
        let location = response.headers()[LOCATION].to_str().unwrap();
        location.strip_prefix("http://registry.test").unwrap().to_owned()
    }

    const NO_HEADER: (&str, &str) = ("x-none", "");

    #[tokio::test]
    async fn a_blob_comes_in_chunks_and_goes_out_in_ranges() {
        let registry = DemoRegistry::default();
        let opened = ask(&registry, "POST", "/v2/a/blobs/uploads/", NO_HEADER, "").await;
        assert_eq!(
            (opened.status().as_u16(), &opened.headers()[RANGE]),
            (202, &"0-0".parse().unwrap())
        );
        let first = location(&opened);
        let chunk = ask(&registry, "PATCH", &first, NO_HEADER, "hello").await;
        assert_eq!(chunk.headers()[RANGE], "0-4");
        let stale = ask(&registry, "PATCH", &first, NO_HEADER, "again").await;
        assert!(text(stale).await.contains("BLOB_UPLOAD_INVALID"));
        let digest = Digest::sha256(b"hello world");
        let last = format!("{}&digest={digest}", location(&chunk));
        let created = ask(&registry, "PUT", &last, NO_HEADER, " world").await;
        assert_eq!(created.status(), 201);
        let part = ask(&registry, "GET", &location(&created), ("range", "bytes=6-"), "").await;
        assert_eq!((part.status().as_u16(), text(part).await.as_str()), (206, "world"));
    }

    #[tokio::test]
    async fn manifests_need_their_content_and_readers_their_accept() {
        let registry = DemoRegistry::default();
        let config = Digest::sha256(b"{}");
        let manifest = format!(
            r#"{{"mediaType":"{OCI_IMAGE_MANIFEST}","config":{{"mediaType":"x","digest":"{config}","size":2}}}}"#
        );
        let image = (CONTENT_TYPE.as_str(), OCI_IMAGE_MANIFEST);
        let early = ask(&registry, "PUT", "/v2/a/manifests/t", image, &manifest).await;
        assert!(text(early).await.contains("MANIFEST_BLOB_UNKNOWN"));
        let disguised = (CONTENT_TYPE.as_str(), OCI_IMAGE_INDEX);
        let disguised = ask(&registry, "PUT", "/v2/a/manifests/t", disguised, &manifest).await;
        assert!(text(disguised).await.contains("MANIFEST_INVALID"));
        registry.store().put_blob(&RepositoryName::parse("a").unwrap(), "{}");
        let put = ask(&registry, "PUT", "/v2/a/manifests/t", image, &manifest).await;
        assert_eq!(put.status(), 201);
        let any = ask(&registry, "GET", "/v2/a/manifests/t", (ACCEPT.as_str(), "*/*"), "").await;
        assert_eq!(any.status(), 404);
        let accept = (ACCEPT.as_str(), "x/y, application/vnd.oci.image.manifest.v1+json;q=1");
        assert_eq!(
            text(ask(&registry, "GET", "/v2/a/manifests/t", accept, "").await).await,
            manifest
        );
    }

    #[tokio::test]
    async fn a_deleted_manifest_takes_its_tags_along() {
        let registry = DemoRegistry::default();
        let sample = crate::demo::fill(&registry).unwrap();
        let by_tag = ask(&registry, "DELETE", "/v2/demo/app/manifests/1.0", NO_HEADER, "").await;
        assert!(text(by_tag).await.contains("DIGEST_INVALID"));
        for digest in sample.referrers.iter().chain([&sample.digest]) {
            let uri = format!("/v2/demo/app/manifests/{digest}");
            assert_eq!(ask(&registry, "DELETE", &uri, NO_HEADER, "").await.status(), 202);
            assert_eq!(ask(&registry, "DELETE", &uri, NO_HEADER, "").await.status(), 404);
        }
        let tags = text(ask(&registry, "GET", "/v2/demo/app/tags/list", NO_HEADER, "").await).await;
        // The referrers tag's index was not among them.
        assert!(!tags.contains("1.0") && tags.contains("sha256-"), "{tags}");
    }

    #[tokio::test]
    async fn there_are_no_referrers() {
        let uri = format!("/v2/a/referrers/{}", Digest::sha256(b""));
        let response = ask(&DemoRegistry::default(), "GET", &uri, NO_HEADER, "").await;
        assert_eq!(response.status(), 404);
        assert_eq!(text(response).await, "404 page not found\n");
    }
}
