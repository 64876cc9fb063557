//! What the resolver is told of writes: those through refshim, those that somebody saw, and those that a moved tag betrays.

use super::Resolver;
use crate::cache::{Invalidation, SharedLock};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::registry::Caller;

impl Resolver {
    /// The upstream just gave a caller a manifest by `tag`, and said that it points at `digest`. A listing that lacks the tag later is
    /// not the whole truth. Where the tag pointed elsewhere when it was last asked, somebody moved it straight at the registry,
    /// which counts as a write.
    pub async fn saw_tag(&self, repository: &RepositoryName, tag: &Tag, digest: Option<&Digest>) {
        self.inner
            .stores
            .tags
            .seen
            .note(&self.repository_key(repository), tag, digest);
        let Some(digest) = digest else { return };
        let context = self.context(repository, &Caller::anonymous()).await;
        let known = self.inner.stores.manifests.last_target(&context, tag).await;
        if known.is_some_and(|known| known != *digest) {
            self.wrote(repository, Some(&Reference::Tag(tag.clone()))).await;
        }
    }

    /// Waits until no other process that shares the cache writes this tag under a lock ([`crate::cache::Cache::lock`]).
    pub async fn lock_tag(&self, repository: &RepositoryName, tag: &Tag) -> Option<SharedLock> {
        self.inner
            .cache
            .lock(&self.repository_key(repository), tag.as_str())
            .await
    }

    /// A tag was written, of the manifest `digest` where that is known: it lies over every listing until one shows it. To be told
    /// before [`Resolver::wrote`].
    pub async fn tag_written(&self, repository: &RepositoryName, tag: &Tag, digest: Option<&Digest>) {
        let repository_key = self.repository_key(repository);
        let digest = digest.map(Digest::as_str);
        self.inner.stores.tags.missing.is_there(&repository_key, tag);
        self.inner
            .stores
            .tags
            .written
            .written(&self.inner.cache, &repository_key, tag.as_str(), digest)
            .await;
        // Replicas whose listing lacks it, and who cannot read that it was written, are to list anew.
        if self.inner.cache.shared_health().is_some() {
            let touched = [Invalidation::Tag(tag.as_str().into())];
            self.inner.cache.wrote(&repository_key, touched).await;
        }
    }

    /// A manifest was deleted. To be told before [`Resolver::wrote`].
    pub async fn manifest_deleted(&self, repository: &RepositoryName, digest: &Digest) {
        let repository_key = self.repository_key(repository);
        self.inner.stores.tags.deleted(&repository_key);
        self.inner
            .stores
            .tags
            .written
            .gone_with(&self.inner.cache, &repository_key, digest.as_str())
            .await;
    }

    /// A tag was deleted. To be told before [`Resolver::wrote`].
    pub async fn tag_deleted(&self, repository: &RepositoryName, tag: &Tag) {
        let repository_key = self.repository_key(repository);
        self.inner.stores.tags.deleted(&repository_key);
        self.inner
            .stores
            .tags
            .written
            .gone(&self.inner.cache, &repository_key, tag.as_str())
            .await;
    }

    /// Something was written to or deleted from the repository: the next read is fresh. `touched` is what the write named: a
    /// manifest by its digest only where it was deleted.
    pub async fn wrote(&self, repository: &RepositoryName, touched: Option<&Reference>) {
        let repository_key = self.repository_key(repository);
        let are_names_gone = match touched {
            Some(Reference::Digest(tombstones)) => {
                self.inner.tombstones.note(repository_key.clone(), tombstones);
                // Whichever tags it had.
                true
            }
            Some(Reference::Tag(tag)) => self.inner.stores.tags.written.is_gone(&repository_key, tag.as_str()),
            None => false,
        };
        let gone = are_names_gone.then_some(Invalidation::TagNames);
        let touched: Vec<Invalidation> = touched.into_iter().map(touch).chain(gone).collect();
        self.inner.cache.wrote(&repository_key, touched).await;
    }

    /// Something was perhaps written or deleted: the registry failed, or did not answer. The next read asks again; while that fails,
    /// what was known before is all that there is.
    pub fn wrote_perhaps(&self, repository: &RepositoryName) {
        self.inner.cache.mark_unverified(&self.repository_key(repository));
    }

    /// The same, as somebody tells it who saw it happen. Without `touched`, it may have been anything.
    pub async fn notified(&self, repository: &RepositoryName, touched: Option<&[Reference]>) {
        let touched = match touched {
            // Which tags a manifest has, and lost, is not told with its digest.
            Some(touched) => touched.iter().map(touch).chain([Invalidation::TagNames]).collect(),
            None => vec![Invalidation::Everything],
        };
        self.inner.cache.wrote(&self.repository_key(repository), touched).await;
    }
}

fn touch(reference: &Reference) -> Invalidation {
    match reference {
        Reference::Tag(tag) => Invalidation::Tag(tag.as_str().into()),
        Reference::Digest(digest) => Invalidation::Manifest(digest.as_str().into()),
    }
}
