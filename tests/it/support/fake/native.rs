//! `/referrers/<digest>`, in every way in which registries do not serve it, and in the one in which they do.

use http::header::LINK;
use http::{HeaderValue, Response, StatusCode};
use refshim::testing::http::body::Body;
use refshim::testing::oci::{Digest, Manifest, Reference, RepositoryName};
use serde_json::json;

use super::answer::Asked;
use super::knobs::{Native, Referrers};
use super::reply::{plain, redirect, refused};

pub fn answer(asked: &Asked<'_>) -> Option<Response<Body>> {
    let (name, digest) = asked.part("referrers").filter(|_| asked.is_read())?;
    let everywhere = &asked.knobs.referrers;
    match asked.knobs.referrers_in.get(name).unwrap_or(everywhere) {
        Referrers::PageNotFound => None,
        Referrers::ManifestUnknown => Some(refused(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown")),
        Referrers::WebPage => {
            // The site cuts the digest at its colon.
            let cut = digest.split(':').next().unwrap_or_default();
            let page = format!("{}/{name}/referrers/{cut}", asked.origin());
            Some(redirect(StatusCode::SEE_OTHER, &page))
        }
        Referrers::LoginPage => {
            let page = format!("{}/login?continue={}", asked.shared.elsewhere, asked.path);
            Some(redirect(StatusCode::TEMPORARY_REDIRECT, &page))
        }
        Referrers::Says {
            status,
            media_type,
            body,
        } => Some(plain(*status, media_type, *body)),
        Referrers::Native(native) => list(asked, native, name, digest),
    }
}

fn list(asked: &Asked<'_>, native: &Native, name: &str, digest: &str) -> Option<Response<Body>> {
    let name = RepositoryName::parse(name).ok()?;
    let digest = Digest::parse(digest).ok()?;
    let store = asked.shared.registry.store();
    let unknown = store.manifest(&name, &Reference::from(digest.clone())).is_none();
    if native.refuses_unknown && unknown {
        let message = "manifest invalid";
        return Some(refused(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message));
    }
    let no_repository = || !store.repositories().any(|held| *held == name);
    if native.unknown_is_empty_404 && (digest.algorithm() != "sha256" || no_repository()) {
        return Some(plain(StatusCode::NOT_FOUND, "text/plain", ""));
    }
    let mut listed: Vec<_> = store
        .manifests(&name)
        .filter_map(|stored| {
            let manifest = Manifest::parse(&stored.bytes, &stored.media_type).ok()?;
            let subject = manifest.subject.as_ref()?;
            let size = stored.bytes.len() as u64;
            (subject.digest == digest).then(|| manifest.descriptor(stored.digest.clone(), size))
        })
        .collect();
    listed.sort_by(|one, other| one.digest.cmp(&other.digest));
    let start = asked.query("after").and_then(|after| after.parse().ok()).unwrap_or(0);
    let rest = listed.split_off(listed.len().min(start));
    let page = &rest[..native.page.unwrap_or(rest.len()).min(rest.len())];
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": page,
    });
    let mut response = plain(StatusCode::OK, native.media_type, index.to_string());
    if page.len() < rest.len() {
        let link = format!("<{}?after={}>; rel=\"next\"", asked.path, start + page.len());
        let link = HeaderValue::from_str(&link).expect("a link fits a header");
        response.headers_mut().insert(LINK, link);
    }
    Some(response)
}
