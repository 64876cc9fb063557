//! Writing a manifest to the registry, provided that nobody else did.

use http::{HeaderValue, StatusCode};

use super::error::CliError;
use super::session::Session;
use crate::oci::{Digest, Reference, Tag};
use crate::registry::{RawManifest, RegistryResponse};

/// What became of one write; an error is why it could not be done.
pub(super) type Put = Result<(), String>;

/// The ETag, if there is one, of a tag that still points at `digest`, or that still is not there. `None` where it was written.
pub(super) async fn unchanged(
    session: &Session,
    tag: &Tag,
    digest: Option<&Digest>,
) -> Result<Option<Option<HeaderValue>>, CliError> {
    let reference = Reference::Tag(tag.clone());
    let (repository, caller) = (session.repository(), session.caller());
    let head = session.upstream().head_manifest(repository, &reference, caller).await;
    match (session.found(head)?, digest) {
        (None, None) => Ok(Some(None)),
        (Some(head), Some(digest)) if head.digest == *digest => Ok(Some(head.etag)),
        // A tag that no listing has was made up on the way: by refshim.
        (Some(_), None) => {
            let names = session.upstream().tags(repository, caller).await;
            let is_listed = session.found(names)?.is_some_and(|names| names.contains(tag.as_str()));
            Ok((!is_listed).then_some(None))
        }
        _ => Ok(None),
    }
}

/// Writes a manifest. A refusal of the caller is a failure, any other one the outcome.
pub(super) async fn put(
    session: &Session,
    reference: &Reference,
    raw: RawManifest,
    etag: Option<&HeaderValue>,
) -> Result<Put, CliError> {
    let reply = session
        .upstream()
        .put_manifest_if(
            session.repository(),
            reference,
            &raw.media_type,
            raw.bytes.clone(),
            etag,
            session.caller(),
        )
        .await;
    match reply {
        Ok(reply) if reply.status.is_success() => Ok(Ok(())),
        Ok(reply) if matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(CliError::refused(session.name(), &reply))
        }
        // Locked tags are refused even where they have this content already.
        Ok(reply) => Ok(match session.digest_of(reference).await? {
            Some(digest) if digest == raw.digest => Ok(()),
            _ => Err(refusal(&reply)),
        }),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What the registry said, for people.
pub(super) fn refusal(reply: &RegistryResponse) -> String {
    let body: String = String::from_utf8_lossy(&reply.body).trim().chars().take(300).collect();
    format!("the registry refused (HTTP {}: {body})", reply.status.as_u16())
}
