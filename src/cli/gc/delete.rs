//! Deleting dead link tags, each only if it is still dead.

use std::collections::BTreeSet;

use http::StatusCode;

use crate::cli::error::CliError;
use crate::cli::put::refusal;
use crate::cli::session::Session;
use crate::oci::{Digest, Reference, Tag};
use crate::registry::RegistryResponse;

use super::judge::{DeadTag, MissingContent, Verdict, keeps};
use super::read;
use super::snapshot::Snapshot;

/// What became of one dead tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeletionOutcome {
    Deleted,
    /// Together with its manifest, because the registry deletes no tag alone.
    DeletedManifest,
    /// Somebody else did it, or it went with its manifest.
    AlreadyGone,
    /// It came back to life, or was written, meanwhile.
    Alive,
    /// A list was written again without what is gone.
    Mended,
    /// Why it cannot be deleted.
    Stays(String),
    /// Why the list cannot be written.
    NotMended(String),
}

pub(super) struct Deletion<'a> {
    session: &'a Session,
    snapshot: &'a Snapshot,
    verdict: &'a Verdict,
    exists: &'a BTreeSet<Digest>,
    /// What live images need; found out when a manifest is to be deleted for the first time.
    needed: Option<BTreeSet<Digest>>,
}

impl<'a> Deletion<'a> {
    pub(super) fn new(
        session: &'a Session,
        snapshot: &'a Snapshot,
        verdict: &'a Verdict,
        exists: &'a BTreeSet<Digest>,
    ) -> Self {
        Self {
            session,
            snapshot,
            verdict,
            exists,
            needed: None,
        }
    }

    /// Deletes one after the other; a failure ends it. What was done until then is told all the same.
    pub(super) async fn run(mut self) -> (Vec<DeletionOutcome>, Result<(), CliError>) {
        let mut outcomes = Vec::new();
        for dead in &self.verdict.dead {
            match self.delete(dead).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(failure) => return (outcomes, Err(failure)),
            }
        }
        (outcomes, Ok(()))
    }

    async fn delete(&mut self, dead: &DeadTag) -> Result<DeletionOutcome, CliError> {
        let reference = Reference::Tag(dead.tag.clone());
        let now = self.session.digest_of(&reference).await?;
        if now.is_none() && dead.digest.is_some() {
            return Ok(DeletionOutcome::AlreadyGone);
        }
        if now != dead.digest || self.is_alive(dead).await? {
            return Ok(DeletionOutcome::Alive);
        }
        let reply = self.ask_to_delete(&reference).await?;
        match reply.status {
            status if status.is_success() => Ok(DeletionOutcome::Deleted),
            // Anything on the way may have said it.
            StatusCode::NOT_FOUND if self.session.digest_of(&reference).await?.is_none() && dead.digest.is_some() => {
                Ok(DeletionOutcome::AlreadyGone)
            }
            // Distribution 2.8 and GHCR delete by digest, or not at all.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.delete_manifest(dead, &reply).await
            }
            _ => Ok(DeletionOutcome::Stays(refusal(&reply))),
        }
    }

    async fn is_alive(&self, dead: &DeadTag) -> Result<bool, CliError> {
        let gone: BTreeSet<Digest> = dead.gone.digests().cloned().collect();
        let is_back = !read::existing_now(self.session, gone).await?.is_empty();
        Ok(is_back || self.content_is_back(dead).await?)
    }

    async fn content_is_back(&self, dead: &DeadTag) -> Result<bool, CliError> {
        match (&dead.gone, &dead.digest) {
            (MissingContent::Original(_), Some(envelope)) => {
                let raw = self.session.raw_manifest(&Reference::Digest(envelope.clone())).await?;
                let Some(raw) = raw else { return Ok(false) };
                let held = read::held(self.session, &raw).await?;
                Ok(held.sealed.is_some_and(|sealed| sealed.original.is_some()))
            }
            _ => Ok(false),
        }
    }

    /// The tag cannot go alone: its manifest goes with it where nothing else needs that.
    async fn delete_manifest(&mut self, dead: &DeadTag, reply: &RegistryResponse) -> Result<DeletionOutcome, CliError> {
        let Some(digest) = &dead.digest else {
            return Ok(DeletionOutcome::Stays(refusal(reply)));
        };
        let needed = match self.needed.take() {
            Some(needed) => needed,
            None => read::needed(self.session, self.snapshot).await?.digests,
        };
        let kept = keeps(self.snapshot, self.verdict, self.exists, &needed, digest);
        self.needed = Some(needed);
        let kept = match kept {
            Some(kept) => Some(kept),
            None => self
                .new_tag_of(digest)
                .await?
                .map(|tag| format!("the new tag {tag} points at the same manifest")),
        };
        if let Some(kept) = kept {
            let problem = format!("the registry deletes no tag alone, and the manifest stays: {kept}");
            return Ok(DeletionOutcome::Stays(problem));
        }
        let reference = Reference::Digest(digest.clone());
        let reply = self.ask_to_delete(&reference).await?;
        Ok(match reply.status {
            status if status.is_success() => DeletionOutcome::DeletedManifest,
            StatusCode::NOT_FOUND if self.session.digest_of(&reference).await?.is_none() => {
                DeletionOutcome::AlreadyGone
            }
            _ => DeletionOutcome::Stays(refusal(&reply)),
        })
    }

    /// A tag that was not there when the repository was read, and points at this manifest.
    async fn new_tag_of(&self, digest: &Digest) -> Result<Option<Tag>, CliError> {
        let names = self
            .session
            .upstream()
            .tags(self.session.repository(), self.session.caller())
            .await;
        let names = self.session.found(names)?.unwrap_or_default();
        for tag in names.iter().filter_map(|name| Tag::parse(name).ok()) {
            if self.snapshot.tags.contains_key(&tag) {
                continue;
            }
            if self.session.digest_of(&Reference::Tag(tag.clone())).await?.as_ref() == Some(digest) {
                return Ok(Some(tag));
            }
        }
        Ok(None)
    }

    /// Credentials that do not suffice end everything.
    async fn ask_to_delete(&self, reference: &Reference) -> Result<RegistryResponse, CliError> {
        let session = self.session;
        let reply = session
            .upstream()
            .delete_manifest(session.repository(), reference, session.caller())
            .await;
        let reply = reply.map_err(|error| session.failed(&error))?;
        match reply.status {
            StatusCode::UNAUTHORIZED => Err(CliError::refused(session.name(), &reply.into())),
            _ => Ok(reply),
        }
    }
}
