//! Small blobs, for callers to whom the registry gave a blob of the repository; and indexes that refshim made itself, for callers who
//! may read it.

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::Key;
use crate::oci::{Digest, RepositoryName};
use crate::registry::Caller;

use super::Resolver;
use crate::referrers::access::{RepositoryAccess, probable};
use crate::referrers::context::RepositoryContext;
use crate::referrers::error::ResolveError;
use crate::referrers::remembered::{Known, MadeIndex, RememberedBlob, ServedHeaders, SynthesisedIndex};

impl Resolver {
    /// What is remembered of a small blob, for a caller to whom the registry just gave this one or another of the repository. Costs the
    /// upstream nothing. What is not current may be given only when the upstream does not answer, or says that it is the same still.
    pub async fn known_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Option<Known<Bytes>> {
        let context = self.outside(repository, caller);
        let is_allowed = self.inner.access.may_have_blobs(&context);
        if !self.may_be_given_blobs_stale(&context) {
            return None;
        }
        let found = self
            .inner
            .cache
            .get::<RememberedBlob>(&Key::blob(&context.repository_key, digest))
            .await?;
        let fresh_for = self.inner.freshness.fresh_for;
        (found.age < self.inner.freshness.stale_if_error.max(fresh_for)).then(|| Known {
            content: found.value.bytes.clone(),
            headers: found.value.headers.clone(),
            age: found.age,
            is_current: is_allowed && found.age < fresh_for,
            is_kept_elsewhere: false,
        })
    }

    /// Whether remembered blobs may be given to this caller at least while the upstream fails.
    fn may_be_given_blobs_stale(&self, context: &RepositoryContext) -> bool {
        let stale_for = self.inner.freshness.stale_if_error;
        self.inner.access.may_have_blobs(context) || self.inner.access.anyone_had_blobs(context, stale_for)
    }

    /// The upstream just gave this caller a blob of the repository.
    pub fn allow_blobs(&self, repository: &RepositoryName, caller: &Caller) {
        self.inner.access.allow_blobs(&self.outside(repository, caller));
    }

    /// Remembers a blob that the upstream just gave, whose bytes were checked against its digest.
    pub async fn remember_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Bytes,
        headers: ServedHeaders,
    ) {
        if self.inner.tombstones.is_noted(self.repository_key(repository), digest) {
            return;
        }
        let key = Key::blob(&self.repository_key(repository), digest);
        self.inner
            .cache
            .put(key, Arc::new(RememberedBlob { bytes, headers }))
            .await;
    }

    /// The upstream just said to a caller, by a HEAD or a condition, that the blob is there.
    pub async fn confirm_blob(&self, repository: &RepositoryName, digest: &Digest) {
        let key = Key::blob(&self.repository_key(repository), digest);
        if let Some(found) = self.inner.cache.get::<RememberedBlob>(&key).await
            && !self.inner.tombstones.is_noted(self.repository_key(repository), digest)
        {
            self.inner.cache.put(key, found.value).await;
        }
    }

    /// The upstream just did not give the blob to the caller: it is gone, or withheld. Whoever may still be given it, if only during
    /// an outage, ends what is known of it; everybody else takes nothing from those who read.
    pub async fn withheld_blob(&self, repository: &RepositoryName, digest: &Digest, caller: &Caller) {
        let context = self.outside(repository, caller);
        if self.may_be_given_stale(&context) || self.may_be_given_blobs_stale(&context) {
            self.inner
                .cache
                .remove(&Key::blob(&context.repository_key, digest))
                .await;
        }
    }

    /// A blob was deleted: what is still on its way to a caller is not remembered either.
    pub async fn forget_blob(&self, repository: &RepositoryName, digest: &Digest) {
        self.inner.tombstones.note(self.repository_key(repository), digest);
        self.inner
            .cache
            .remove(&Key::blob(&self.repository_key(repository), digest))
            .await;
    }

    /// Keeps the list of what refers to `subject`, as an index that refshim made itself, fetchable by its digest.
    pub async fn remember_synthesised(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        (bytes, digest): &(Bytes, Digest),
    ) {
        let key = Key::synthesised(&self.repository_key(repository), digest);
        let (subject, bytes) = (subject.clone(), bytes.clone());
        self.inner
            .cache
            .put(key, Arc::new(SynthesisedIndex { subject, bytes }))
            .await;
    }

    /// An index that refshim made itself, for a caller who may read the repository.
    pub async fn synthesised(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<MadeIndex>, ResolveError> {
        let context = self.outside(repository, caller);
        let key = Key::synthesised(&context.repository_key, digest);
        let Some(found) = self.inner.cache.get::<SynthesisedIndex>(&key).await else {
            return Ok(None);
        };
        let probable = probable(Some(&found.value.subject), None);
        match self
            .inner
            .access
            .check(&self.inner.upstream, &context, probable)
            .await?
        {
            RepositoryAccess::Allowed => Ok(Some(MadeIndex {
                subject: found.value.subject.clone(),
                bytes: found.value.bytes.clone(),
                is_current: found.age < self.inner.freshness.fresh_for,
            })),
            RepositoryAccess::Empty | RepositoryAccess::Unseen => Ok(None),
            RepositoryAccess::Refused(refusal) => Err(refusal.into()),
        }
    }
}
