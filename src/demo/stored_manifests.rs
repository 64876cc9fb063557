//! Manifests: reading, pushing with Distribution's checks, deleting.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, LOCATION};
use http::{Response, StatusCode};
use http_body::Body as HttpBody;
use serde_json::{Value, json};

use super::error::RegistryError;
use super::registry::DemoRequest;
use super::response::DemoResponse;
use super::store::Store;
use crate::http::body::{Body, BoxError};
use crate::http::collect;
use crate::oci::media_type::{self, ManifestKind};
use crate::oci::{Digest, Manifest, Reference, RepositoryName};

/// Largest manifest, in bytes (Distribution 2.8).
const LIMIT: usize = 4 << 20;

/// GET and HEAD. OCI manifests are served only if `Accept` names their type; `*/*` is not enough.
pub fn get(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, RegistryError> {
    let manifest = asked.registry.store().manifest(name, reference).cloned();
    let manifest = manifest.ok_or_else(|| {
        RegistryError::manifest_unknown(match reference {
            Reference::Tag(tag) => json!({ "Tag": tag }),
            Reference::Digest(digest) => json!({"Name": name, "Revision": digest}),
        })
    })?;
    if asked.header(IF_NONE_MATCH) == format!("\"{}\"", manifest.digest) {
        return Ok(DemoResponse::new(StatusCode::NOT_MODIFIED).without_content());
    }
    let needs = match manifest.media_type.as_str() {
        media_type::OCI_IMAGE_INDEX => Some("OCI index found, but accept header does not support OCI indexes"),
        media_type::OCI_IMAGE_MANIFEST => Some("OCI manifest found, but accept header does not support OCI manifests"),
        _ => None,
    };
    if let Some(message) = needs.filter(|_| !accepts(asked, &manifest.media_type)) {
        return Err(RegistryError::not_accepted(message));
    }
    Ok(DemoResponse::new(StatusCode::OK)
        .header(CONTENT_TYPE, &manifest.media_type)
        .digest(&manifest.digest)
        .etag(&manifest.digest)
        .bytes(manifest.bytes))
}

fn accepts(asked: &DemoRequest<'_>, wanted: &str) -> bool {
    let values = asked.head.headers.get_all(ACCEPT).iter();
    let mut types = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    types.any(|accepted| media_type::essence(accepted) == wanted)
}

/// PUT. `subject` and `artifactType` are stored like other members and have no effect.
pub async fn put<B>(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    reference: &Reference,
    body: B,
) -> Result<Response<Body>, RegistryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let bytes = read(body).await?;
    let media_type = media_type::essence(asked.header(CONTENT_TYPE));
    let mut store = asked.registry.store();
    check(&store, name, media_type, &bytes)?;
    let digest = store.put_manifest(name, reference, media_type, bytes)?;
    Ok(DemoResponse::new(StatusCode::CREATED)
        .header(LOCATION, &asked.absolute(&format!("/v2/{name}/manifests/{digest}")))
        .digest(&digest)
        .empty())
}

async fn read<B>(mut body: B) -> Result<Bytes, RegistryError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let read = collect::whole(&mut body, LIMIT).await;
    let read = read.map_err(|error| RegistryError::manifest_invalid(error.into().to_string().into()))?;
    read.ok_or_else(|| RegistryError::manifest_invalid("http: request body too large".into()))
}

/// Distribution's checks: a known media type, the same in header and body, and all listed content exists.
fn check(store: &Store, name: &RepositoryName, media_type: &str, bytes: &[u8]) -> Result<(), RegistryError> {
    let invalid = || RegistryError::manifest_invalid(json!({}));
    let value: Value = serde_json::from_slice(bytes).map_err(|_| invalid())?;
    let stated = value.get("mediaType").and_then(Value::as_str);
    let docker = media_type.starts_with("application/vnd.docker.");
    let has = |member: &str| value.get(member).is_some_and(|member| !member.is_null());
    let in_disguise = match ManifestKind::of(media_type) {
        Some(ManifestKind::Image) => has("manifests"),
        Some(ManifestKind::Index) => has("config") || has("layers"),
        _ => true,
    };
    if in_disguise || stated.map_or(docker, |stated| stated != media_type) {
        return Err(invalid());
    }
    let manifest = Manifest::parse(bytes, media_type).map_err(|_| invalid())?;
    if manifest.kind == ManifestKind::Image && manifest.config.is_none() {
        return Err(RegistryError::manifest_blob_unknown(""));
    }
    let mut content = manifest
        .config
        .iter()
        .chain(&manifest.layers)
        .chain(&manifest.manifests);
    match content.find(|listed| !store.holds(name, &listed.digest)) {
        Some(missing) => Err(RegistryError::manifest_blob_unknown(missing.digest.as_str())),
        None => Ok(()),
    }
}

/// DELETE, by digest only; removes all its tags too.
pub fn delete(
    asked: &DemoRequest<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, RegistryError> {
    let digest: &Digest = match reference {
        Reference::Digest(digest) => digest,
        Reference::Tag(_) => return Err(RegistryError::digest_invalid()),
    };
    if !asked.registry.store().delete_manifest(name, digest) {
        return Err(RegistryError::manifest_unknown(Value::Null));
    }
    Ok(DemoResponse::new(StatusCode::ACCEPTED).empty())
}
