//! The one resolver: what it holds, and what it is told. How it answers is in the files below it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Epoch, RepositoryKey};
use crate::config::{CacheConfig, Config, LimitsConfig, LinksConfig};
use crate::oci::{Digest, RepositoryName};
use crate::registry::{Caller, Upstream};

use super::access::AccessList;
use super::context::{BaseRepository, RepositoryContext};
use super::counts::ResolveCounts;
use super::error::ResolveError;
use super::manifest_store::ManifestStore;
use super::names::TagMemory;
use super::recently_parsed::RecentlyParsed;
use super::scan::absences::Absences;
use super::scan::context::Stores;
use super::scan::sources::observed::ObservedLinkStore;
use super::scan::sources::ordinary_tags::links as ordinary_tags;
use super::scan::unfinished::UnfinishedSearches;
use super::shared_work::SharedWork;
use super::subjects::{self, Subjects};
use super::tag_listings::{ListingTimes, TagListings};
use super::tombstones::Tombstones;
use super::warm;

mod adopted;
mod adopted_search;
mod blobs;
mod cached_values;
mod linked;
mod lookup;
mod manifest_reads;
mod rights;
mod searches;
mod sibling;
mod tags;
mod writes;

pub use adopted::{Recency, UnknownForm};
use adopted_search::AllFormsWork;
pub use lookup::{KnownReferrers, Lookup};
use searches::ScanResult;
pub use tags::CallersTags;

/// How long one scan may take: a listing of a hundred thousand tags takes a legacy registry many seconds.
const SCAN_DEADLINE: Duration = Duration::from_secs(120);

/// Answers "what refers to this subject?" for one upstream. A clone is the same resolver.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
    /// Of the other upstream that has the sibling repositories.
    elsewhere: Option<Arc<Inner>>,
    /// Where subjects are, where that is another registry: the resolver is asked about one of its siblings.
    base: Option<Arc<BaseRepository>>,
}

struct Inner {
    upstream: Arc<Upstream>,
    /// What the cache knows the upstream by.
    registry: Arc<str>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    stores: Arc<Stores>,
    observed: ObservedLinkStore,
    recently_parsed: RecentlyParsed,
    tombstones: Tombstones,
    unfinished: UnfinishedSearches,
    scans: SharedWork<(RepositoryKey, Epoch, Digest), ScanResult>,
    adopted_forms: AllFormsWork,
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
        let access = Arc::new(AccessList::new(freshness.access_for, freshness.fresh_for));
        let manifests = ManifestStore {
            upstream: upstream.clone(),
            cache: cache.clone(),
            access: access.clone(),
            limit: limits.manifest_bytes,
            counts: ResolveCounts::default(),
        };
        let tags = TagMemory::new(upstream.listing_kind(), freshness.fresh_for);
        let times = ListingTimes {
            patience: links.patience,
            fresh_for: freshness.fresh_for,
        };
        let stores = Stores {
            listings: TagListings::new(
                upstream.clone(),
                cache.clone(),
                access.clone(),
                tags.written.clone(),
                times,
            ),
            tags,
            ordinary_tag_work: SharedWork::new(SCAN_DEADLINE, ordinary_tags::lost),
            absences: Absences::default(),
            manifests,
            config: links.clone(),
            fresh_for: freshness.fresh_for,
        };
        let inner = Inner {
            registry: upstream.url().as_str().into(),
            upstream,
            cache,
            access,
            stores: Arc::new(stores),
            observed: ObservedLinkStore::default(),
            recently_parsed: RecentlyParsed::default(),
            tombstones: Tombstones::default(),
            unfinished: UnfinishedSearches::default(),
            scans: SharedWork::new(SCAN_DEADLINE, || Err(ResolveError::lost())),
            adopted_forms: SharedWork::new(SCAN_DEADLINE, || Err(ResolveError::lost())),
            freshness: freshness.clone(),
        };
        Self {
            inner: Arc::new(inner),
            elsewhere: None,
            base: None,
        }
    }

    /// A resolver for each upstream of `config`, in its order. They have one cache: its bounds are those of the process.
    pub fn of_all(upstreams: &[Arc<Upstream>], cache: &Arc<Cache>, config: &Config) -> Vec<Self> {
        let Ok(resolvers) = config.link_upstreams(|index, _, links_resolver: Option<Self>| {
            let (upstream, cache) = (upstreams[index].clone(), cache.clone());
            let resolver = Self::new(upstream, cache, &config.links, &config.cache, &config.limits);
            Ok::<_, Infallible>(Self {
                elsewhere: links_resolver.map(|other| other.inner),
                ..resolver
            })
        });
        resolvers
    }

    /// The resolver for what the sibling of `repository` keeps, which is asked by its own name, on behalf of `caller`.
    fn of_sibling(&self, repository: &RepositoryName, caller: &Caller) -> Self {
        let Some(other) = &self.elsewhere else {
            return self.clone();
        };
        Self {
            inner: other.clone(),
            elsewhere: None,
            base: Some(Arc::new(BaseRepository {
                upstream: self.inner.upstream.clone(),
                repository: repository.clone(),
                caller: caller.clone(),
            })),
        }
    }

    /// The registry.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.inner.upstream
    }

    /// What it counted since start-up.
    pub fn counts(&self) -> &ResolveCounts {
        &self.inner.stores.manifests.counts
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
        let recheck = self.inner.stores.config.deep_refresh;
        Ok(Some(
            subjects::find(&self.inner.stores.manifests, &context, &names, recheck).await?,
        ))
    }

    /// Reads the links of a repository before anybody asks. Returns how many link tags there are.
    pub async fn warm(&self, repository: &RepositoryName, caller: &Caller) -> Result<usize, ResolveError> {
        let context = self.context(repository, caller).await.searching();
        let mut permit = self.inner.upstream.reads().queue_search(repository, caller)?;
        permit.granted().await;
        warm::warm(&self.inner.stores.listings, &self.inner.stores.manifests, &context).await
    }

    /// The upstream just gave this caller a manifest of the repository.
    pub async fn allow(&self, repository: &RepositoryName, caller: &Caller) {
        self.inner.access.allow(&self.outside(repository, caller));
    }

    /// Whether the caller is known to be let read the repository; nobody is asked.
    pub fn is_allowed(&self, repository: &RepositoryName, caller: &Caller) -> bool {
        self.inner.access.is_allowed(&self.outside(repository, caller))
    }

    /// The upstream just refused this caller.
    pub async fn refuse(&self, repository: &RepositoryName, caller: &Caller) {
        self.inner.access.forget(&self.outside(repository, caller));
    }

    fn repository_key(&self, repository: &RepositoryName) -> RepositoryKey {
        RepositoryKey::new(self.inner.registry.clone(), repository)
    }

    /// The place for questions that no write changes the answer of: nothing is asked of the cache for it.
    fn outside(&self, repository: &RepositoryName, caller: &Caller) -> RepositoryContext {
        RepositoryContext {
            epoch: Epoch::outside(),
            repository: repository.clone(),
            repository_key: self.repository_key(repository),
            caller: caller.clone(),
            base: self.base.clone(),
        }
    }

    async fn context(&self, repository: &RepositoryName, caller: &Caller) -> RepositoryContext {
        let repository_key = self.repository_key(repository);
        RepositoryContext {
            epoch: self.inner.cache.epoch(&repository_key).await,
            repository: repository.clone(),
            repository_key,
            caller: caller.clone(),
            base: self.base.clone(),
        }
    }
}

#[cfg(test)]
mod model_tests;
