//! Writing the tags of a plan.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::put::{put, unchanged};
use crate::cli::session::Session;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference};
use crate::registry::RawManifest;

use super::plan::{Content, Plan, PlannedLink, PlannedWrite};

/// Tags written at the same time. No two plans name the same tag.
const PARALLEL: usize = 8;

/// What became of one write; an error is why it could not be done.
pub(super) type WriteResult = crate::cli::put::Put;

/// Writes every tag, or says of each why not. A refusal of the user (401, 403) ends the work as an error.
pub(super) async fn apply(session: &Session, plans: &[Plan]) -> Result<Vec<Vec<WriteResult>>, CliError> {
    let mut outcomes = Vec::new();
    for plan in plans {
        let writes = stream::iter(&plan.writes).map(|write| apply_one(session, write));
        outcomes.push(writes.buffered(PARALLEL).try_collect().await?);
    }
    Ok(outcomes)
}

async fn apply_one(session: &Session, write: &PlannedWrite) -> Result<WriteResult, CliError> {
    let reference = Reference::Tag(write.tag.clone());
    let raw = match &write.content {
        Content::Same(same) => {
            let is_adopted = write.links.iter().any(|link| link.is_adopted);
            match content(session, &same.digest, is_adopted).await? {
                Some(raw) => raw,
                None => return Ok(Err(format!("{} was deleted meanwhile", same.digest))),
            }
        }
        Content::Index { bytes, .. } => RawManifest {
            digest: Digest::sha256(bytes),
            media_type: OCI_IMAGE_INDEX.to_owned(),
            bytes: bytes.clone(),
        },
    };
    if matches!(write.content, Content::Index { .. })
        && let Err(problem) = store(session, write.links.iter().filter(|link| link.is_adopted)).await?
    {
        return Ok(Err(problem));
    }
    let etag = match &write.content {
        Content::Same(_) => None,
        Content::Index { replaces, .. } => match unchanged(session, &write.tag, replaces.as_ref()).await? {
            Some(etag) => etag,
            None => return Ok(Err("somebody else wrote it meanwhile: run it again".to_owned())),
        },
    };
    let written = put(session, &reference, raw.clone(), etag.as_ref()).await?;
    match (&write.content, written) {
        // A refshim in front of the registry gives what the registry itself does not have.
        (Content::Index { .. }, Err(_)) => match store(session, &write.links).await? {
            Ok(()) => put(session, &reference, raw, etag.as_ref()).await,
            Err(problem) => Ok(Err(problem)),
        },
        (_, written) => Ok(written),
    }
}

/// What the registry has under this digest, or what is made of an original that it has.
async fn content(session: &Session, digest: &Digest, is_adopted: bool) -> Result<Option<RawManifest>, CliError> {
    match is_adopted {
        true => session.made(digest).await,
        false => session.raw_manifest(&Reference::Digest(digest.clone())).await,
    }
}

/// Stores what an index is to list: registries refuse one whose entries they do not have.
async fn store(session: &Session, links: impl IntoIterator<Item = &PlannedLink>) -> Result<WriteResult, CliError> {
    for link in links {
        let Some(raw) = session.made(&link.referrer).await? else {
            return Ok(Err(format!("{} was deleted meanwhile", link.referrer)));
        };
        let reference = Reference::Digest(link.referrer.clone());
        if let Err(problem) = put(session, &reference, raw, None).await? {
            return Ok(Err(problem));
        }
    }
    Ok(Ok(()))
}
