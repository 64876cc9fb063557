//! Writing what was planned.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, StatusCode};

use crate::cli::failure::Failure;
use crate::cli::session::Session;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference, Tag};
use crate::upstream::{RawManifest, Reply};

use super::plan::{Content, Plan, Write};

/// Tags written at once; each is written by nobody else here.
const PARALLEL: usize = 8;

/// What became of one write; an error is why it could not be done.
pub(super) type Outcome = Result<(), String>;

/// Writes everything, or says of each what went wrong. A refusal of the caller ends it.
pub(super) async fn apply(session: &Session, plans: &[Plan]) -> Result<Vec<Vec<Outcome>>, Failure> {
    let mut outcomes = Vec::new();
    for plan in plans {
        let writes = stream::iter(&plan.writes).map(|write| apply_one(session, write));
        outcomes.push(writes.buffered(PARALLEL).try_collect().await?);
    }
    Ok(outcomes)
}

async fn apply_one(session: &Session, write: &Write) -> Result<Outcome, Failure> {
    let reference = Reference::Tag(write.tag.clone());
    let raw = match &write.content {
        Content::Same(same) => {
            let Some(raw) = session.raw_manifest(&Reference::Digest(same.digest.clone())).await? else {
                return Ok(Err(format!("{} is gone meanwhile", same.digest)));
            };
            raw
        }
        Content::Index { bytes, .. } => RawManifest {
            digest: Digest::sha256(bytes),
            media_type: OCI_IMAGE_INDEX.to_owned(),
            bytes: bytes.clone(),
        },
    };
    let etag = match &write.content {
        Content::Same(_) => None,
        Content::Index { replaces, .. } => match unchanged(session, &write.tag, replaces.as_ref()).await? {
            Some(etag) => etag,
            None => return Ok(Err("somebody else wrote it meanwhile: run it again".to_owned())),
        },
    };
    put(session, &reference, raw, etag.as_ref()).await
}

/// The ETag, if there is one, of a tag that still points at `digest`, or that still is not there. `None` where it was written.
async fn unchanged(
    session: &Session,
    tag: &Tag,
    digest: Option<&Digest>,
) -> Result<Option<Option<HeaderValue>>, Failure> {
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

async fn put(
    session: &Session,
    reference: &Reference,
    raw: RawManifest,
    etag: Option<&HeaderValue>,
) -> Result<Outcome, Failure> {
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
            Err(Failure::refused(session.name(), &reply))
        }
        // Locked tags are refused even where they have this content already.
        Ok(reply) => Ok(match session.digest_of(reference).await? {
            Some(digest) if digest == raw.digest => Ok(()),
            _ => Err(refusal(&reply)),
        }),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn refusal(reply: &Reply) -> String {
    let body: String = String::from_utf8_lossy(&reply.body).trim().chars().take(300).collect();
    format!("the registry refused (HTTP {}: {body})", reply.status.as_u16())
}
