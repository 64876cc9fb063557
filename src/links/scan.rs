//! One scan: every source is asked, and a source that cannot answer fails the whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Depth, LinksConfig};
use crate::oci::tag_scheme::{self, CosignKind};
use crate::oci::{Descriptor, Dialect, Digest, Links, SubjectKey};
use crate::upstream::{Answer, Native, TagNames};

use super::absent::Absences;
use super::candidate::{Candidates, What};
use super::deep::{self, Deep, DeepFlights};
use super::error::ResolveError;
use super::learned;
use super::linked_tags;
use super::listing::{Listing, Listings, Sought};
use super::manifests::Manifests;
use super::place::Place;
use super::pull_up::pull_up;
use super::tag_source;

/// Manifests of one source under way at once (design: at most 16; the upstream's own limit bounds all scans together).
pub(super) const PARALLEL: usize = 16;

/// Everything that one scan needs.
#[derive(Clone)]
pub(super) struct Scan {
    pub place: Place,
    pub subject: Digest,
    pub manifests: Manifests,
    pub listings: Listings,
    pub deep_flights: Arc<DeepFlights>,
    pub config: Arc<LinksConfig>,
    pub deep_refresh: Duration,
    pub fresh_for: Duration,
    pub absences: Absences,
    /// How long ago the search began, where it goes on with one that made all the requests that it may. What the registry
    /// said since then is not asked for again.
    pub since: Duration,
}

/// What a scan found.
pub(super) struct Scanned {
    pub links: Links,
    /// How long ago it was so: the age of the oldest listing that went into it.
    pub age: Duration,
    /// False where the upstream says that the repository does not exist: perhaps only to this caller.
    pub shareable: bool,
    /// Candidates that are not in the upstream, some of which memory alone named.
    pub gone: HashSet<Digest>,
}

/// What the tag listing told.
enum Names {
    /// Every name of the repository.
    All(Listing),
    /// The names that begin with the subject's key.
    OfSubject(Arc<TagNames>),
    /// To this caller, there is no such repository.
    NoRepository,
}

impl Names {
    fn age(&self) -> Duration {
        match self {
            Self::All(listing) => listing.age,
            Self::OfSubject(_) | Self::NoRepository => Duration::ZERO,
        }
    }
}

impl Scan {
    pub fn reads(&self, dialect: Dialect) -> bool {
        self.config.sources.contains(&dialect)
    }

    pub async fn run(&self) -> Result<Scanned, ResolveError> {
        let names = self.names().await?;
        let (tagged, deep, native) = tokio::try_join!(self.tagged(&names), self.deep(&names), self.native())?;
        let (mut candidates, mut gone) = match names {
            // What was learned from others' traffic is none of this caller's business.
            Names::NoRepository => Default::default(),
            _ => learned::find(self).await?,
        };
        for found in [native, deep.candidates, tagged] {
            candidates.merge(found);
        }
        let pulled = pull_up(self, candidates).await?;
        gone.extend(pulled.gone);
        if !deep.is_whole {
            self.read_by_names(&pulled.links);
        }
        Ok(Scanned {
            links: pulled.links,
            gone,
            age: names.age().max(deep.age).max(pulled.age).max(self.since),
            shareable: !matches!(names, Names::NoRepository),
        })
    }

    async fn names(&self) -> Result<Names, ResolveError> {
        let sought = match self.large().await {
            Some(large) => {
                let key = SubjectKey::of(&self.subject);
                let sought = self.listings.of_subject(&self.place, &key, large, self.fresh_for);
                sought.await?
            }
            None => {
                let all = self.listings.all(&self.place, self.fresh_for).await?;
                all.try_map(|listing| Ok(Sought::All(listing)))?
            }
        };
        match sought {
            Answer::Found(Sought::All(listing)) => Ok(Names::All(listing)),
            Answer::Found(Sought::OfSubject(names)) => Ok(Names::OfSubject(names)),
            Answer::Absent => Ok(Names::NoRepository),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// With more ordinary tags than this, only names are read; `None`: whatever their number, what stands behind them is.
    async fn large(&self) -> Option<usize> {
        match self.config.depth {
            Depth::Names => Some(0),
            Depth::Manifests => None,
            Depth::Auto if self.listings.is_known_large(&self.place).await => Some(0),
            Depth::Auto => Some(self.config.deep_limit),
        }
    }

    async fn tagged(&self, names: &Names) -> Result<Candidates, ResolveError> {
        match names {
            Names::All(listing) => tag_source::find(self, &listing.names).await,
            Names::OfSubject(names) => tag_source::find(self, names).await,
            Names::NoRepository => Ok(Candidates::default()),
        }
    }

    /// The candidates behind ordinary tags, as far as the depth goes.
    async fn deep(&self, names: &Names) -> Result<Deep, ResolveError> {
        let nothing = Deep {
            candidates: Candidates::default(),
            age: Duration::ZERO,
            is_whole: false,
        };
        match (names, self.config.depth) {
            // There are no tags.
            (Names::NoRepository, _) => Ok(Deep {
                is_whole: true,
                ..nothing
            }),
            (_, Depth::Names) => Ok(nothing),
            (Names::All(listing), Depth::Manifests) => deep::find(self, listing).await,
            (Names::All(listing), Depth::Auto) if self.reads_deep(listing).await => deep::find(self, listing).await,
            (Names::All(_) | Names::OfSubject(_), _) => linked_tags::find(self).await,
        }
    }

    /// Whether depth `auto` reads behind every ordinary tag of this repository.
    async fn reads_deep(&self, listing: &Listing) -> bool {
        let ordinary = listing.names.iter().filter(|name| tag_scheme::parse(name).is_none());
        let large = ordinary.take(self.config.deep_limit + 1).count() > self.config.deep_limit;
        if large {
            self.listings.remember_large(&self.place).await;
        }
        !large && deep::counts_pulls(self) != Some(true)
    }

    /// Says that what is not listed may stand behind an ordinary tag.
    fn read_by_names(&self, links: &Links) {
        self.manifests.counts.read_by_names();
        if links.referrers.is_empty() {
            tracing::info!(
                repository = %self.place.repository,
                subject = %self.subject,
                "no link tag refers to the subject; what stands behind ordinary tags was not read at this depth"
            );
        }
    }

    async fn native(&self) -> Result<Candidates, ResolveError> {
        let upstream = &self.manifests.upstream;
        let mut found = Candidates::default();
        if !self.reads(Dialect::Native) || upstream.native() == Some(false) {
            return Ok(found);
        }
        let place = &self.place;
        match upstream
            .native_referrers(&place.repository, &self.subject, &place.caller)
            .await?
        {
            Native::Supported(descriptors) => {
                for descriptor in descriptors {
                    let kind = descriptor
                        .artifact_type
                        .as_deref()
                        .and_then(CosignKind::of_artifact_type);
                    // Its annotations and artifact type are pulled up from the manifest itself, where that can be checked.
                    let named = match descriptor.digest.is_computable() {
                        true => Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size),
                        false => descriptor,
                    };
                    found.add(What::Named(named), Dialect::Native, kind);
                }
            }
            Native::Unsupported => {}
            Native::Refused(refusal) => return Err(refusal.into()),
        }
        Ok(found)
    }
}
