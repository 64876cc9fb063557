//! Taking entries that are gone off referrers tags: clients that keep such a tag put the whole list again, which registries refuse where
//! it names what is gone.

use crate::cli::error::CliError;
use crate::cli::put::{put, unchanged};
use crate::cli::session::Session;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference, ReferrersTagIndex, tag_scheme};
use crate::registry::RawManifest;

use super::delete::DeletionOutcome;
use super::judge::Stale;
use super::read;

/// Writes one list without what is still gone, unless somebody else wrote it meanwhile.
pub(super) async fn mend(session: &Session, stale: &Stale) -> Result<DeletionOutcome, CliError> {
    let reference = Reference::Tag(stale.tag.clone());
    let raw = session
        .raw_manifest(&reference)
        .await?
        .filter(|raw| raw.digest == stale.digest);
    let link = tag_scheme::parse(stale.tag.as_str());
    let index = raw
        .zip(link)
        .and_then(|(raw, link)| ReferrersTagIndex::of_tag(&link.subject, &raw.media_type, &raw.bytes));
    let back = read::existing_now(session, stale.entries.clone()).await?;
    let (Some(mut index), true) = (index, back.is_empty()) else {
        return Ok(DeletionOutcome::Alive);
    };
    for gone in &stale.entries {
        index.remove(gone);
    }
    let Some(etag) = unchanged(session, &stale.tag, Some(&stale.digest)).await? else {
        return Ok(DeletionOutcome::Alive);
    };
    let bytes = index.print();
    let mended = RawManifest {
        digest: Digest::sha256(&bytes),
        media_type: OCI_IMAGE_INDEX.to_owned(),
        bytes,
    };
    Ok(match put(session, &reference, mended, etag.as_ref()).await? {
        Ok(()) => DeletionOutcome::Mended,
        Err(problem) => DeletionOutcome::NotMended(problem),
    })
}
