//! The one resolver: what it holds, and what it is told. How it answers is in the files below it.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Epoch, Invalidation, RepositoryKey, SingleFlight};
use crate::config::{CacheConfig, LimitsConfig, LinksConfig};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::registry::{Answer, Caller, TagNames, Upstream, UpstreamError};

use super::access::AccessList;
use super::context::RepositoryContext;
use super::counts::ResolveCounts;
use super::error::ResolveError;
use super::manifest_store::ManifestStore;
use super::names::TagMemory;
use super::recently_parsed::RecentlyParsed;
use super::scan::absences::Absences;
use super::scan::sources::observed::ObservedLinkStore;
use super::scan::sources::ordinary_tags::OrdinaryTagFlights;
use super::scan::unfinished::UnfinishedSearches;
use super::subjects::{self, Subjects};
use super::tag_listings::TagListings;
use super::tombstones::Tombstones;
use super::warm;

mod blobs;
mod cached_values;
mod lookup;
mod manifest_reads;

pub use lookup::Lookup;
use lookup::ScanResult;

/// How long one scan may take: a listing of a hundred thousand tags takes a legacy registry many seconds.
const SCAN_DEADLINE: Duration = Duration::from_secs(120);

/// Answers "what refers to this subject?" for one upstream.
#[derive(Clone)]
pub struct Resolver {
    upstream: Arc<Upstream>,
    /// What the cache knows the upstream by.
    registry: Arc<str>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    listings: TagListings,
    manifests: ManifestStore,
    observed: Arc<ObservedLinkStore>,
    recently_parsed: Arc<RecentlyParsed>,
    tombstones: Arc<Tombstones>,
    absences: Absences,
    unfinished: UnfinishedSearches,
    ordinary_tag_flights: Arc<OrdinaryTagFlights>,
    tags: Arc<TagMemory>,
    flights: Arc<SingleFlight<(RepositoryKey, Epoch, Digest), ScanResult>>,
    links: Arc<LinksConfig>,
    freshness: CacheConfig,
}

impl Resolver {
    /// A resolver for one registry.
    pub fn new(
        upstream: Arc<Upstream>,
        cache: Arc<Cache>,
        links: &LinksConfig,
        freshness: &CacheConfig,
        limits: &LimitsConfig,
    ) -> Self {
        let kind = upstream.listing_kind();
        let access = Arc::new(AccessList::new(freshness.access_for, freshness.fresh_for));
        let manifests = ManifestStore {
            upstream: upstream.clone(),
            cache: cache.clone(),
            access: access.clone(),
            limit: limits.manifest_bytes,
            counts: ResolveCounts::default(),
        };
        Self {
            listings: TagListings::new(upstream.clone(), cache.clone(), access.clone(), SCAN_DEADLINE),
            registry: upstream.url().as_str().into(),
            upstream,
            cache,
            access,
            manifests,
            observed: Arc::default(),
            recently_parsed: Arc::default(),
            tombstones: Arc::default(),
            absences: Absences::default(),
            unfinished: UnfinishedSearches::default(),
            ordinary_tag_flights: Arc::new(SingleFlight::new(SCAN_DEADLINE)),
            tags: Arc::new(TagMemory::new(kind, freshness.fresh_for)),
            flights: Arc::new(SingleFlight::new(SCAN_DEADLINE)),
            links: Arc::new(links.clone()),
            freshness: freshness.clone(),
        }
    }

    /// The registry.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// What it counted since start-up.
    pub fn counts(&self) -> &ResolveCounts {
        &self.manifests.counts
    }

    /// All tag names as they are now; concurrent questions share one listing.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let context = self.context(repository, caller).await;
        let listed = self.listings.now(&context).await?;
        if matches!(listed, Answer::Found(_)) && !self.access.may_list(&context) {
            // A listing that somebody else started proves nothing about this caller.
            match self.upstream.some_tags(&context.repository, &context.caller).await? {
                // What it lists to others, it does not list to this caller.
                Answer::Found(names) if names.is_empty() => return Ok(Answer::Found(Arc::default())),
                Answer::Found(_) => self.access.allow_listing(&context),
                Answer::Absent => return Ok(Answer::Absent),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            }
        }
        match listed {
            Answer::Found(listing) => {
                if !listing.names.is_empty() {
                    self.tags.listed(&context.repository_key);
                }
                let overlaid = self
                    .tags
                    .overlaid(&self.manifests, &context, listing.names, listing.began);
                Ok(Answer::Found(overlaid.await?))
            }
            // Just pushed, and the registry's listing lags, unless it was there before: then refshim's own tags are not all.
            Answer::Absent if self.access.is_allowed(&context) && !self.tags.was_listed(&context.repository_key) => {
                let began = self.cache.now();
                let overlaid = self.tags.overlaid(&self.manifests, &context, Arc::default(), began);
                let names = overlaid.await?;
                Ok(match names.is_empty() {
                    true => Answer::Absent,
                    false => Answer::Found(names),
                })
            }
            Answer::Absent => Ok(Answer::Absent),
            Answer::Refused(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// Every digest of the repository that something may refer to. `None`: there is no such repository.
    pub async fn subjects(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Option<Subjects>, ResolveError> {
        let Some(names) = self.tags(repository, caller).await?.or_refusal()? else {
            return Ok(None);
        };
        let context = self.context(repository, caller).await;
        let recheck = self.links.deep_refresh;
        Ok(Some(subjects::find(&self.manifests, &context, &names, recheck).await?))
    }

    /// Reads the links of a repository before anybody asks. Returns how many link tags there are.
    pub async fn warm(&self, repository: &RepositoryName, caller: &Caller) -> Result<usize, ResolveError> {
        let context = self.context(repository, caller).await.searching();
        let mut permit = self.upstream.reads().queue_search(repository, caller)?;
        permit.granted().await;
        warm::warm(&self.listings, &self.manifests, &context).await
    }

    /// The upstream just gave this caller a manifest of the repository.
    pub async fn allow(&self, repository: &RepositoryName, caller: &Caller) {
        self.access.allow(&self.outside(repository, caller));
    }

    /// Whether the caller is known to be let read the repository; nobody is asked.
    pub fn is_allowed(&self, repository: &RepositoryName, caller: &Caller) -> bool {
        self.access.is_allowed(&self.outside(repository, caller))
    }

    /// The upstream just gave a caller a manifest by `tag`, and said that it points at `digest`. A listing that lacks the tag later is
    /// not the whole truth. Where the tag pointed elsewhere when it was last asked, somebody moved it straight at the registry,
    /// which counts as a write.
    pub async fn saw_tag(&self, repository: &RepositoryName, tag: &Tag, digest: Option<&Digest>) {
        self.tags.seen.note(&self.repository_key(repository), tag, digest);
        let Some(digest) = digest else { return };
        let context = self.context(repository, &Caller::anonymous()).await;
        let known = self.manifests.last_target(&context, tag).await;
        if known.is_some_and(|known| known != *digest) {
            self.wrote(repository, Some(&Reference::Tag(tag.clone()))).await;
        }
    }

    /// The upstream just refused this caller.
    pub async fn refuse(&self, repository: &RepositoryName, caller: &Caller) {
        self.access.forget(&self.outside(repository, caller));
    }

    /// A tag was written, of the manifest `digest` where that is known: it lies over every listing until one shows it. To be told
    /// before [`Resolver::wrote`].
    pub async fn tag_written(&self, repository: &RepositoryName, tag: &Tag, digest: Option<&Digest>) {
        let repository_key = self.repository_key(repository);
        let digest = digest.map(Digest::as_str);
        self.tags.missing.is_there(&repository_key, tag);
        self.tags
            .written
            .written(&self.cache, &repository_key, tag.as_str(), digest)
            .await;
    }

    /// A manifest was deleted. To be told before [`Resolver::wrote`].
    pub async fn manifest_deleted(&self, repository: &RepositoryName, digest: &Digest) {
        let repository_key = self.repository_key(repository);
        self.tags.deleted(&repository_key);
        self.tags
            .written
            .gone_with(&self.cache, &repository_key, digest.as_str())
            .await;
    }

    /// A tag was deleted. To be told before [`Resolver::wrote`].
    pub async fn tag_deleted(&self, repository: &RepositoryName, tag: &Tag) {
        let repository_key = self.repository_key(repository);
        self.tags.deleted(&repository_key);
        self.tags.written.gone(&self.cache, &repository_key, tag.as_str()).await;
    }

    /// Something was written to or deleted from the repository: the next read is fresh. `touched` is what the write named.
    pub async fn wrote(&self, repository: &RepositoryName, touched: Option<&Reference>) {
        if let Some(Reference::Digest(tombstones)) = touched {
            self.tombstones.note(self.repository_key(repository), tombstones);
        }
        let touched: Vec<Invalidation> = touched.into_iter().map(touch).collect();
        self.cache.wrote(&self.repository_key(repository), touched).await;
    }

    /// Something was perhaps written or deleted: the registry failed, or did not answer. The next read asks again; while that fails,
    /// what was known before is all that there is.
    pub fn wrote_perhaps(&self, repository: &RepositoryName) {
        self.cache.mark_unverified(&self.repository_key(repository));
    }

    /// The same, as somebody tells it who saw it happen. Without `touched`, it may have been anything.
    pub async fn notified(&self, repository: &RepositoryName, touched: Option<&[Reference]>) {
        let touched = match touched {
            Some(touched) => touched.iter().map(touch).collect(),
            None => vec![Invalidation::Everything],
        };
        self.cache.wrote(&self.repository_key(repository), touched).await;
    }

    fn repository_key(&self, repository: &RepositoryName) -> RepositoryKey {
        RepositoryKey::new(self.registry.clone(), repository)
    }

    /// The place for questions that no write changes the answer of: nothing is asked of the cache for it.
    fn outside(&self, repository: &RepositoryName, caller: &Caller) -> RepositoryContext {
        RepositoryContext {
            epoch: Epoch::outside(),
            repository: repository.clone(),
            repository_key: self.repository_key(repository),
            caller: caller.clone(),
        }
    }

    async fn context(&self, repository: &RepositoryName, caller: &Caller) -> RepositoryContext {
        let repository_key = self.repository_key(repository);
        RepositoryContext {
            epoch: self.cache.epoch(&repository_key).await,
            repository: repository.clone(),
            repository_key,
            caller: caller.clone(),
        }
    }
}

fn touch(reference: &Reference) -> Invalidation {
    match reference {
        Reference::Tag(tag) => Invalidation::Tag(tag.as_str().into()),
        Reference::Digest(digest) => Invalidation::Manifest(digest.as_str().into()),
    }
}

#[cfg(test)]
mod model_tests;
