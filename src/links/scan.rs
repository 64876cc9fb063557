//! One scan: every source is asked, and a source that cannot answer fails the whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Depth, LinksConfig};
use crate::oci::tag_scheme::{self, CosignKind};
use crate::oci::{Descriptor, Dialect, Digest, Links, SubjectKey};
use crate::upstream::{Answer, Native, TagNames, UpstreamError};

use super::candidate::{Candidates, What};
use super::deep::{self, DeepFlights};
use super::error::ResolveError;
use super::learned;
use super::listing::{Listing, Listings};
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
        let (tagged, (deep, deep_age), native) =
            tokio::try_join!(self.tagged(&names), self.deep(&names), self.native())?;
        let (mut candidates, mut gone) = match names {
            // What was learned from others' traffic is none of this caller's business.
            Names::NoRepository => Default::default(),
            _ => learned::find(self).await?,
        };
        for found in [native, deep, tagged] {
            candidates.merge(found);
        }
        let (links, missing) = pull_up(self, candidates).await?;
        gone.extend(missing);
        Ok(Scanned {
            links,
            gone,
            age: names.age().max(deep_age),
            shareable: !matches!(names, Names::NoRepository),
        })
    }

    async fn names(&self) -> Result<Names, ResolveError> {
        let upstream = &self.manifests.upstream;
        if upstream.seeks() == Some(true) && self.names_only().await {
            let key = SubjectKey::of(&self.subject);
            match upstream.tags_of(&self.place.repository, &key, &self.place.caller).await {
                Ok(Answer::Found(names)) => {
                    self.listings.allow(&self.place);
                    return Ok(Names::OfSubject(Arc::new(names)));
                }
                Ok(Answer::Absent) => return Ok(Names::NoRepository),
                Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
                // It turned out not to seek after all: the whole listing decides.
                Err(UpstreamError::Invalid(_)) if upstream.seeks() != Some(true) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.listings.all(&self.place, self.fresh_for).await? {
            Answer::Found(listing) => Ok(Names::All(listing)),
            Answer::Absent => Ok(Names::NoRepository),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Whether only names are to be read, as far as that is known before listing.
    async fn names_only(&self) -> bool {
        match self.config.depth {
            Depth::Names => true,
            Depth::Manifests => false,
            Depth::Auto => self.listings.is_known_large(&self.place).await,
        }
    }

    async fn tagged(&self, names: &Names) -> Result<Candidates, ResolveError> {
        match names {
            Names::All(listing) => tag_source::find(self, &listing.names).await,
            Names::OfSubject(names) => tag_source::find(self, names).await,
            Names::NoRepository => Ok(Candidates::default()),
        }
    }

    /// The candidates behind ordinary tags, and how long ago they were there.
    async fn deep(&self, names: &Names) -> Result<(Candidates, Duration), ResolveError> {
        let nothing = (Candidates::default(), Duration::ZERO);
        let Names::All(listing) = names else {
            return Ok(nothing);
        };
        let deep = match self.config.depth {
            Depth::Names => false,
            Depth::Manifests => true,
            Depth::Auto => {
                let ordinary = listing.names.iter().filter(|name| tag_scheme::parse(name).is_none());
                let large = ordinary.take(self.config.deep_limit + 1).count() > self.config.deep_limit;
                if large {
                    self.listings.remember_large(&self.place).await;
                }
                !large
            }
        };
        if deep {
            deep::find(self, listing).await
        } else {
            Ok(nothing)
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
                    // Its annotations and artifact type are pulled up from the manifest itself.
                    let named = Descriptor::new(descriptor.media_type, descriptor.digest, descriptor.size);
                    found.add(What::Named(named), Dialect::Native, kind);
                }
            }
            Native::Unsupported => {}
            Native::Refused(refusal) => return Err(refusal.into()),
        }
        Ok(found)
    }
}
