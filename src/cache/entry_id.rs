//! Which value a key is for: the upstream, the repository, the kind of value, and which one of its kind.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::write::{Invalidation, WriteId};
use crate::metrics::label;
use crate::oci::weight::shared_text;

/// One repository of one upstream. Cached values are never shared between repositories.
#[derive(Clone, PartialEq, Eq)]
pub struct RepositoryKey {
    // The member that differs most comes first, for fast comparison.
    repository: Arc<str>,
    upstream: Arc<str>,
}

impl RepositoryKey {
    /// `upstream` is the registry's URL, which is the same in all processes.
    pub fn new(upstream: impl Into<Arc<str>>, repository: impl Into<Arc<str>>) -> Self {
        Self {
            repository: repository.into(),
            upstream: upstream.into(),
        }
    }

    /// Parses the text that [`fmt::Display`] prints, perhaps from another process.
    pub(super) fn from_text(text: &str) -> Self {
        let (upstream, repository) = text.rsplit_once('|').unwrap_or((text, ""));
        Self::new(upstream, repository)
    }
}

/// By the repository alone: few upstreams have one of the same name, and every request looks several keys up.
impl Hash for RepositoryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.repository.hash(state);
    }
}

/// Repository names contain no `|`, so different pairs have different texts.
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
    /// The kinds of cached values.
    pub enum Kind: "entry" {
        /// A manifest by its digest. It never changes, but can be deleted.
        Manifest = "manifest",
        /// A small blob by its digest, which never changes.
        Blob = "blob",
        /// The digest that a tag pointed at.
        Tag = "tag",
        /// All tag names of a repository.
        TagList = "tag_list",
        /// The links behind a repository's ordinary tags.
        OrdinaryTags = "deep",
        /// Links from manifests that passed through refshim.
        Observed = "learned",
        /// The complete list of one subject's referrers.
        Answer = "answer",
        /// An index that refshim made itself, by its digest.
        Synthesised = "synthesised",
        /// What an adopted form is made of, by its digest.
        Adopted = "adopted",
        /// That a repository has many ordinary tags.
        Large = "large",
        /// That the registry's own referrers API has answered in a repository.
        NativeApi = "native_api",
        /// That a repository's tag listing lacks tags that exist.
        Partial = "partial",
        /// Tags that refshim wrote a while ago, by what they link to.
        Written = "written",
    }
}

/// The part of a key that identifies the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EntryId {
    pub kind: Kind,
    pub repository_key: RepositoryKey,
    /// Set for values that every write invalidates.
    pub epoch: Option<WriteId>,
    pub detail: Arc<str>,
}

impl EntryId {
    /// Bytes of memory that it uses, without the upstream's name, which all keys share.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + shared_text(&self.repository_key.repository) + shared_text(&self.detail)
    }

    /// Whether a write that named this may have changed the value.
    pub fn is_named_by(&self, touched: &Invalidation) -> bool {
        match touched {
            Invalidation::Tag(tag) => self.kind == Kind::Tag && *tag == self.detail,
            Invalidation::Manifest(digest) => self.kind == Kind::Manifest && *digest == self.detail,
            Invalidation::TagNames | Invalidation::Everything => false,
        }
    }

    /// Whether the write may have changed the value although it did not name it.
    pub fn may_be_changed_by(&self, touched: &Invalidation) -> bool {
        match touched {
            Invalidation::Tag(_) | Invalidation::Manifest(_) => false,
            Invalidation::TagNames => self.kind == Kind::TagList,
            Invalidation::Everything => true,
        }
    }
}
