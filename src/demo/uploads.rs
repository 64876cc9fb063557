//! Blob uploads: monolithic, streamed, chunked, mounted.

use base64::Engine as _;
use bytes::Bytes;
use http::header::{LOCATION, RANGE};
use http::{HeaderName, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use url::form_urlencoded;

use super::error::RegistryError;
use super::registry::DemoRequest;
use super::response::DemoResponse;
use super::store::Upload;
use crate::http::body::{Body, BoxError};
use crate::oci::{Digest, RepositoryName};

/// POST: mounts, or opens an upload. A `digest` in the query is ignored, as Distribution 2.8 does.
pub fn start(asked: &DemoRequest<'_>, name: &RepositoryName) -> Response<Body> {
    if let Some(response) = mount(asked, name) {
        return response;
    }
    let id = new_id();
    let upload = Upload {
        repository: Some(name.clone()),
        ..Upload::default()
    };
    asked.registry.store().uploads.insert(id.clone(), upload);
    progress(asked, name, &id, 0, StatusCode::ACCEPTED).empty()
}

fn mount(asked: &DemoRequest<'_>, name: &RepositoryName) -> Option<Response<Body>> {
    let digest = Digest::parse(&asked.query("mount")?).ok()?;
    let from = RepositoryName::parse(&asked.query("from")?).ok()?;
    let mounted = asked.registry.store().mount(name, &from, &digest);
    mounted.then(|| created(asked, name, &digest))
}

/// GET: the number of bytes received.
pub fn status(asked: &DemoRequest<'_>, name: &RepositoryName, id: &str) -> Result<Response<Body>, RegistryError> {
    let size = with_upload(asked, name, id, |upload| upload.bytes.len())?;
    Ok(progress(asked, name, id, size, StatusCode::NO_CONTENT).without_content())
}

/// PATCH: appends bytes. `Content-Range` is ignored, as in Distribution 2.8.
pub async fn append<B>(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    id: &str,
    body: B,
) -> Result<Response<Body>, RegistryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    check_state(asked, name, id)?;
    let size = receive(asked, name, id, body).await?;
    Ok(progress(asked, name, id, size, StatusCode::ACCEPTED).empty())
}

/// PUT: appends the last bytes, if any, and completes the blob.
pub async fn finish<B>(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    id: &str,
    body: B,
) -> Result<Response<Body>, RegistryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    check_state(asked, name, id)?;
    let digest = asked.query("digest").and_then(|digest| Digest::parse(&digest).ok());
    let digest = digest.ok_or_else(RegistryError::digest_invalid)?;
    receive(asked, name, id, body).await?;
    let right = with_upload(asked, name, id, |upload| digest.matches(&upload.bytes) == Some(true))?;
    if !right {
        return Err(RegistryError::digest_invalid());
    }
    let mut store = asked.registry.store();
    let upload = store.uploads.remove(id).ok_or_else(RegistryError::upload_unknown)?;
    store.keep_blob(name, digest.clone(), upload.bytes.freeze());
    Ok(created(asked, name, &digest))
}

/// DELETE: cancels the upload.
pub fn cancel(asked: &DemoRequest<'_>, name: &RepositoryName, id: &str) -> Result<Response<Body>, RegistryError> {
    check_state(asked, name, id)?;
    asked.registry.store().uploads.remove(id);
    Ok(DemoResponse::new(StatusCode::NO_CONTENT).without_content())
}

/// Appends a body. Returns the number of bytes that the upload then has.
async fn receive<B>(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    id: &str,
    mut body: B,
) -> Result<usize, RegistryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| RegistryError::upload_invalid())?.into_data();
        if let Ok(data) = data {
            with_upload(asked, name, id, |upload| upload.bytes.extend_from_slice(&data))?;
        }
    }
    with_upload(asked, name, id, |upload| upload.bytes.len())
}

fn with_upload<T>(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    id: &str,
    then: impl FnOnce(&mut Upload) -> T,
) -> Result<T, RegistryError> {
    let mut store = asked.registry.store();
    let upload = store.uploads.get_mut(id);
    let upload = upload.filter(|upload| upload.repository.as_ref() == Some(name));
    upload.map(then).ok_or_else(RegistryError::upload_unknown)
}

/// `_state` is opaque to clients and must come back unchanged, so that a proxy which changes query strings breaks uploads here.
fn check_state(asked: &DemoRequest<'_>, name: &RepositoryName, id: &str) -> Result<(), RegistryError> {
    let stated = asked.query("_state").ok_or_else(RegistryError::upload_invalid)?;
    let size = with_upload(asked, name, id, |upload| upload.bytes.len())?;
    if stated == state(id, size) {
        Ok(())
    } else {
        Err(RegistryError::upload_invalid())
    }
}

fn state(id: &str, size: usize) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{id}?>{size}"))
}

fn progress(asked: &DemoRequest<'_>, name: &RepositoryName, id: &str, size: usize, status: StatusCode) -> DemoResponse {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("_state", &state(id, size))
        .finish();
    DemoResponse::new(status)
        .header(
            LOCATION,
            &asked.absolute(&format!("/v2/{name}/blobs/uploads/{id}?{query}")),
        )
        .header(HeaderName::from_static("docker-upload-uuid"), id)
        // An empty upload is `0-0` too.
        .header(RANGE, &format!("0-{}", size.saturating_sub(1)))
}

fn created(asked: &DemoRequest<'_>, name: &RepositoryName, digest: &Digest) -> Response<Body> {
    DemoResponse::new(StatusCode::CREATED)
        .header(LOCATION, &asked.absolute(&format!("/v2/{name}/blobs/{digest}")))
        .digest(digest)
        .empty()
}

/// A random UUID (RFC 9562, version 4).
fn new_id() -> String {
    let random: u128 = rand::random();
    let versioned = (random & !(0xf << 76) & !(0xc << 60)) | (4 << 76) | (8 << 60);
    let hex = format!("{versioned:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}
