//! `materialize --to-repository`: brings a repository's links, with what they lead to, into another, of the same registry or not: from beside the images
//! into the repository that `links.repository` names, or back.
//!
//! What a link tag names goes under the same tag, lists of referrers are put together, and what no tag names gets its Proposal D tag. With --prune, the
//! tags go from where they were, each once the other repository is seen to have it.

mod bring;
mod report;

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::output::{self, Format};
use crate::cli::progress;
use crate::cli::put::refusal;
use crate::cli::session::Session;
use crate::oci::{Digest, LinkTagKind, Reference, ReferrersTagIndex, SubjectKey, Tag, reference_type, tag_scheme};
use crate::registry::RawManifest;

use super::prune::deletes_tags_alone;
use bring::Bringing;
use report::{MovedTag, RelocationOutcome, RelocationReport};

/// Tags that are looked at at the same time.
const PARALLEL: usize = 8;

/// What is to be done.
pub(super) struct Relocation<'a> {
    pub(super) session: &'a Session,
    pub(super) to: &'a Session,
    pub(super) applies: bool,
    pub(super) prunes: bool,
}

/// A tag that the other repository is to have.
struct WantedTag {
    tag: Tag,
    raw: RawManifest,
    /// Whether the repository has it under this tag, too.
    is_tag: bool,
}

impl Relocation<'_> {
    pub(super) async fn run(&self, subjects: BTreeSet<Digest>, format: Format) -> Result<(), CliError> {
        let is_same_registry = self.to.target().registry == self.session.target().registry;
        if is_same_registry && self.to.repository() == self.session.repository() {
            return Err(CliError::usage("--to-repository must name another repository"));
        }
        let wanted = self.wanted(&subjects).await?;
        let mut moved = Vec::new();
        let bar = progress::bar("bringing links", wanted.len());
        for wanted in &wanted {
            moved.push(self.bring(wanted).await?);
            bar.inc(1);
        }
        if self.prunes && self.applies {
            self.prune(&wanted, &mut moved).await?;
        }
        let report = RelocationReport {
            reference: self.session.name(),
            to_repository: &match is_same_registry {
                true => self.to.repository().to_string(),
                false => self.to.target().repository(),
            },
            applied: self.applies,
            tags: moved,
        };
        match format {
            Format::Json => output::print_json(&report)?,
            Format::Table => output::print(&report.text())?,
        }
        match report.failed() {
            0 => Ok(()),
            failed => Err(CliError::failed(format!(
                "{}: {failed} tags were not brought, or stay; run it again, what is written stays",
                self.session.name()
            ))),
        }
    }

    /// Every tag that is to be in the other repository: lists last, because registries refuse those whose entries they do not have.
    async fn wanted(&self, subjects: &BTreeSet<Digest>) -> Result<Vec<WantedTag>, CliError> {
        let session = self.session;
        let names = session.resolver().tags(session.repository(), session.caller()).await;
        let names = session.found(names)?.unwrap_or_default();
        let keys: BTreeSet<SubjectKey> = subjects.iter().map(SubjectKey::of).collect();
        let is_one = !session.target().is_bare;
        let tags = names.iter().filter_map(|name| {
            let link = tag_scheme::parse(name)?;
            let is_wanted = !is_one || keys.contains(&link.subject);
            Tag::parse(name).ok().filter(|_| is_wanted)
        });
        let tags: Vec<Tag> = tags.collect();
        let read = stream::iter(tags).map(|tag| async move {
            let raw = session.raw_manifest(&Reference::Tag(tag.clone())).await?;
            Ok::<_, CliError>(raw.map(|raw| WantedTag { tag, raw, is_tag: true }))
        });
        let read: Vec<Option<WantedTag>> = read.buffered(PARALLEL).try_collect().await?;
        let mut wanted: Vec<WantedTag> = read.into_iter().flatten().collect();
        wanted.extend(self.untagged(subjects, &wanted).await?);
        wanted.sort_by_key(|wanted| is_list(&wanted.tag));
        Ok(wanted)
    }

    /// What refers to something and has no link tag, each under the one that it gets. What an index lists stays with that.
    async fn untagged(&self, subjects: &BTreeSet<Digest>, tagged: &[WantedTag]) -> Result<Vec<WantedTag>, CliError> {
        let known: BTreeSet<&Digest> = tagged.iter().map(|wanted| &wanted.raw.digest).collect();
        let mut untagged = Vec::new();
        for subject in subjects {
            for entry in &self.session.referrers(subject).await?.referrers {
                let digest = entry.stored_digest();
                let is_in_index = entry.adopted.as_ref().is_some_and(|original| original.is_in_index);
                if known.contains(digest) || is_in_index {
                    continue;
                }
                let raw = self.session.raw_manifest(&Reference::Digest(digest.clone())).await?;
                let Some((raw, manifest)) = raw.and_then(|raw| Some((raw.clone(), raw.parse_of_any_kind().ok()?)))
                else {
                    // It is in an envelope, which has a link tag, or a blob.
                    continue;
                };
                let kind = reference_type::reference_type_of(&manifest);
                if let Some(tag) = tag_scheme::proposal_d_tag(subject, digest, &kind) {
                    untagged.push(WantedTag {
                        tag,
                        raw,
                        is_tag: false,
                    });
                }
            }
        }
        Ok(untagged)
    }

    async fn bring(&self, wanted: &WantedTag) -> Result<MovedTag, CliError> {
        let there = self.there(&wanted.tag).await?;
        let outcome = match &there {
            Some(there) if there.digest == wanted.raw.digest => RelocationOutcome::There,
            Some(there) => match both_lists(&wanted.tag, &wanted.raw, there) {
                None => RelocationOutcome::Conflict,
                Some(merged) if merged.digest == there.digest => RelocationOutcome::There,
                Some(merged) => self.write(wanted, &merged).await?,
            },
            None => self.write(wanted, &wanted.raw).await?,
        };
        Ok(MovedTag {
            tag: wanted.tag.clone(),
            digest: wanted.raw.digest.clone(),
            outcome,
            removed: None,
            problem: None,
        })
    }

    async fn write(&self, wanted: &WantedTag, raw: &RawManifest) -> Result<RelocationOutcome, CliError> {
        if !self.applies {
            return Ok(RelocationOutcome::WouldBring);
        }
        let bringing = Bringing {
            session: self.session,
            to: self.to,
        };
        match bringing.bring(raw, &Reference::Tag(wanted.tag.clone())).await? {
            Ok(()) => {}
            Err(problem) => return Ok(RelocationOutcome::Failed(problem)),
        }
        let is_there = self
            .there(&wanted.tag)
            .await?
            .is_some_and(|there| there.digest == raw.digest);
        Ok(match is_there {
            true => RelocationOutcome::Brought,
            false => RelocationOutcome::Failed("the registry took it and does not give it".to_owned()),
        })
    }

    /// What the other repository has under this tag.
    async fn there(&self, tag: &Tag) -> Result<Option<RawManifest>, CliError> {
        let (to, reference) = (self.to, Reference::Tag(tag.clone()));
        // Perhaps nobody has pushed to it yet.
        let caller = to.caller().about_to_write();
        to.found(to.upstream().manifest(to.repository(), &reference, &caller).await)
    }

    /// Removes tags whose content the other repository has.
    async fn prune(&self, wanted: &[WantedTag], moved: &mut [MovedTag]) -> Result<(), CliError> {
        let alone = deletes_tags_alone(self.session).await?;
        for (wanted, moved) in wanted.iter().zip(moved) {
            if !wanted.is_tag || !matches!(moved.outcome, RelocationOutcome::There | RelocationOutcome::Brought) {
                continue;
            }
            let removed = match &alone {
                Ok(()) => self.remove(wanted).await?,
                Err(reason) => Err(reason.clone()),
            };
            moved.removed = Some(removed.is_ok());
            moved.problem = removed.err();
        }
        Ok(())
    }

    async fn remove(&self, wanted: &WantedTag) -> Result<Result<(), String>, CliError> {
        let (session, reference) = (self.session, Reference::Tag(wanted.tag.clone()));
        match session.digest_of(&reference).await? {
            None => return Ok(Ok(())),
            Some(now) if now != wanted.raw.digest => return Ok(Err("it was written meanwhile".to_owned())),
            Some(_) => {}
        }
        let deleted = session
            .upstream()
            .delete_manifest(session.repository(), &reference, session.caller());
        let reply = deleted.await.map_err(|error| session.failed(&error))?;
        Ok(match reply.status.is_success() {
            true => Ok(()),
            false => Err(refusal(&reply)),
        })
    }
}

fn is_list(tag: &Tag) -> bool {
    tag_scheme::parse(tag.as_str()).is_some_and(|link| link.kind == LinkTagKind::Referrers)
}

/// One list of referrers with the entries of both; `None` where one is none.
fn both_lists(tag: &Tag, ours: &RawManifest, theirs: &RawManifest) -> Option<RawManifest> {
    let key = tag_scheme::parse(tag.as_str()).filter(|_| is_list(tag))?.subject;
    let read = |raw: &RawManifest| ReferrersTagIndex::of_tag(&key, &raw.media_type, &raw.bytes);
    let (ours, mut merged) = (read(ours)?, read(theirs)?);
    let before = merged.digests().len();
    merged.take_over(&ours, &[]);
    if merged.digests().len() == before {
        return Some(theirs.clone());
    }
    let bytes = merged.print();
    Some(RawManifest {
        digest: Digest::sha256(&bytes),
        media_type: theirs.media_type.clone(),
        bytes,
    })
}
