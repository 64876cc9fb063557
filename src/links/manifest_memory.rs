//! What is remembered of manifests, and when the registry last gave them.

use std::sync::Arc;

use crate::cache::{Key, Stamped};
use crate::oci::Digest;
use crate::upstream::RawManifest;

use super::manifests::Manifests;
use super::place::Place;
use super::remembered::{Given, RememberedManifest, ServedHeaders};

impl Manifests {
    /// What is remembered of the manifest with this digest, however old.
    pub async fn find(&self, place: &Place, digest: &Digest) -> Option<Stamped<RememberedManifest>> {
        self.cache.get(&Key::manifest(&place.scope, &place.epoch, digest)).await
    }

    /// The upstream just said of this very digest that it is there, to a caller who may read it.
    pub async fn confirm(&self, place: &Place, digest: &Digest, known: Arc<RememberedManifest>) {
        let confirmed = RememberedManifest {
            given: Some(self.cache.now()),
            ..(*known).clone()
        };
        let key = Key::manifest(&place.scope, &place.epoch, digest);
        self.cache.put(key, Arc::new(confirmed)).await;
    }

    pub async fn forget(&self, place: &Place, digest: &Digest) {
        self.cache
            .remove(&Key::manifest(&place.scope, &place.epoch, digest))
            .await;
    }

    /// Remembers what the upstream just gave to the caller, who is known to may read from now on.
    pub async fn remember(&self, place: &Place, raw: RawManifest, given: Given) -> Arc<RawManifest> {
        self.access.allow(place);
        self.put(place, raw, given, None).await
    }

    /// Remembers a manifest whose bytes were checked against its digest. What the upstream sent along is kept from before where
    /// `headers` are not known.
    pub async fn put(
        &self,
        place: &Place,
        raw: RawManifest,
        given: Given,
        headers: Option<ServedHeaders>,
    ) -> Arc<RawManifest> {
        let manifest = Arc::new(raw);
        if !manifest.digest.is_computable() {
            return manifest;
        }
        let key = Key::manifest(&place.scope, &place.epoch, &manifest.digest);
        let before = self.cache.get::<RememberedManifest>(&key).await;
        let before = before.filter(|before| before.vouched).map(|before| before.value);
        let remembered = RememberedManifest {
            manifest: manifest.clone(),
            headers: headers
                .or_else(|| Some(before.as_ref()?.headers.clone()))
                .unwrap_or_default(),
            given: match given {
                Given::ByDigest | Given::Sealed => Some(self.cache.now()),
                Given::ByTag => before.as_ref().and_then(|before| before.given),
            },
            is_sealed: given == Given::Sealed,
        };
        self.cache.put(key, Arc::new(remembered)).await;
        manifest
    }
}
