//! Writing what was planned.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;

use crate::cli::failure::Failure;
use crate::cli::session::Session;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference};
use crate::upstream::{RawManifest, Reply, UpstreamError};

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
    let (raw, replaces) = match &write.content {
        Content::Same(same) => {
            let Some(raw) = session.raw_manifest(&Reference::Digest(same.digest.clone())).await? else {
                return Ok(Err(format!("{} is gone meanwhile", same.digest)));
            };
            (raw, None)
        }
        Content::Index { bytes, replaces } => {
            let raw = RawManifest {
                digest: Digest::sha256(bytes),
                media_type: OCI_IMAGE_INDEX.to_owned(),
                bytes: bytes.clone(),
            };
            (raw, replaces.as_ref())
        }
    };
    put(session, &reference, raw, replaces).await
}

/// Puts the manifest under a tag that still points at what it `replaces`.
async fn put(
    session: &Session,
    reference: &Reference,
    raw: RawManifest,
    replaces: Option<&Digest>,
) -> Result<Outcome, Failure> {
    let mut etag = None;
    if let Some(replaces) = replaces {
        let head = session
            .upstream()
            .head_manifest(session.repository(), reference, session.caller())
            .await;
        match session.found(head)? {
            Some(head) if head.digest == *replaces => etag = head.etag,
            _ => return Ok(Err("somebody else wrote it meanwhile: run it again".to_owned())),
        }
    }
    let reply = session
        .upstream()
        .put_manifest_if(
            session.repository(),
            reference,
            &raw.media_type,
            raw.bytes.clone(),
            etag.as_ref(),
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
        Err(error) => Ok(Err(failed(&error))),
    }
}

fn refusal(reply: &Reply) -> String {
    let body: String = String::from_utf8_lossy(&reply.body).trim().chars().take(300).collect();
    format!("the registry refused (HTTP {}: {body})", reply.status.as_u16())
}

fn failed(error: &UpstreamError) -> String {
    error.to_string()
}
