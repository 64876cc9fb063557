//! The one resolver: access, cache, single flight, staleness.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Cached, Epoch, Flights, Key, Scope, Stamped, Touch, from_json, to_json};
use crate::config::{CacheConfig, LimitsConfig, LinksConfig};
use crate::oci::{Descriptor, Digest, Links, Manifest, Reference, Referrer, RepositoryName};
use crate::upstream::{Answer, Caller, RawManifest, TagNames, Upstream, UpstreamError};

use super::access::{Access, AccessList, probable};
use super::counts::{AnsweredFrom, ResolveCounts};
use super::deep::DeepFlights;
use super::deleted::Deleted;
use super::error::ResolveError;
use super::learned::Learned;
use super::listing::Listings;
use super::manifests::{Manifests, Recheck};
use super::place::Place;
use super::scan::{Scan, Scanned};
use super::subjects::{self, Subjects};
use super::warm;

/// How long one scan may take: a listing of a hundred thousand tags takes a legacy registry many seconds.
const SCAN_DEADLINE: Duration = Duration::from_secs(120);

/// A list, and how old it is where it had to be served stale.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub links: Arc<Links>,
    /// Set when the upstream could not be asked and this is what it said that long ago.
    pub stale: Option<Duration>,
}

/// What a caller may do with what is known of a repository.
enum Right {
    Read,
    /// Nothing is known of the repository yet: the scan's own requests will tell.
    Unasked,
    /// The repository does not exist to this caller.
    Unseen,
}

/// The list, and whether it may be shown to others (see [`Scanned::shareable`]).
type Answered = Result<(Arc<Links>, bool), ResolveError>;

/// Answers "what refers to this subject?" for one upstream.
#[derive(Clone)]
pub struct Resolver {
    upstream: Arc<Upstream>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    listings: Listings,
    manifests: Manifests,
    learned: Arc<Learned>,
    deleted: Arc<Deleted>,
    deep_flights: Arc<DeepFlights>,
    flights: Arc<Flights<(Scope, Epoch, Digest), Answered>>,
    links: Arc<LinksConfig>,
    freshness: CacheConfig,
}

impl Cached for bytes::Bytes {
    fn weight(&self) -> usize {
        self.len()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(self.to_vec())
    }

    /// Nobody is believed but the digest.
    fn decode(digest: &str, bytes: Self) -> Option<Self> {
        let digest = Digest::parse(digest).ok()?;
        (digest.matches(&bytes) == Some(true)).then_some(bytes)
    }
}

impl Cached for Links {
    fn weight(&self) -> usize {
        let entry = |r: &Referrer| {
            let objects = r.objects.iter().flatten().map(Descriptor::weight);
            size_of::<Referrer>() + r.descriptor.weight() + objects.sum::<usize>()
        };
        // Printed, it is kept once more.
        2 * self.referrers.iter().map(entry).sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(subject: &str, bytes: bytes::Bytes) -> Option<Self> {
        from_json::<Self>(&bytes).filter(|links| links.subject.as_str() == subject)
    }
}

impl Resolver {
    pub fn new(
        upstream: Arc<Upstream>,
        cache: Arc<Cache>,
        links: &LinksConfig,
        freshness: &CacheConfig,
        limits: &LimitsConfig,
    ) -> Self {
        let access = Arc::new(AccessList::new(freshness.access_for));
        let manifests = Manifests {
            upstream: upstream.clone(),
            cache: cache.clone(),
            limit: limits.manifest_bytes,
            counts: Arc::default(),
        };
        Self {
            listings: Listings::new(upstream.clone(), cache.clone(), access.clone(), SCAN_DEADLINE),
            upstream,
            cache,
            access,
            manifests,
            learned: Arc::default(),
            deleted: Arc::default(),
            deep_flights: Arc::new(Flights::new(SCAN_DEADLINE)),
            flights: Arc::new(Flights::new(SCAN_DEADLINE)),
            links: Arc::new(links.clone()),
            freshness: freshness.clone(),
        }
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    pub fn counts(&self) -> &ResolveCounts {
        &self.manifests.counts
    }

    /// Everything that refers to `subject`, or why that cannot be said. Never a list that may lack something.
    pub async fn resolve(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Resolved, ResolveError> {
        let mut from = AnsweredFrom::Scan;
        let resolved = self.find(repository, subject, caller, &mut from).await;
        self.counts().answered(match &resolved {
            Ok(Resolved { stale: Some(_), .. }) => AnsweredFrom::Stale,
            Ok(_) => from,
            Err(_) => AnsweredFrom::Nothing,
        });
        resolved
    }

    async fn find(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
        from: &mut AnsweredFrom,
    ) -> Result<Resolved, ResolveError> {
        let place = self.place(repository, caller).await;
        let key = Key::answer(&place.scope, &place.epoch, subject.as_str());
        let known = self.cache.get::<Links>(&key).await;
        match self.may_read(&place, subject, known.as_ref()).await {
            Ok(Right::Read) => {}
            Ok(Right::Unasked) => return self.scan_for(&place, subject).await,
            Ok(Right::Unseen) => return Ok(nothing(subject)),
            Err(ResolveError::Upstream(error)) => return self.stale_for_anyone(&place, known, error),
            Err(refused) => return Err(refused),
        }
        if let Some(known) = &known {
            if known.within(self.freshness.fresh_for) {
                *from = AnsweredFrom::Fresh;
                return Ok(fresh(known.value.clone()));
            }
            // "None" is a security statement: while the upstream can be asked, it is never served past its freshness.
            let bearable = self.freshness.fresh_for + self.freshness.stale_while_revalidate;
            if known.within(bearable) && !known.value.referrers.is_empty() {
                *from = AnsweredFrom::Refreshing;
                self.refresh_behind(&place, subject);
                return Ok(fresh(known.value.clone()));
            }
        }
        match self.scan_for(&place, subject).await {
            Err(ResolveError::Upstream(error)) => self.stale(known, error),
            other => other,
        }
    }

    /// Whether state of this repository may be used for this caller.
    async fn may_read(
        &self,
        place: &Place,
        subject: &Digest,
        known: Option<&Stamped<Links>>,
    ) -> Result<Right, ResolveError> {
        if self.access.is_allowed(place) {
            return Ok(Right::Read);
        }
        let listed = self.listings.remembered(place).await.map(|listed| listed.value);
        if known.is_none() && listed.is_none() {
            return Ok(Right::Unasked);
        }
        let tag = listed
            .as_ref()
            .filter(|names| !names.is_empty())
            .map(|names| names.get(0));
        match self
            .access
            .check(&self.upstream, place, probable(Some(subject), tag))
            .await?
        {
            Access::Allowed => Ok(Right::Read),
            Access::Unseen => Ok(Right::Unseen),
            Access::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Scans on this caller's behalf, together with everybody who asks the same.
    async fn scan_for(&self, place: &Place, subject: &Digest) -> Result<Resolved, ResolveError> {
        let flight = (place.scope.clone(), place.epoch.clone(), subject.clone());
        let work = self.clone().scan_and_remember(place.clone(), subject.clone());
        let landed = self.flights.run(flight, work).await;
        let answered = landed.value.unwrap_or_else(|| Err(ResolveError::lost()));
        match answered {
            // Also of the leader only its own request proves its right: it may have found somebody else's listing.
            Ok((links, true)) if self.access.is_allowed(place) => Ok(fresh(links)),
            Ok((links, false)) if landed.led => Ok(fresh(links)),
            Err(ResolveError::Upstream(error)) => Err(error.into()),
            Err(refused) if landed.led => Err(refused),
            // Somebody else's scan says nothing about what this caller may see: ask on its own behalf.
            _ => self.ask_alone(place, subject).await,
        }
    }

    async fn ask_alone(&self, place: &Place, subject: &Digest) -> Result<Resolved, ResolveError> {
        match self
            .access
            .check(&self.upstream, place, probable(Some(subject), None))
            .await?
        {
            Access::Refused(refusal) => Err(refusal.into()),
            Access::Allowed => {
                let key = Key::answer(&place.scope, &place.epoch, subject.as_str());
                if let Some(known) = self.cache.get::<Links>(&key).await
                    && known.within(self.freshness.fresh_for)
                {
                    return Ok(fresh(known.value));
                }
                let scan = self.clone().scan_and_remember(place.clone(), subject.clone());
                let scanned = tokio::time::timeout(SCAN_DEADLINE, scan).await;
                scanned
                    .map_err(|_| ResolveError::lost())?
                    .map(|(links, _)| fresh(links))
            }
            Access::Unseen => Ok(nothing(subject)),
        }
    }

    async fn scan_and_remember(self, place: Place, subject: Digest) -> Answered {
        // Waiting for it is part of the scan's time.
        let _turn = self.upstream.turn().await;
        let scan = Scan {
            manifests: self.manifests.clone(),
            listings: self.listings.clone(),
            deep_flights: self.deep_flights.clone(),
            config: self.links.clone(),
            deep_refresh: self.links.deep_refresh,
            fresh_for: self.freshness.fresh_for,
            subject: subject.clone(),
            place: place.clone(),
        };
        let scanned = scan.run().await;
        self.counts()
            .scanned(scanned.as_ref().ok().map(|scanned| &scanned.links));
        let Scanned { links, age, shareable } = scanned?;
        let links = Arc::new(links);
        if shareable {
            let key = Key::answer(&place.scope, &place.epoch, subject.as_str());
            self.cache.put_aged(key, links.clone(), age).await;
        }
        Ok((links, shareable))
    }

    fn refresh_behind(&self, place: &Place, subject: &Digest) {
        let flight = (place.scope.clone(), place.epoch.clone(), subject.clone());
        let work = self.clone().scan_and_remember(place.clone(), subject.clone());
        self.flights.start(flight, work);
    }

    /// What was known when the upstream fails, within its limit. A stale "none" is no answer.
    fn stale(&self, known: Option<Stamped<Links>>, error: UpstreamError) -> Result<Resolved, ResolveError> {
        match known {
            Some(known) if known.age < self.freshness.stale_if_error && !known.value.referrers.is_empty() => {
                tracing::warn!(upstream = self.upstream.name(), %error, age = ?known.age, "answered from stale state");
                Ok(Resolved {
                    links: known.value,
                    stale: Some(known.age),
                })
            }
            _ => Err(error.into()),
        }
    }

    /// The access check itself failed: only callers without credentials may get what anyone could read a while ago.
    fn stale_for_anyone(
        &self,
        place: &Place,
        known: Option<Stamped<Links>>,
        error: UpstreamError,
    ) -> Result<Resolved, ResolveError> {
        let known = known.filter(|_| self.access.anyone_was_allowed(place, self.freshness.stale_if_error));
        self.stale(known, error)
    }

    /// All tag names as they are now; concurrent questions share one listing.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Arc<TagNames>>, UpstreamError> {
        let place = self.place(repository, caller).await;
        let listed = self.listings.now(&place).await?;
        if matches!(listed, Answer::Found(_)) && !self.access.is_allowed(&place) {
            // A listing that somebody else started proves nothing about this caller.
            match self.access.check(&self.upstream, &place, Vec::new()).await? {
                Access::Allowed => {}
                Access::Unseen => return Ok(Answer::Absent),
                Access::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            }
        }
        Ok(listed)
    }

    /// Every digest of the repository that something may refer to. `None`: there is no such repository.
    pub async fn subjects(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Option<Subjects>, ResolveError> {
        let names = match self.tags(repository, caller).await? {
            Answer::Found(names) => names,
            Answer::Absent => return Ok(None),
            Answer::Refused(refusal) => return Err(refusal.into()),
        };
        let place = self.place(repository, caller).await;
        let recheck = self.links.deep_refresh;
        Ok(Some(subjects::find(&self.manifests, &place, &names, recheck).await?))
    }

    /// Reads the links of a repository before anybody asks. Returns how many link tags there are.
    pub async fn warm(&self, repository: &RepositoryName, caller: &Caller) -> Result<usize, ResolveError> {
        let place = self.place(repository, caller).await;
        let _turn = self.upstream.turn().await;
        warm::warm(&self.listings, &self.manifests, &place).await
    }

    /// A manifest on the caller's behalf, envelopes opened; by digest from the cache, once the caller is known to be allowed.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<Arc<RawManifest>>, UpstreamError> {
        let place = self.place(repository, caller).await;
        match reference {
            Reference::Tag(tag) => self.manifests.by_tag(&place, tag, Recheck::Always).await,
            Reference::Digest(digest) => {
                match self
                    .access
                    .check(&self.upstream, &place, probable(Some(digest), None))
                    .await?
                {
                    Access::Allowed => {
                        let recheck = self.links.deep_refresh;
                        self.manifests.still_there(&place, digest, recheck).await
                    }
                    Access::Unseen => Ok(Answer::Absent),
                    Access::Refused(refusal) => Ok(Answer::Refused(refusal)),
                }
            }
        }
    }

    /// The original of the manifest `digest`, which the upstream just said a tag points at, where it is an envelope.
    pub async fn original(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, ResolveError> {
        let place = self.place(repository, caller).await;
        let Answer::Found(raw) = self.manifests.by_digest(&place, digest).await? else {
            return Ok(None);
        };
        match self.manifests.open(&place, raw).await? {
            Answer::Found(original) if original.digest != *digest => Ok(Some(original)),
            Answer::Found(_) | Answer::Absent => Ok(None),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// The manifest `digest`, which the upstream just said it does not have, where an envelope keeps it.
    pub async fn enveloped(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<Arc<RawManifest>>, UpstreamError> {
        let place = self.place(repository, caller).await;
        match self.manifests.in_envelope(&place, digest).await? {
            Answer::Found(original) => Ok(Some(original)),
            Answer::Absent | Answer::Refused(_) => Ok(None),
        }
    }

    /// A manifest that is remembered, for a caller of whom it is known that it may read the repository. Costs the upstream
    /// nothing; one that may have been deleted meanwhile is not given.
    pub async fn remembered(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Option<Arc<RawManifest>> {
        let place = self.place(repository, caller).await;
        if !self.access.is_allowed(&place) {
            return None;
        }
        let found = self
            .cache
            .get::<RawManifest>(&Key::manifest(&place.scope, &place.epoch, digest.as_str()))
            .await?;
        found.within(self.links.deep_refresh).then_some(found.value)
    }

    /// The same for a small blob.
    pub async fn remembered_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Option<bytes::Bytes> {
        let place = self.outside(repository, caller);
        if !self.access.is_allowed(&place) {
            return None;
        }
        let found = self
            .cache
            .get::<bytes::Bytes>(&Key::blob(&place.scope, digest.as_str()))
            .await?;
        (found.age < self.links.deep_refresh).then(|| (*found.value).clone())
    }

    /// Remembers a blob whose bytes were checked against its digest.
    pub async fn remember_blob(&self, repository: &RepositoryName, digest: &Digest, bytes: bytes::Bytes) {
        if self.deleted.is_noted(self.scope(repository), digest) {
            return;
        }
        let key = Key::blob(&self.scope(repository), digest.as_str());
        self.cache.put(key, Arc::new(bytes)).await;
    }

    pub async fn forget_blob(&self, repository: &RepositoryName, digest: &Digest) {
        self.deleted.note(self.scope(repository), digest);
        self.cache
            .remove(&Key::blob(&self.scope(repository), digest.as_str()))
            .await;
    }

    /// Keeps an index that refshim made itself fetchable by its digest.
    pub async fn remember_synthesised(&self, repository: &RepositoryName, digest: &Digest, body: bytes::Bytes) {
        let key = Key::synthesised(&self.scope(repository), digest.as_str());
        self.cache.put(key, Arc::new(body)).await;
    }

    /// An index that refshim made itself, for a caller who may read the repository.
    pub async fn synthesised(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        caller: &Caller,
    ) -> Result<Option<bytes::Bytes>, ResolveError> {
        let place = self.outside(repository, caller);
        let key = Key::synthesised(&place.scope, digest.as_str());
        let Some(found) = self.cache.get::<bytes::Bytes>(&key).await else {
            return Ok(None);
        };
        match self.access.check(&self.upstream, &place, Vec::new()).await? {
            Access::Allowed => Ok(Some((*found.value).clone())),
            Access::Unseen => Ok(None),
            Access::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Learns from a manifest that passed through, whose bytes were checked against its digest.
    pub async fn learn(&self, repository: &RepositoryName, raw: RawManifest) {
        let place = self.place(repository, &Caller::anonymous()).await;
        if let Ok(manifest) = Manifest::parse(&raw.bytes, &raw.media_type) {
            let news = self.learned.learn(&self.cache, &place.scope, &raw, &manifest).await;
            for subject in news {
                let key = Key::answer(&place.scope, &place.epoch, subject.as_str());
                self.cache.remove(&key).await;
            }
        }
        if !self.deleted.is_noted(place.scope.clone(), &raw.digest) {
            self.manifests.remember(&place, raw).await;
        }
    }

    /// The upstream just let this caller read the repository.
    pub async fn allow(&self, repository: &RepositoryName, caller: &Caller) {
        self.access.allow(&self.outside(repository, caller));
    }

    /// The upstream just refused this caller.
    pub async fn refuse(&self, repository: &RepositoryName, caller: &Caller) {
        self.access.forget(&self.outside(repository, caller));
    }

    /// Something was written to or deleted from the repository: the next read is fresh. `touched` is what the write named.
    pub async fn wrote(&self, repository: &RepositoryName, touched: Option<&Reference>) {
        if let Some(Reference::Digest(deleted)) = touched {
            self.deleted.note(self.scope(repository), deleted);
        }
        let touched: Vec<Touch> = touched.into_iter().map(touch).collect();
        self.cache.wrote(&self.scope(repository), touched).await;
    }

    /// The same, as somebody tells it who saw it happen. Without `touched`, it may have been anything.
    pub async fn notified(&self, repository: &RepositoryName, touched: Option<&[Reference]>) {
        let touched = match touched {
            Some(touched) => touched.iter().map(touch).collect(),
            None => vec![Touch::Everything],
        };
        self.cache.wrote(&self.scope(repository), touched).await;
    }

    fn scope(&self, repository: &RepositoryName) -> Scope {
        Scope::new(self.upstream.url().as_str(), repository.as_str())
    }

    /// The place for questions that no write changes the answer of: nothing is asked of the cache for it.
    fn outside(&self, repository: &RepositoryName, caller: &Caller) -> Place {
        Place {
            epoch: Epoch::unknown(),
            repository: repository.clone(),
            scope: self.scope(repository),
            caller: caller.clone(),
        }
    }

    async fn place(&self, repository: &RepositoryName, caller: &Caller) -> Place {
        let scope = self.scope(repository);
        Place {
            epoch: self.cache.epoch(&scope).await,
            repository: repository.clone(),
            scope,
            caller: caller.clone(),
        }
    }
}

fn touch(reference: &Reference) -> Touch {
    match reference {
        Reference::Tag(tag) => Touch::Tag(tag.as_str().into()),
        Reference::Digest(digest) => Touch::Manifest(digest.as_str().into()),
    }
}

fn fresh(links: Arc<Links>) -> Resolved {
    Resolved { links, stale: None }
}

/// To this caller the repository does not exist, so nothing in it refers to anything.
fn nothing(subject: &Digest) -> Resolved {
    fresh(Arc::new(Links::new(subject.clone(), Vec::new())))
}
