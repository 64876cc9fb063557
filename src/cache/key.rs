//! Keys: which value is asked for, and the epoch in which it is.

use std::sync::Arc;

use super::entry_id::{EntryId, Kind, RepositoryKey};
use super::epoch::Epoch;

/// What is asked for. A constructor per kind says what can make such an entry wrong.
#[derive(Clone, Debug)]
pub struct Key {
    id: EntryId,
    /// The epoch when the question came in, which decides whether a cached manifest or tag is still valid. `None` for values that no write
    /// invalidates.
    asked_in: Option<Epoch>,
}

impl Key {
    /// A manifest by its digest.
    pub fn manifest(repository_key: &RepositoryKey, asked_in: &Epoch, digest: impl Into<Arc<str>>) -> Self {
        Self {
            asked_in: Some(asked_in.clone()),
            ..Self::lasting(Kind::Manifest, repository_key, digest)
        }
    }

    /// A small blob by its digest.
    pub fn blob(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Blob, repository_key, digest)
    }

    /// The digest that a tag points at.
    pub fn tag(repository_key: &RepositoryKey, asked_in: &Epoch, tag: impl Into<Arc<str>>) -> Self {
        Self {
            asked_in: Some(asked_in.clone()),
            ..Self::lasting(Kind::Tag, repository_key, tag)
        }
    }

    /// Links to a subject from manifests that passed through.
    pub fn observed(repository_key: &RepositoryKey, subject: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Observed, repository_key, subject)
    }

    /// An index that refshim built, by its digest.
    pub fn synthesised(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Synthesised, repository_key, digest)
    }

    /// What an adopted form is made of, by its digest.
    pub fn adopted(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Adopted, repository_key, digest)
    }

    /// The subject of adopted forms, as the registry serves it.
    pub fn adoption_subject(repository_key: &RepositoryKey, subject: &str) -> Self {
        Self::lasting(Kind::Adopted, repository_key, format!("subject {subject}"))
    }

    /// That the adopted forms of a repository were made, as far as one listing led to them. `listing` identifies it.
    pub fn adopted_all(repository_key: &RepositoryKey, epoch: &Epoch, listing: &str) -> Self {
        Self::of_epoch(Kind::Adopted, repository_key, epoch, format!("all {listing}"))
    }

    /// That the repository has many ordinary tags.
    pub fn large(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::Large, repository_key, "")
    }

    /// That the registry's own referrers API has answered in the repository.
    pub fn native_api(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::NativeApi, repository_key, "")
    }

    /// That the repository's tag listing lacks tags that exist.
    pub fn partial(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::Partial, repository_key, "")
    }

    /// Tags of a subject that refshim wrote in the last minutes.
    pub fn written(repository_key: &RepositoryKey, subject: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::Written, repository_key, subject)
    }

    /// All tag names of the repository.
    pub fn tag_list(repository_key: &RepositoryKey, asked_in: &Epoch) -> Self {
        Self {
            asked_in: Some(asked_in.clone()),
            ..Self::lasting(Kind::TagList, repository_key, "")
        }
    }

    /// The links behind all ordinary tags of one listing. `listing` identifies it.
    pub fn ordinary_tags(repository_key: &RepositoryKey, epoch: &Epoch, listing: impl Into<Arc<str>>) -> Self {
        Self::of_epoch(Kind::OrdinaryTags, repository_key, epoch, listing)
    }

    /// The links behind one manifest, which no write changes.
    pub fn behind(repository_key: &RepositoryKey, digest: impl Into<Arc<str>>) -> Self {
        Self::lasting(Kind::OrdinaryTags, repository_key, digest)
    }

    /// The ordinary tags of a repository behind which links were found.
    pub fn linked_tags(repository_key: &RepositoryKey) -> Self {
        Self::lasting(Kind::OrdinaryTags, repository_key, "tags")
    }

    /// The complete list of a subject's referrers.
    pub fn answer(repository_key: &RepositoryKey, epoch: &Epoch, subject: impl Into<Arc<str>>) -> Self {
        Self::of_epoch(Kind::Answer, repository_key, epoch, subject)
    }

    /// That the registry has nothing for one question of one credential, which `whose` identifies: it knows of no such repository.
    pub fn no_repository(repository_key: &RepositoryKey, epoch: &Epoch, whose: &str) -> Self {
        Self::of_epoch(Kind::Answer, repository_key, epoch, format!("nothing {whose}"))
    }

    /// That a link names this manifest, or that such a manifest lists it.
    pub fn linked(repository_key: &RepositoryKey, digest: &str) -> Self {
        Self::lasting(Kind::Observed, repository_key, format!("linked {digest}"))
    }

    /// That everything which the link tags of one listing lead to is known as linked. `listing` identifies it.
    pub fn linked_all(repository_key: &RepositoryKey, epoch: &Epoch, listing: &str) -> Self {
        Self::of_epoch(Kind::Observed, repository_key, epoch, format!("all linked {listing}"))
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

    /// The kind of value.
    pub fn kind(&self) -> Kind {
        self.id.kind
    }

    pub(super) fn repository_key(&self) -> &RepositoryKey {
        &self.id.repository_key
    }

    /// Whether a write can invalidate the value.
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
