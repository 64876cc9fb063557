//! Removing Proposal D tags whose link a referrers tag holds, where the registry deletes a tag and leaves its manifest.
//!
//! Many registries do not: they refuse, or delete the manifest with its tags. Which this one does is tried on an index of refshim's own, and
//! each removal is looked at afterwards: a manifest that went with its tag is put back, and the work ends.

use bytes::Bytes;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::put::{put, refusal};
use crate::cli::session::Session;
use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Reference, ReferrersTagIndex, SubjectKey, Tag, tag_scheme};
use crate::registry::{RawManifest, RegistryResponse};

use super::plan::{Plan, PlannedRemoval};

/// What became of one removal; an error is why the tag stays.
pub(super) type RemovalResult = Result<(), String>;

/// Removes the tags that the plans name, each if the registry's own referrers tag holds its link.
pub(super) async fn prune(session: &Session, plans: &[Plan]) -> Result<Vec<Vec<RemovalResult>>, CliError> {
    if plans.iter().all(|plan| plan.removals.is_empty()) {
        return Ok(plans.iter().map(|_| Vec::new()).collect());
    }
    if let Err(reason) = deletes_tags_alone(session).await? {
        let stay = |plan: &Plan| plan.removals.iter().map(|_| Err(reason.clone())).collect();
        return Ok(plans.iter().map(stay).collect());
    }
    let mut outcomes = Vec::new();
    for plan in plans {
        let listed = stored_list(session, &plan.subject).await?;
        let mut removed = Vec::new();
        for removal in &plan.removals {
            let is_held = listed.as_ref().is_some_and(|index| index.holds(&removal.digest));
            removed.push(match is_held {
                true => remove(session, removal).await?,
                false => Err("the referrers tag does not hold its link".to_owned()),
            });
        }
        outcomes.push(removed);
    }
    Ok(outcomes)
}

/// The list of referrers under the referrers tag, as it is now.
async fn stored_list(session: &Session, subject: &Digest) -> Result<Option<ReferrersTagIndex>, CliError> {
    let Some(tag) = tag_scheme::referrers_tag(subject) else {
        return Ok(None);
    };
    let raw = session.raw_manifest(&Reference::Tag(tag)).await?;
    let key = SubjectKey::of(subject);
    Ok(raw.and_then(|raw| ReferrersTagIndex::of_tag(&key, &raw.media_type, &raw.bytes)))
}

async fn remove(session: &Session, removal: &PlannedRemoval) -> Result<RemovalResult, CliError> {
    let tag = Reference::Tag(removal.tag.clone());
    let raw = session.raw_manifest(&tag).await?;
    let Some(raw) = raw.filter(|raw| raw.digest == removal.digest) else {
        return Ok(Err("it was written or deleted meanwhile".to_owned()));
    };
    let reply = delete(session, &tag).await?;
    if !reply.status.is_success() {
        return Ok(Err(refusal(&reply)));
    }
    let reference = Reference::Digest(removal.digest.clone());
    if session.digest_of(&reference).await?.is_some() {
        return Ok(Ok(()));
    }
    let restored = match put(session, &tag, raw, None).await? {
        Ok(()) => "it was put back".to_owned(),
        Err(problem) => format!("it could not be put back: {problem}"),
    };
    Err(CliError::failed(format!(
        "{}: the registry deleted the manifest {} with its tag {}, although it did not do so with another; {restored}",
        session.name(),
        removal.digest,
        removal.tag
    )))
}

/// Whether the registry deletes a tag and leaves its manifest; otherwise what it did. Nothing is written where it refuses to delete a tag that is
/// not there in a way that says that it deletes none.
pub(super) async fn deletes_tags_alone(session: &Session) -> Result<Result<(), String>, CliError> {
    let name = format!("refshim-probe-{:016x}", rand::random::<u64>());
    let tag = Tag::parse(&name).map_err(|error| session.failed(&error))?;
    let tag = Reference::Tag(tag);
    let refused = |reply: &RegistryResponse| format!("no tag can be deleted without its manifest: {}", refusal(reply));
    let absent = delete(session, &tag).await?;
    let may_delete = absent.status.is_success() || absent.error().is_some_and(|stated| stated.states_absent_tag());
    if !may_delete {
        return Ok(Err(refused(&absent)));
    }
    let bytes = Bytes::from(probe_index(&name));
    let digest = Digest::sha256(&bytes);
    let raw = RawManifest {
        digest: digest.clone(),
        media_type: OCI_IMAGE_INDEX.to_owned(),
        bytes,
    };
    if let Err(problem) = put(session, &tag, raw, None).await? {
        return Ok(Err(format!(
            "it cannot be tried whether a tag can be deleted without its manifest: {problem}"
        )));
    }
    let digest = Reference::Digest(digest);
    let reply = delete(session, &tag).await?;
    let is_tag_gone = session.digest_of(&tag).await?.is_none();
    let is_manifest_there = session.digest_of(&digest).await?.is_some();
    // Of no use to anybody. Where the registry keeps it, it is an empty index without a tag.
    delete(session, &digest).await?;
    Ok(match (reply.status.is_success(), is_tag_gone, is_manifest_there) {
        (true, true, true) => Ok(()),
        (true, true, false) => Err("the registry deletes the manifest with its tag".to_owned()),
        (true, false, _) => Err("the registry accepts to delete a tag, and keeps it".to_owned()),
        (false, ..) => Err(refused(&reply)),
    })
}

/// An empty index that no other one is like.
fn probe_index(name: &str) -> String {
    json!({
        "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": [],
        "annotations": {"dev.refshim.probe": name},
    })
    .to_string()
}

async fn delete(session: &Session, reference: &Reference) -> Result<RegistryResponse, CliError> {
    let (repository, caller) = (session.repository(), session.caller());
    let deleted = session.upstream().delete_manifest(repository, reference, caller).await;
    deleted.map_err(|error| session.failed(&error))
}
