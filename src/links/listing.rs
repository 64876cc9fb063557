//! Tag listings: one per repository and refresh, shared by all its subjects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::{Cache, Cached, Epoch, Flights, Key, Scope, Stamped, from_json, to_json};
use crate::upstream::{Answer, TagNames, Upstream, UpstreamError};

use super::access::AccessList;
use super::place::Place;

type Listed = Result<Answer<Arc<TagNames>>, UpstreamError>;

/// All tag names as they were `age` ago.
pub(super) struct Listing {
    pub names: Arc<TagNames>,
    pub age: Duration,
}

/// How long a repository that was large is taken to be so: listing it whole again is what seeking saves.
const LARGE_FOR: Duration = Duration::from_secs(3600);

/// Marks a repository with many ordinary tags.
struct Large;

impl Cached for Large {
    fn weight(&self) -> usize {
        0
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        bytes.is_empty().then_some(Self)
    }
}

impl Cached for TagNames {
    fn weight(&self) -> usize {
        TagNames::weight(self)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(&self.iter().collect::<Vec<_>>())
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json::<Vec<String>>(&bytes).map(Self::from_iter)
    }
}

#[derive(Clone)]
pub(super) struct Listings {
    upstream: Arc<Upstream>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    /// Searches among themselves (`true`): they may be held back, which nobody else has to wait for.
    flights: Arc<Flights<(Scope, Epoch, bool), Listed>>,
}

impl Listings {
    pub fn new(upstream: Arc<Upstream>, cache: Arc<Cache>, access: Arc<AccessList>, deadline: Duration) -> Self {
        Self {
            upstream,
            cache,
            access,
            flights: Arc::new(Flights::new(deadline)),
        }
    }

    /// All tag names, at most `max_age` old. The caller must be known to be allowed where a remembered listing is used.
    pub async fn all(&self, place: &Place, max_age: Duration) -> Result<Answer<Listing>, UpstreamError> {
        if let Some(listed) = self.remembered(place).await.filter(|listed| listed.within(max_age)) {
            let (names, age) = (listed.value, listed.age);
            return Ok(Answer::Found(Listing { names, age }));
        }
        let age = Duration::ZERO;
        self.now(place).await?.try_map(|names| Ok(Listing { names, age }))
    }

    /// All tag names as they are now; concurrent questions share one listing. Where somebody else's was shared, it proves
    /// nothing about this caller.
    pub async fn now(&self, place: &Place) -> Listed {
        let flight = (place.scope.clone(), place.epoch.clone(), place.caller.searches());
        let landed = self.flights.run(flight, self.clone().list(place.clone())).await;
        let listed = landed.value.unwrap_or(Err(UpstreamError::Timeout("tag listing")));
        match listed {
            // What the leader may not read, this caller perhaps may.
            Ok(Answer::Refused(_) | Answer::Absent) if !landed.led => self.clone().list(place.clone()).await,
            // Nor do its limits hold for others, nor a search's for what is no search.
            Err(UpstreamError::Limited { .. } | UpstreamError::Paused { .. })
                if !landed.led && !self.upstream.holds_back(&place.caller) =>
            {
                self.clone().list(place.clone()).await
            }
            other => other,
        }
    }

    /// The upstream just answered this caller.
    pub fn allow(&self, place: &Place) {
        self.access.allow(place);
    }

    /// Whether the repository recently had more ordinary tags than deep reading goes through.
    pub async fn is_known_large(&self, place: &Place) -> bool {
        let marked = self.cache.get::<Large>(&Key::large(&place.scope)).await;
        marked.is_some_and(|found| found.age < LARGE_FOR)
    }

    pub async fn remember_large(&self, place: &Place) {
        self.cache.put(Key::large(&place.scope), Arc::new(Large)).await;
    }

    /// A remembered listing, however old.
    pub async fn remembered(&self, place: &Place) -> Option<Stamped<TagNames>> {
        self.cache.get(&Key::tag_list(&place.scope, &place.epoch)).await
    }

    async fn list(self, place: Place) -> Listed {
        let _turn = self.upstream.listing_turn(&place.caller).await;
        Ok(match self.upstream.tags(&place.repository, &place.caller).await? {
            Answer::Found(names) => {
                self.access.allow(&place);
                let names = Arc::new(names);
                let key = Key::tag_list(&place.scope, &place.epoch);
                self.cache.put(key, names.clone()).await;
                if self.upstream.seeks().is_none() {
                    self.calibrate(&place, &names).await;
                }
                Answer::Found(names)
            }
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    /// Learns whether listings of this upstream can seek. Not knowing costs requests, never an answer.
    async fn calibrate(&self, place: &Place, names: &TagNames) {
        if let Err(error) = self.upstream.calibrate(&place.repository, names, &place.caller).await {
            tracing::debug!(upstream = self.upstream.name(), %error, "seeking could not be calibrated");
        }
    }
}
