//! Keys: what kind of thing, of which repository of which upstream, and which one of them.

use std::fmt;
use std::sync::Arc;

use super::epoch::{Epoch, WriteId};
use crate::metrics::label;
use crate::oci::weight::shared_text;

/// One repository of one upstream: nothing is ever shared beyond it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepositoryKey {
    // First what differs most.
    repository: Arc<str>,
    upstream: Arc<str>,
}

impl RepositoryKey {
    /// `upstream` identifies the registry between processes: its URL.
    pub fn new(upstream: impl Into<Arc<str>>, repository: impl Into<Arc<str>>) -> Self {
        Self {
            repository: repository.into(),
            upstream: upstream.into(),
        }
    }

    /// What it was displayed as, perhaps in another process.
    pub(super) fn from_text(text: &str) -> Self {
        let (upstream, repository) = text.rsplit_once('|').unwrap_or((text, ""));
        Self::new(upstream, repository)
    }
}

/// Repository names hold no bar, so no two pairs make the same text.
impl fmt::Display for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.upstream, self.repository)
    }
}

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

label! {
    /// What is remembered.
    pub enum Kind: "entry" {
        /// A manifest by its digest: immutable, but it can be deleted.
        Manifest = "manifest",
        /// A small blob by its digest: immutable.
        Blob = "blob",
        /// The digest that a tag pointed at.
        Tag = "tag",
        /// All tag names of a repository.
        TagList = "tag_list",
        /// The links behind a repository's ordinary tags.
        OrdinaryTags = "deep",
        /// Links learned from manifests that passed through.
        Observed = "learned",
        /// The finished list of one subject.
        Answer = "answer",
        /// An index that refshim made itself, by its digest.
        Synthesised = "synthesised",
        /// That a repository has many ordinary tags.
        Large = "large",
        /// That the registry's own referrers API has answered in a repository.
        NativeApi = "native_api",
        /// That a repository's tag listing lacks tags that are there.
        Partial = "partial",
        /// Tags that refshim wrote a while ago, by what they link to.
        Written = "written",
    }
}

/// What tells two things apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EntryId {
    pub kind: Kind,
    pub repository_key: RepositoryKey,
    /// Set for what every write makes wrong.
    pub epoch: Option<WriteId>,
    pub detail: Arc<str>,
}

impl EntryId {
    /// Bytes that it takes up; the name of the upstream is everybody's.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + shared_text(&self.repository_key.repository) + shared_text(&self.detail)
    }
}

#[derive(Clone, Debug)]
pub struct Key {
    id: EntryId,
    /// What was known to be written when the question came in; decides whether a remembered manifest or tag still counts.
    /// `None` for what no write makes wrong.
    asked_in: Option<Epoch>,
}

impl Key {
    pub fn manifest(repository_key: &RepositoryKey, asked_in: &Epoch, digest: impl Into<Arc<str>>) -> Self {
        Self {
            asked_in: Some(asked_in.clone()),
            ..Self::lasting(Kind::Manifest, repository_key, digest)
        }
    }

    pub fn blob(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Blob, repository_key, digest)
    }

    pub fn tag(repository_key: &RepositoryKey, asked_in: &Epoch, tag: impl Into<Arc<str>>) -> Self {
        Self {
            asked_in: Some(asked_in.clone()),
            ..Self::lasting(Kind::Tag, repository_key, tag)
        }
    }

    pub fn observed(repository_key: &RepositoryKey, subject: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Observed, repository_key, subject)
    }

    pub fn synthesised(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Synthesised, repository_key, digest)
    }

    pub fn large(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::Large, repository_key, "")
    }

    pub fn native_api(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::NativeApi, repository_key, "")
    }

    pub fn partial(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::Partial, repository_key, "")
    }

    pub fn written(repository_key: &RepositoryKey, subject: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Written, repository_key, subject)
    }

    pub fn tag_list(repository_key: &RepositoryKey, epoch: &Epoch) -> Self {
        Self::of_epoch(Kind::TagList, repository_key, epoch, "")
    }

    /// `listing`: what tells the listing whose tags they are from others.
    pub fn ordinary_tags(repository_key: &RepositoryKey, epoch: &Epoch, listing: impl Into<Arc<str>>) -> Self {
        Self::of_epoch(Kind::OrdinaryTags, repository_key, epoch, listing)
    }

    /// What stands behind one manifest, which no write changes.
    pub fn behind(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::OrdinaryTags, repository_key, digest)
    }

    /// The ordinary tags of a repository behind which links were found.
    pub fn linked_tags(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::OrdinaryTags, repository_key, "tags")
    }

    pub fn answer(repository_key: &RepositoryKey, epoch: &Epoch, subject: impl Into<Arc<str>>) -> Self {
        Self::of_epoch(Kind::Answer, repository_key, epoch, subject)
    }

    fn lasting(kind: Kind, repository_key: &RepositoryKey, detail: impl Into<Arc<str>>) -> Self {
        let id = EntryId {
            kind,
            repository_key: repository_key.clone(),
            epoch: None,
            detail: detail.into(),
        };
        Self { id, asked_in: None }
    }

    fn of_epoch(kind: Kind, repository_key: &RepositoryKey, epoch: &Epoch, detail: impl Into<Arc<str>>) -> Self {
        let mut key = Self::lasting(kind, repository_key, detail);
        key.id.epoch = Some(epoch.id());
        key
    }

    pub fn kind(&self) -> Kind {
        self.id.kind
    }

    pub(super) fn repository_key(&self) -> &RepositoryKey {
        &self.id.repository_key
    }

    /// Whether a write can make wrong what is remembered under it.
    pub(super) fn is_changed_by_writes(&self) -> bool {
        self.id.epoch.is_some() || self.asked_in.is_some()
    }

    pub(super) fn id(&self) -> &EntryId {
        &self.id
    }

    pub(super) fn asked_in(&self) -> Option<&Epoch> {
        self.asked_in.as_ref()
    }
}
