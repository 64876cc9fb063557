//! Tag listings: one per repository and refresh, shared by all its subjects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cache::{Cache, Cached, Ends, Epoch, Flights, Key, Scope, Stamped, from_json, to_json};
use crate::oci::{SubjectKey, tag_scheme};
use crate::upstream::{Answer, CalibratedWithin, TagNames, TagNamesBuilder, Tags, Upstream, UpstreamError};

use super::access::AccessList;
use super::place::Place;

/// All tag names of a repository.
#[derive(Clone)]
pub(super) struct Listing {
    pub names: Arc<TagNames>,
    /// How long ago the last of them was read.
    pub age: Duration,
    /// When reading began, as time since 1970 ([`Cache::now`]): what was pushed before that and is not in it was not listed.
    pub began: Duration,
}

/// What was read for one subject.
pub(super) enum Sought {
    All(Listing),
    /// The names that begin with the subject's key.
    OfSubject(Arc<TagNames>),
}

/// What one reading of a listing brought.
#[derive(Clone)]
enum Listed {
    All(Listing),
    /// The repository is large, and each subject's names can be asked for.
    Seekable,
}

type ListingKey = (Scope, Epoch, bool, Option<usize>);
type Landing = Result<Answer<Listed>, UpstreamError>;

/// A listing as it is remembered.
pub(super) struct RememberedListing {
    pub names: Arc<TagNames>,
    /// How long reading it took.
    took: Duration,
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

#[derive(Serialize, Deserialize)]
struct StoredListing {
    took_ms: u64,
    tags: Vec<String>,
}

impl Cached for RememberedListing {
    fn weight(&self) -> usize {
        self.names.weight()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(&StoredListing {
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            tags: self.names.iter().map(str::to_owned).collect(),
        })
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        let stored = from_json::<StoredListing>(&bytes)?;
        Some(Self {
            names: Arc::new(stored.tags.iter().collect()),
            took: Duration::from_millis(stored.took_ms),
        })
    }
}

#[derive(Clone)]
pub(super) struct Listings {
    upstream: Arc<Upstream>,
    cache: Arc<Cache>,
    access: Arc<AccessList>,
    /// Searches among themselves (`true`): they may be held back, which nobody else has to wait for. With the number of ordinary
    /// tags beyond which a repository need not be read whole.
    flights: Arc<Flights<ListingKey, Landing>>,
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
        match self.fresh(place, max_age).await {
            Some(listing) => Ok(Answer::Found(listing)),
            None => self.now(place).await,
        }
    }

    /// All tag names, or where the repository is large and its listings seek, those of one subject: at most `max_age` old.
    /// A repository with more than `large` ordinary tags is, at 0 each whose listing has more than a page.
    pub async fn of_subject(
        &self,
        place: &Place,
        key: &SubjectKey,
        large: usize,
        max_age: Duration,
    ) -> Result<Answer<Sought>, UpstreamError> {
        if let Some(listing) = self.fresh(place, max_age).await {
            return Ok(Answer::Found(Sought::All(listing)));
        }
        let within = CalibratedWithin {
            age: max_age,
            since: Instant::now(),
        };
        if let Some(sought) = self.seek(place, key, within).await? {
            return Ok(sought);
        }
        match self.read(place, Some(large)).await? {
            Answer::Found(Listed::All(listing)) => return Ok(Answer::Found(Sought::All(listing))),
            Answer::Found(Listed::Seekable) => {}
            Answer::Absent => return Ok(Answer::Absent),
            Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        }
        match self.seek(place, key, within).await? {
            Some(sought) => Ok(sought),
            None => self.now(place).await?.try_map(|listing| Ok(Sought::All(listing))),
        }
    }

    /// Asks for a subject's names alone. `None`: that does not work here.
    async fn seek(
        &self,
        place: &Place,
        key: &SubjectKey,
        within: CalibratedWithin,
    ) -> Result<Option<Answer<Sought>>, UpstreamError> {
        let sought = self.upstream.tags_of(&place.repository, key, within, &place.caller);
        Ok(match sought.await? {
            Answer::Found(None) => None,
            Answer::Found(Some(names)) => {
                self.access.allow_listing(place);
                Some(Answer::Found(Sought::OfSubject(Arc::new(names))))
            }
            Answer::Absent => Some(Answer::Absent),
            Answer::Refused(refusal) => Some(Answer::Refused(refusal)),
        })
    }

    /// All tag names as they are now; concurrent questions share one listing. Where somebody else's was shared, it proves
    /// nothing about this caller.
    pub async fn now(&self, place: &Place) -> Result<Answer<Listing>, UpstreamError> {
        self.read(place, None).await?.try_map(|listed| match listed {
            Listed::All(listing) => Ok(listing),
            Listed::Seekable => Err(UpstreamError::Invalid("a tag listing that was not read".into())),
        })
    }

    async fn read(&self, place: &Place, large: Option<usize>) -> Landing {
        let flight = (place.scope.clone(), place.epoch.clone(), place.caller.searches(), large);
        let begin = || {
            self.upstream.check_listing(&place.repository, &place.caller)?;
            Ok::<_, UpstreamError>(self.clone().list(place.clone(), large))
        };
        let landed = self.flights.try_run(flight, Ends::WithLastWaiter, begin).await?;
        let listed = landed.value.unwrap_or(Err(UpstreamError::Timeout("tag listing")));
        match listed {
            // What the leader may not read, this caller perhaps may.
            Ok(Answer::Refused(_) | Answer::Absent) if !landed.led => self.clone().list(place.clone(), large).await,
            // Nor do its limits hold for others, nor a search's for what is no search.
            Err(UpstreamError::Limited { .. } | UpstreamError::Paused { .. })
                if !landed.led && !self.upstream.holds_back(&place.repository, &place.caller) =>
            {
                self.clone().list(place.clone(), large).await
            }
            other => other,
        }
    }

    /// The upstream just gave this caller a manifest.
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
    pub async fn remembered(&self, place: &Place) -> Option<Stamped<RememberedListing>> {
        self.cache.get(&Key::tag_list(&place.scope, &place.epoch)).await
    }

    async fn fresh(&self, place: &Place, max_age: Duration) -> Option<Listing> {
        let stamped = self.remembered(place).await.filter(|stamped| stamped.within(max_age))?;
        let (listed, age) = (stamped.value, stamped.age);
        Some(Listing {
            names: listed.names.clone(),
            age,
            began: self.cache.now().saturating_sub(age + listed.took),
        })
    }

    async fn list(self, place: Place, large: Option<usize>) -> Landing {
        let _permit = self.upstream.listing_permit(&place.repository, &place.caller).await?;
        let began = self.cache.now();
        let is_large = |names: &TagNamesBuilder| large.is_some_and(|most| has_more_ordinary(names, most));
        let read = self
            .upstream
            .tags_unless_seekable(&place.repository, &place.caller, is_large);
        Ok(match read.await? {
            Answer::Found(Tags::All(names)) => {
                self.access.allow_listing(&place);
                let listing = Listing {
                    names: Arc::new(names),
                    age: Duration::ZERO,
                    began,
                };
                let remembered = RememberedListing {
                    names: listing.names.clone(),
                    took: self.cache.now().saturating_sub(listing.began),
                };
                let key = Key::tag_list(&place.scope, &place.epoch);
                self.cache.put(key, Arc::new(remembered)).await;
                Answer::Found(Listed::All(listing))
            }
            Answer::Found(Tags::Seekable) => {
                self.access.allow_listing(&place);
                Answer::Found(Listed::Seekable)
            }
            Answer::Absent => Answer::Absent,
            Answer::Refused(refusal) => Answer::Refused(refusal),
        })
    }
}

/// Whether there are more than `most` tags that are no links; whatever they are, where that is none.
fn has_more_ordinary(names: &TagNamesBuilder, most: usize) -> bool {
    let ordinary = (0..names.len()).filter(|&index| tag_scheme::parse(names.get(index)).is_none());
    most == 0 || ordinary.take(most + 1).count() > most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_processes_read_when_a_listing_began() {
        let listing = RememberedListing {
            names: Arc::new(TagNames::from_iter(["a", "b"])),
            took: Duration::from_millis(1500),
        };
        let bytes: Bytes = listing.encode().unwrap().into();
        let read = RememberedListing::decode("", bytes).unwrap();
        assert_eq!((read.names, read.took), (listing.names, listing.took));
        assert!(RememberedListing::decode("", Bytes::from_static(b"[\"a\"]")).is_none());
    }
}
