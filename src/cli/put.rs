//! Writing a manifest under a tag, unless somebody else wrote that tag meanwhile.

use http::{HeaderValue, StatusCode};

use super::error::CliError;
use super::session::Session;
use crate::oci::{Digest, Reference, Tag};
use crate::registry::{RawManifest, RegistryResponse, WriteCondition};

/// The outcome of one write; an error says why the registry did not take it.
pub(super) type Put = Result<(), String>;

/// Whether a tag still points at `digest` (`None`: is still not there), with its `ETag` where the registry gives one. `None` where somebody
/// wrote the tag meanwhile.
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
        // A refshim in front of the registry synthesises referrers tags: such a tag is in no listing.
        (Some(_), None) => {
            let names = session.upstream().tags(repository, caller).await;
            let is_listed = session.found(names)?.is_some_and(|names| names.contains(tag.as_str()));
            Ok((!is_listed).then_some(None))
        }
        _ => Ok(None),
    }
}

/// Writes a manifest. A refusal of the user (401, 403) ends the work as an error; any other refusal is the outcome of this write.
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
            etag.and_then(WriteCondition::unchanged),
            session.caller(),
        )
        .await;
    match reply {
        Ok(reply) if reply.status.is_success() => Ok(Ok(())),
        Ok(reply) if matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(CliError::refused(session.name(), &reply.into()))
        }
        // Registries refuse to write an immutable tag again even with the content that it has.
        Ok(reply) => Ok(match session.digest_of(reference).await? {
            Some(digest) if digest == raw.digest => Ok(()),
            _ => Err(refusal(&reply)),
        }),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// A refusal in the registry's own words, at most 300 characters of them.
pub(super) fn refusal(reply: &RegistryResponse) -> String {
    let body: String = String::from_utf8_lossy(&reply.body).trim().chars().take(300).collect();
    format!("the registry refused (HTTP {}: {body})", reply.status.as_u16())
}
