//! The contents of the embedded registry.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};

use super::error::RegistryError;
use crate::oci::{Digest, Reference, RepositoryName, Tag};

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

#[derive(Default)]
struct Repository {
    manifests: HashMap<Digest, StoredManifest>,
    tags: HashMap<Tag, TagEntry>,
    /// Whether it ever had a tag: before its first one, Distribution answers that a repository is unknown.
    listed: bool,
    /// The blobs that were pushed or mounted into this repository. Their bytes are stored once for all repositories.
    blobs: BTreeSet<Digest>,
}

struct TagEntry {
    digest: Digest,
    /// When the tag was first pushed, counted in pushes since the start.
    since: u64,
}

/// A running upload.
#[derive(Default)]
pub(super) struct Upload {
    pub repository: Option<RepositoryName>,
    pub bytes: BytesMut,
}

/// Repositories, blobs and uploads.
#[derive(Default)]
pub struct Store {
    repositories: BTreeMap<RepositoryName, Repository>,
    blobs: HashMap<Digest, Bytes>,
    pushes: u64,
    pub(super) uploads: HashMap<String, Upload>,
}

impl Store {
    /// All repositories, sorted.
    pub fn repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.repositories.keys()
    }

    /// The tags of a repository, oldest first. `None` if it never had one.
    pub fn tags(&self, repository: &RepositoryName) -> Option<Vec<Tag>> {
        let repository = self.repositories.get(repository).filter(|r| r.listed)?;
        let mut by_age: Vec<_> = repository
            .tags
            .iter()
            .map(|(tag, tagged)| (tagged.since, tag))
            .collect();
        by_age.sort_unstable();
        Some(by_age.into_iter().map(|(_, tag)| tag.clone()).collect())
    }

    pub fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Option<&StoredManifest> {
        let repository = self.repositories.get(repository)?;
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => &repository.tags.get(tag)?.digest,
        };
        repository.manifests.get(digest)
    }

    /// All manifests of a repository, in no order.
    pub fn manifests(&self, repository: &RepositoryName) -> impl Iterator<Item = &StoredManifest> {
        let repository = self.repositories.get(repository).into_iter();
        repository.flat_map(|repository| repository.manifests.values())
    }

    /// Stores a manifest unchecked. If `reference` is a digest, it must be that of `bytes`.
    pub fn put_manifest(
        &mut self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = match reference {
            Reference::Digest(digest) if digest.matches(&bytes) == Some(true) => digest.clone(),
            Reference::Digest(_) => return Err(RegistryError::digest_invalid()),
            Reference::Tag(_) => Digest::sha256(&bytes),
        };
        self.pushes += 1;
        let since = self.pushes;
        let repository = self.repositories.entry(repository.clone()).or_default();
        if let Reference::Tag(tag) = reference {
            repository.listed = true;
            let tagged = repository.tags.entry(tag.clone());
            let tagged = tagged.or_insert_with(|| TagEntry {
                digest: digest.clone(),
                since,
            });
            tagged.digest = digest.clone();
        }
        let manifest = StoredManifest {
            digest: digest.clone(),
            media_type: media_type.to_owned(),
            bytes,
        };
        repository.manifests.insert(digest.clone(), manifest);
        Ok(digest)
    }

    /// Removes a manifest and all its tags. Returns whether there was one.
    pub fn delete_manifest(&mut self, repository: &RepositoryName, digest: &Digest) -> bool {
        let Some(repository) = self.repositories.get_mut(repository) else {
            return false;
        };
        repository.tags.retain(|_, tagged| tagged.digest != *digest);
        repository.manifests.remove(digest).is_some()
    }

    /// Removes a tag alone, which Distribution 2.8 cannot do. Returns whether there was one.
    pub fn delete_tag(&mut self, repository: &RepositoryName, tag: &Tag) -> bool {
        let repository = self.repositories.get_mut(repository);
        repository.is_some_and(|repository| repository.tags.remove(tag).is_some())
    }

    pub fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<&Bytes> {
        let shown = self.repositories.get(repository)?.blobs.contains(digest);
        self.blobs.get(digest).filter(|_| shown)
    }

    /// Whether a manifest may list `digest` as content: a blob or a manifest of the repository.
    pub fn holds(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let repository = self.repositories.get(repository);
        repository.is_some_and(|r| r.blobs.contains(digest) || r.manifests.contains_key(digest))
    }

    /// Stores a blob under its sha256 digest.
    pub fn put_blob(&mut self, repository: &RepositoryName, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        self.keep_blob(repository, digest.clone(), bytes);
        digest
    }

    pub(super) fn keep_blob(&mut self, repository: &RepositoryName, digest: Digest, bytes: Bytes) {
        let repository = self.repositories.entry(repository.clone()).or_default();
        repository.blobs.insert(digest.clone());
        self.blobs.insert(digest, bytes);
    }

    /// Mounts a blob of `from` in `repository`. Returns whether `from` has it.
    pub(super) fn mount(&mut self, repository: &RepositoryName, from: &RepositoryName, digest: &Digest) -> bool {
        let found = self.blob(from, digest).is_some();
        if found {
            let repository = self.repositories.entry(repository.clone()).or_default();
            repository.blobs.insert(digest.clone());
        }
        found
    }

    /// Removes a blob from a repository. Returns whether it was there.
    pub fn delete_blob(&mut self, repository: &RepositoryName, digest: &Digest) -> bool {
        let repository = self.repositories.get_mut(repository);
        repository.is_some_and(|repository| repository.blobs.remove(digest))
    }
}
