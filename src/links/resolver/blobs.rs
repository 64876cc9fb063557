//! Small blobs and indexes of refshim's own, kept for callers who may read the repository.

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::Key;
use crate::oci::{Digest, RepositoryName};
use crate::upstream::Caller;

use super::super::access::Access;
use super::super::error::ResolveError;
use super::Resolver;

impl Resolver {
    /// A small blob that is remembered, for a caller of whom it is known that it may read the repository. Costs the upstream nothing.
    pub async fn remembered_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Option<Bytes> {
        let place = self.outside(repository, caller);
        if !self.access.is_allowed(&place) {
            return None;
        }
        let found = self.cache.get::<Bytes>(&Key::blob(&place.scope, digest)).await?;
        (found.age < self.links.deep_refresh).then(|| (*found.value).clone())
    }

    /// Remembers a blob whose bytes were checked against its digest.
    pub async fn remember_blob(&self, repository: &RepositoryName, digest: &Digest, bytes: Bytes) {
        if self.deleted.is_noted(self.scope(repository), digest) {
            return;
        }
        let key = Key::blob(&self.scope(repository), digest);
        self.cache.put(key, Arc::new(bytes)).await;
    }

    pub async fn forget_blob(&self, repository: &RepositoryName, digest: &Digest) {
        self.deleted.note(self.scope(repository), digest);
        self.cache.remove(&Key::blob(&self.scope(repository), digest)).await;
    }

    /// Keeps an index that refshim made itself fetchable by its digest.
    pub async fn remember_synthesised(&self, repository: &RepositoryName, digest: &Digest, body: Bytes) {
        let key = Key::synthesised(&self.scope(repository), digest);
        self.cache.put(key, Arc::new(body)).await;
    }

    /// An index that refshim made itself, for a caller who may read the repository.
    pub async fn synthesised(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Bytes>, ResolveError> {
        let place = self.outside(repository, caller);
        let key = Key::synthesised(&place.scope, digest);
        let Some(found) = self.cache.get::<Bytes>(&key).await else {
            return Ok(None);
        };
        match self.access.check(&self.upstream, &place, Vec::new()).await? {
            Access::Allowed => Ok(Some((*found.value).clone())),
            Access::Unseen => Ok(None),
            Access::Refused(refusal) => Err(refusal.into()),
        }
    }
}
