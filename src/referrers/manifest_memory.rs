//! What is remembered of manifests, and when the registry last gave them.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{CacheEntry, Key};
use crate::oci::Digest;
use crate::registry::RawManifest;

use super::context::RepositoryContext;
use super::manifest_store::ManifestStore;
use super::remembered::{Given, RememberedManifest, ServedHeaders};

impl ManifestStore {
    /// What is remembered of the manifest with this digest, however old.
    pub async fn find(&self, context: &RepositoryContext, digest: &Digest) -> Option<CacheEntry<RememberedManifest>> {
        self.cache
            .get(&Key::manifest(&context.repository_key, &context.epoch, digest))
            .await
    }

    /// The upstream just said of this very digest that it is there, to a caller who may read it.
    pub async fn confirm(&self, context: &RepositoryContext, digest: &Digest, known: Arc<RememberedManifest>) {
        self.confirm_as_of(context, digest, known, Some(self.cache.now())).await;
    }

    /// The same of what the upstream said at the time `given`.
    pub async fn confirm_as_of(
        &self,
        context: &RepositoryContext,
        digest: &Digest,
        known: Arc<RememberedManifest>,
        given: Option<Duration>,
    ) {
        let confirmed = RememberedManifest {
            given,
            ..(*known).clone()
        };
        let key = Key::manifest(&context.repository_key, &context.epoch, digest);
        self.cache.put(key, Arc::new(confirmed)).await;
    }

    pub async fn forget(&self, context: &RepositoryContext, digest: &Digest) {
        self.cache
            .remove(&Key::manifest(&context.repository_key, &context.epoch, digest))
            .await;
    }

    /// Remembers what the upstream just gave to the caller, who is known to may read from now on.
    pub async fn remember(&self, context: &RepositoryContext, raw: RawManifest, given: Given) -> Arc<RawManifest> {
        self.access.allow(context);
        self.put(context, raw, given, None).await
    }

    /// Remembers a manifest whose bytes were checked against its digest. What the upstream sent along is kept from before where
    /// `headers` are not known.
    pub async fn put(
        &self,
        context: &RepositoryContext,
        raw: RawManifest,
        given: Given,
        headers: Option<ServedHeaders>,
    ) -> Arc<RawManifest> {
        let manifest = Arc::new(raw);
        if !manifest.digest.is_computable() {
            return manifest;
        }
        let key = Key::manifest(&context.repository_key, &context.epoch, &manifest.digest);
        let before = self.cache.get::<RememberedManifest>(&key).await;
        let before = before.filter(|before| before.verified).map(|before| before.value);
        let remembered = RememberedManifest {
            manifest: manifest.clone(),
            headers: headers
                .or_else(|| Some(before.as_ref()?.headers.clone()))
                .unwrap_or_default(),
            given: match given {
                Given::ByDigest => Some(self.cache.now()),
                Given::Sealed(given) => given,
                Given::ByTag => before.as_ref().and_then(|before| before.given),
            },
            is_sealed: matches!(given, Given::Sealed(_)),
        };
        self.cache.put(key, Arc::new(remembered)).await;
        manifest
    }
}
