//! Writing the tags of a plan.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::put::{put, unchanged};
use crate::cli::session::Session;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference};
use crate::registry::RawManifest;

use super::plan::{Content, Plan, PlannedWrite};

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
            let Some(raw) = session.raw_manifest(&Reference::Digest(same.digest.clone())).await? else {
                return Ok(Err(format!("{} was deleted meanwhile", same.digest)));
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
