//! Keys: what kind of thing, of which repository of which upstream, and which one of them.

use std::fmt;
use std::sync::Arc;

use super::epoch::Epoch;

/// One repository of one upstream: nothing is ever shared beyond it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    pub fn new(upstream: &str, repository: &str) -> Self {
        // Upstream names hold no colon, so no two pairs make the same text.
        Self(format!("{upstream}:{repository}").into())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A manifest by its digest: immutable.
    Manifest,
    /// A small blob by its digest: immutable.
    Blob,
    /// The digest that a tag pointed at.
    Tag,
    /// All tag names of a repository.
    TagList,
    /// The links behind a repository's ordinary tags.
    Deep,
    /// Links learned from manifests that passed through.
    Learned,
    /// The finished list of one subject.
    Answer,
    /// An index that refshim made itself, by its digest.
    Synthesised,
    /// That a repository has many ordinary tags.
    Large,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    kind: Kind,
    scope: Scope,
    epoch: Option<Epoch>,
    detail: Option<Arc<str>>,
}

impl Key {
    pub fn manifest(scope: &Scope, digest: &str) -> Self {
        Self::lasting(Kind::Manifest, scope, digest)
    }

    pub fn blob(scope: &Scope, digest: &str) -> Self {
        Self::lasting(Kind::Blob, scope, digest)
    }

    pub fn tag(scope: &Scope, tag: &str) -> Self {
        Self::lasting(Kind::Tag, scope, tag)
    }

    pub fn learned(scope: &Scope, subject: &str) -> Self {
        Self::lasting(Kind::Learned, scope, subject)
    }

    pub fn synthesised(scope: &Scope, digest: &str) -> Self {
        Self::lasting(Kind::Synthesised, scope, digest)
    }

    pub fn large(scope: &Scope) -> Self {
        Self::lasting(Kind::Large, scope, "")
    }

    pub fn tag_list(scope: &Scope, epoch: Epoch) -> Self {
        Self::of_epoch(Kind::TagList, scope, epoch, None)
    }

    pub fn deep(scope: &Scope, epoch: Epoch) -> Self {
        Self::of_epoch(Kind::Deep, scope, epoch, None)
    }

    pub fn answer(scope: &Scope, epoch: Epoch, subject: &str) -> Self {
        Self::of_epoch(Kind::Answer, scope, epoch, Some(subject.into()))
    }

    fn lasting(kind: Kind, scope: &Scope, detail: &str) -> Self {
        Self {
            kind,
            scope: scope.clone(),
            epoch: None,
            detail: Some(detail.into()),
        }
    }

    fn of_epoch(kind: Kind, scope: &Scope, epoch: Epoch, detail: Option<Arc<str>>) -> Self {
        Self {
            kind,
            scope: scope.clone(),
            epoch: Some(epoch),
            detail,
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.scope.0.len() + self.detail.as_ref().map_or(0, |d| d.len())
    }
}
