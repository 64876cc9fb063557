//! Manifests: what some registries refuse, and what one returns instead.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use refshim::testing::http::body::{Body, BoxError};
use refshim::testing::oci::media_type;
use refshim::testing::oci::media_type::ManifestKind;
use refshim::testing::oci::{LinkTagKind, Reference, RepositoryName, tag_scheme};
use serde_json::Value;

use super::answer::Asked;
use super::knobs::{Conditions, Delete, Heads};
use super::reply::{plain, refused};

fn is_referrers_tag(tag: &str) -> bool {
    tag_scheme::parse(tag).is_some_and(|tag| tag.kind == LinkTagKind::Referrers)
}

fn unknown() -> Response<Body> {
    refused(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown")
}

/// What is deleted by its digest alone, and GitLab's referrers tag, which is the subject.
pub fn read(asked: &Asked<'_>) -> Option<Response<Body>> {
    let (name, tag) = asked.part("manifests")?;
    if asked.is_read() && asked.shared.change(|state| state.deleted.contains(&asked.path)) {
        return Some(unknown());
    }
    if !asked.knobs.referrers_tag_is_subject || !asked.is_read() || !is_referrers_tag(tag) {
        return None;
    }
    let digest = refshim::testing::oci::Digest::parse(&tag.replacen('-', ":", 1)).ok()?;
    let (name, reference) = (RepositoryName::parse(name).ok()?, Reference::from(digest));
    let subject = asked.shared.registry.store().manifest(&name, &reference).cloned()?;
    let mut response = plain(StatusCode::OK, &subject.media_type, subject.bytes);
    let digest = HeaderValue::from_str(subject.digest.as_str()).expect("a digest fits a header");
    response.headers_mut().insert("docker-content-digest", digest);
    Some(response)
}

/// What this registry's own HEADs and 404s are like.
pub fn bend(asked: &Asked<'_>, mut response: Response<Body>) -> Response<Body> {
    let manifest = asked.part("manifests").map(|(_, reference)| reference);
    if asked.head.method == Method::HEAD && manifest.is_some() {
        match asked.knobs.heads {
            Heads::Served => {}
            Heads::WithoutDigest => {
                response.headers_mut().remove("docker-content-digest");
                response.headers_mut().remove(ETAG);
            }
            Heads::Answers(status) => {
                return plain(StatusCode::from_u16(status).expect("a status"), "application/json", "");
            }
        }
    }
    if response.status() != StatusCode::NOT_FOUND || !asked.is_read() {
        return response;
    }
    let codes = asked.knobs.absent;
    let code = match manifest {
        Some(reference) if reference.contains(':') => codes.manifest,
        Some(_) => codes.tag,
        None if asked.path.ends_with("/tags/list") => codes.repository,
        None => return response,
    };
    refused(StatusCode::NOT_FOUND, code, "unknown")
}

pub fn delete(asked: &Asked<'_>) -> Option<Response<Body>> {
    let (name, reference) = asked
        .part("manifests")
        .filter(|_| asked.head.method == Method::DELETE)?;
    match (asked.knobs.delete, Reference::parse(reference)?) {
        (Delete::Unsupported, _) => {
            let message = "The operation is unsupported.";
            Some(refused(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message))
        }
        (Delete::DigestAlone, Reference::Digest(digest)) => {
            let name = RepositoryName::parse(name).ok()?;
            let is_stored = asked.shared.registry.store().manifest(&name, &digest.into()).is_some();
            let is_new = asked.shared.change(|state| state.deleted.insert(asked.path.clone()));
            Some(match is_stored && is_new {
                true => plain(StatusCode::ACCEPTED, "text/plain", ""),
                false => unknown(),
            })
        }
        (Delete::TagToo | Delete::DigestAlone, Reference::Tag(tag)) => {
            let deleted = asked
                .shared
                .registry
                .store()
                .delete_tag(&RepositoryName::parse(name).ok()?, &tag);
            Some(match deleted {
                true => plain(StatusCode::ACCEPTED, "text/plain", ""),
                false => unknown(),
            })
        }
        (Delete::ManifestWithTag, reference @ Reference::Tag(_)) => {
            let name = RepositoryName::parse(name).ok()?;
            let mut store = asked.shared.registry.store();
            let digest = store.manifest(&name, &reference).map(|stored| stored.digest.clone());
            let deleted = digest.is_some_and(|digest| store.delete_manifest(&name, &digest));
            Some(match deleted {
                true => plain(StatusCode::ACCEPTED, "text/plain", ""),
                false => unknown(),
            })
        }
        _ => None,
    }
}

/// PUT, with the registry's own objections before the embedded one's.
pub async fn push(asked: &Asked<'_>, body: Incoming) -> Result<Response<Body>, BoxError> {
    let bytes = read_all(body).await?;
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(refusal) = object(asked, &value) {
        return Ok(refusal);
    }
    if let Some(taken) = take(asked, &bytes) {
        return Ok(taken);
    }
    let mut request = Request::from_parts(asked.head.clone(), Full::new(bytes.clone()));
    *request.uri_mut() = asked.path.parse()?;
    let mut response = asked.shared.registry.handle(request).await;
    if asked.knobs.pushes.takes_tag_parameters && response.status().is_success() {
        write_asked_tags(asked, &bytes, &mut response)?;
    }
    if let (Some((name, _)), Some(digest)) = (asked.part("manifests"), response.headers().get("docker-content-digest"))
    {
        let path = format!("/v2/{name}/manifests/{}", digest.to_str()?);
        asked.shared.change(|state| state.deleted.remove(&path));
    }
    let subject = value["subject"]["digest"].as_str();
    if let Some(subject) = subject.filter(|_| asked.knobs.pushes.says_subject && response.status().is_success()) {
        response
            .headers_mut()
            .insert("oci-subject", HeaderValue::from_str(subject)?);
    }
    Ok(response)
}

fn write_asked_tags(asked: &Asked<'_>, bytes: &Bytes, response: &mut Response<Body>) -> Result<(), BoxError> {
    let (name, _) = asked.part("manifests").expect("a path of a manifest");
    let repository = RepositoryName::parse(name)?;
    let media_type = asked.head.headers.get(CONTENT_TYPE).expect("a type").to_str()?;
    for tag in asked.queries("tag") {
        let reference = Reference::parse(&tag).expect("a tag");
        let mut store = asked.shared.registry.store();
        store
            .put_manifest(&repository, &reference, media_type, bytes.clone())
            .map_err(|error| format!("{error:?}"))?;
        response.headers_mut().append("oci-tag", HeaderValue::from_str(&tag)?);
    }
    Ok(())
}

/// Stores what the embedded registry would refuse.
fn take(asked: &Asked<'_>, bytes: &Bytes) -> Option<Response<Body>> {
    let (name, reference) = asked.part("manifests").filter(|_| asked.knobs.pushes.takes_any_type)?;
    let (repository, reference) = (RepositoryName::parse(name).ok()?, Reference::parse(reference)?);
    let media_type = asked.head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut store = asked.shared.registry.store();
    let digest = store.put_manifest(&repository, &reference, media_type, bytes.clone());
    let mut response = plain(StatusCode::CREATED, media_type, "");
    let digest = HeaderValue::from_str(digest.ok()?.as_str()).expect("a digest fits a header");
    response.headers_mut().insert("docker-content-digest", digest);
    Some(response)
}

async fn read_all(mut body: Incoming) -> Result<Bytes, BoxError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(bytes.freeze())
}

fn object(asked: &Asked<'_>, manifest: &Value) -> Option<Response<Body>> {
    let pushes = &asked.knobs.pushes;
    let (name, tag) = asked.part("manifests")?;
    if pushes.refused_members.iter().any(|member| has(manifest, member)) {
        let message = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'";
        return Some(refused(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message));
    }
    let content_type = asked
        .head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = ManifestKind::of(media_type::essence(content_type.unwrap_or_default()));
    if pushes.unknown_type_is_415 && !matches!(kind, Some(ManifestKind::Image | ManifestKind::Index)) {
        let message = "manifest invalid";
        return Some(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "MANIFEST_INVALID", message));
    }
    if pushes.refuses_referrers_tag && is_referrers_tag(tag) {
        return Some(refused(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "manifest invalid"));
    }
    let (repository, reference) = (RepositoryName::parse(name).ok()?, Reference::parse(tag)?);
    let stored = asked
        .shared
        .registry
        .store()
        .manifest(&repository, &reference)
        .map(|stored| stored.digest.to_string());
    let exists = stored.is_some();
    if fails(asked, stored.as_ref()) {
        return Some(refused(
            StatusCode::PRECONDITION_FAILED,
            "PRECONDITION",
            "the tag was moved",
        ));
    }
    if pushes.immutable_tags && exists && matches!(reference, Reference::Tag(_)) {
        let message = format!(
            "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
        );
        return Some(refused(StatusCode::BAD_REQUEST, "TAG_INVALID", message));
    }
    None
}

/// Whether a condition on the tag fails that has `stored`.
fn fails(asked: &Asked<'_>, stored: Option<&String>) -> bool {
    let header = |name| asked.head.headers.get(name).and_then(|value| value.to_str().ok());
    let (matches, differs) = (header(IF_MATCH), header(IF_NONE_MATCH));
    match asked.knobs.pushes.conditions {
        Conditions::Ignored => false,
        Conditions::Fail => matches.is_some() || differs.is_some(),
        Conditions::Checked => {
            let etag = stored.map(|digest| format!("\"{digest}\""));
            matches.is_some_and(|etag_then| etag.as_deref() != Some(etag_then))
                || (differs == Some("*") && etag.is_some())
        }
    }
}

/// Whether `member` is in there, at any depth.
fn has(value: &Value, member: &str) -> bool {
    match value {
        Value::Object(object) => object.contains_key(member) || object.values().any(|value| has(value, member)),
        Value::Array(values) => values.iter().any(|value| has(value, member)),
        _ => false,
    }
}
