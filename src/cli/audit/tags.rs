//! Reading what the tags of a repository point at, once for all that an audit asks of it. A tag that cannot be read hides no other, but
//! behind it there may be links: then nothing in the repository is proven to be missing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::gc::read::{held, listed};
use crate::cli::gc::snapshot::{ReadManifest, Snapshot};
use crate::cli::progress;
use crate::cli::session::Session;
use crate::oci::{Digest, SubjectKey, Tag, tag_scheme};
use crate::registry::{RawManifest, TagNames};

/// Reads under way at once (the upstream's own limit holds as well).
const PARALLEL: usize = 16;

/// The tags that were read.
#[derive(Default)]
pub(super) struct ReadTags {
    pub(super) snapshot: Snapshot,
    /// What the registry keeps under those digests.
    pub(super) stored: BTreeMap<Digest, RawManifest>,
    /// Tags that could not be read, and why.
    pub(super) unread: Vec<(String, String)>,
}

impl ReadTags {
    /// Reads the tags among `names` that are `wanted`.
    pub(super) async fn read(session: &Session, names: &TagNames, wanted: impl Fn(&str) -> bool) -> Self {
        let mut all = Self::default();
        let mut tags = Vec::new();
        for name in names.iter().filter(|name| wanted(name)) {
            match Tag::parse(name) {
                Ok(tag) => tags.push(tag),
                Err(error) => all.unread.push((name.to_owned(), error.to_string())),
            }
        }
        let bar = progress::bar("reading tags", tags.len());
        let mut reads = stream::iter(tags)
            .map(async |tag| {
                let read = read_tag(session, &tag).await;
                (tag, read)
            })
            .buffer_unordered(PARALLEL);
        while let Some((tag, read)) = reads.next().await {
            bar.inc(1);
            match read {
                Ok(found) => all.add(tag, found),
                Err(error) => all.unread.push((tag.to_string(), error.message())),
            }
        }
        all
    }

    fn add(&mut self, tag: Tag, found: Option<(RawManifest, ReadManifest)>) {
        let digest = found.as_ref().map(|(raw, _)| raw.digest.clone());
        self.snapshot.tags.insert(tag, digest);
        if let Some((raw, held)) = found {
            self.snapshot.manifests.insert(raw.digest.clone(), held);
            self.stored.insert(raw.digest.clone(), raw);
        }
    }

    /// What of it is about these subjects alone.
    pub(super) fn about(&self, subjects: &BTreeSet<Digest>) -> Snapshot {
        let keys: BTreeSet<SubjectKey> = subjects.iter().map(SubjectKey::of).collect();
        let is_about = |tag: &Tag| tag_scheme::parse(tag.as_str()).is_some_and(|link| keys.contains(&link.subject));
        let tags = self.snapshot.tags.iter().filter(|(tag, _)| is_about(tag));
        let tags: BTreeMap<Tag, Option<Digest>> = tags.map(|(tag, target)| (tag.clone(), target.clone())).collect();
        let is_held = |digest: &Digest| subjects.contains(digest) || tags.values().flatten().any(|held| held == digest);
        let manifests = self.snapshot.manifests.iter().filter(|(digest, _)| is_held(digest));
        Snapshot {
            manifests: manifests.map(|(digest, held)| (digest.clone(), held.clone())).collect(),
            tags,
        }
    }

    /// Why nothing is proven to be missing, where that is so.
    pub(super) fn problem(&self) -> Option<String> {
        let (tag, reason) = self.unread.first()?;
        let tags = match self.unread.len() - 1 {
            0 => format!("the tag {tag}"),
            others => format!("the tag {tag} (and {others} more)"),
        };
        Some(format!("{tags} could not be read: {reason}"))
    }
}

/// What a tag points at. The registry itself is asked again about one that seems to be gone, and about an envelope whose content is.
async fn read_tag(session: &Session, tag: &Tag) -> Result<Option<(RawManifest, ReadManifest)>, CliError> {
    let stored = session
        .resolver()
        .stored(session.repository(), tag, session.caller())
        .await;
    let raw = match session.found(stored)? {
        Some(raw) => Some(RawManifest::clone(&raw)),
        None => listed(session, tag).await?,
    };
    match raw {
        Some(raw) => {
            let held = held(session, &raw).await?;
            Ok(Some((raw, held)))
        }
        None => Ok(None),
    }
}
