//! One scan: every source is asked, and a source that cannot answer fails the whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::Depth;
use crate::oci::{Digest, ReferrerList, tag_scheme};
use crate::registry::{Answer, NativeSupport};

use super::adopted::KnownReferences;
use super::candidates::Candidates;
use super::context::Scan;
use super::entries::verified_entries;
use super::sources::link_tags;
use super::sources::observed;
use super::sources::ordinary_tags;
use super::sources::ordinary_tags::links::{OrdinaryTagCandidates, ReferredTo};
use super::sources::tags_with_links;
use crate::referrers::basis::{self, Basis};
use crate::referrers::error::ResolveError;
use crate::referrers::names::{self, ListingAnswer, ScannedNames};
use crate::referrers::own_api::{self, FirstAnswer, OwnApiAnswer};
use crate::referrers::tag_listings::AgedTagNames;

/// What a scan found.
pub(in crate::referrers) struct Scanned {
    pub links: Arc<ReferrerList>,
    /// How long ago it was so: the age of the oldest listing that went into it.
    pub age: Duration,
    /// False where it rests on what the upstream told this caller alone: that the repository does not exist, or that it may not
    /// be listed, or the subject not be read.
    pub shareable: bool,
    /// Whether the upstream refused this caller the subject: it may read nothing at all.
    pub is_subject_refused: bool,
    /// What others must be told too before this is their list as well.
    pub basis: Basis,
    /// See [`Scan::is_withheld`].
    pub is_withheld: bool,
    /// Whether the registry listed the repository to the caller, without any tag in it.
    pub listed_empty: bool,
    /// False where the next question may find more, so that the answer is not remembered.
    pub lasting: bool,
    /// Candidates that are not in the upstream, some of which memory alone named.
    pub gone: HashSet<Digest>,
}

/// How a scan ended, and what it proved on the way, also where it failed.
pub(in crate::referrers) struct ScanReport {
    pub found: Result<Scanned, ResolveError>,
    /// When the registry gave the caller a manifest, as time since 1970: it could read then. To be granted by whoever ran the scan.
    pub read_proven: Option<Duration>,
}

impl Scan {
    pub async fn run(&self) -> ScanReport {
        let found = self.search().await;
        ScanReport {
            found,
            read_proven: self.read_proven(),
        }
    }

    async fn search(&self) -> Result<Scanned, ResolveError> {
        let (own_api, mut names) = self.own_api_and_names().await?;
        let is_seen = self.may_use_what_is_known(&own_api, &mut names).await?;
        let (tagged, ordinary_tags, own_api) = tokio::try_join!(
            link_tags::find(self, &names),
            self.ordinary_tags(&names),
            self.settled(own_api, &names)
        )?;
        let (mut candidates, mut gone) = match is_seen {
            true => observed::find(self).await?,
            // What was learned from others' traffic is none of this caller's business.
            false => Default::default(),
        };
        for found in [own_api.found, ordinary_tags.candidates, tagged] {
            candidates.merge(found);
        }
        let references = KnownReferences {
            names: &names,
            behind_tags: &ordinary_tags.referred_to,
            observed: is_seen,
        };
        let pulled = verified_entries(self, candidates, &references).await?;
        gone.extend(pulled.gone);
        if !ordinary_tags.is_whole {
            self.read_by_names(&pulled.links);
        }
        let is_withheld = self.is_withheld.load(Ordering::Relaxed);
        Ok(Scanned {
            links: Arc::new(pulled.links),
            gone,
            age: names.age().max(ordinary_tags.age).max(pulled.age).max(self.since),
            shareable: is_seen && !matches!(names.listed, ListingAnswer::Refused(_)) && !self.subject_is_refused(),
            is_subject_refused: self.subject_is_refused(),
            basis: Basis {
                names: basis::given_of(names.fingerprint(&self.subject), self.missing()),
                anonymous: self.context.caller.is_anonymous(),
                own_api: own_api.said,
            },
            is_withheld,
            listed_empty: matches!(&names.listed, ListingAnswer::All(listing) if listing.names.is_empty()),
            lasting: !is_withheld && !self.is_unsettled.load(Ordering::Relaxed),
        })
    }

    /// Where it is not known whether the registry has an API of its own, the listing is asked for after it.
    async fn own_api_and_names(&self) -> Result<(FirstAnswer, ScannedNames), ResolveError> {
        let known = own_api::support(self).await;
        if known != NativeSupport::Unknown {
            let (own_api, names) = tokio::join!(own_api::ask(self, known), names::find(self, self.stores.fresh_for));
            let names = names?;
            return Ok((own_api?, names));
        }
        match own_api::ask(self, known).await {
            Ok(own_api) => {
                let max_age = match own_api {
                    FirstAnswer::Doubtful(_) if !self.still_lists().await? => Duration::ZERO,
                    FirstAnswer::Doubtful(_) | FirstAnswer::Complete(_) | FirstAnswer::NotAsked(_) => {
                        self.stores.fresh_for
                    }
                };
                Ok((own_api, names::find(self, max_age).await?))
            }
            // Whoever may not list either is told so.
            Err(refused @ ResolveError::Refused(_)) => match names::find(self, self.stores.fresh_for).await?.listed {
                ListingAnswer::Refused(refusal) => Err(refusal.into()),
                _ => Err(refused),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether a listing of many pages is fresh and the registry still gives the first of them. Then it need not be listed anew only
    /// because it is to be asked for after the API.
    async fn still_lists(&self) -> Result<bool, ResolveError> {
        let (upstream, context) = (&self.stores.manifests.upstream, &self.context);
        let remembered = self.stores.listings.remembered(context).await;
        let is_fresh = remembered
            .is_some_and(|listing| listing.value.listing.page_count() > 0 && listing.within(self.stores.fresh_for));
        if !is_fresh {
            return Ok(false);
        }
        let caller = match upstream.has_listing_account() {
            true => context.caller.listing_account(),
            false => context.caller.clone(),
        };
        let first = upstream.first_tags(&context.repository, &caller).await?;
        Ok(matches!(first, Answer::Found(first) if first.others_follow))
    }

    async fn settled(&self, own_api: FirstAnswer, names: &ScannedNames) -> Result<OwnApiAnswer, ResolveError> {
        match own_api {
            FirstAnswer::NotAsked(said) => Ok(OwnApiAnswer::none(said)),
            FirstAnswer::Complete(answer) => Ok(answer),
            FirstAnswer::Doubtful(doubt) => {
                let is_absent = matches!(names.listed, ListingAnswer::NoRepository);
                own_api::settle(self, doubt, is_absent).await
            }
        }
    }

    /// What is referred to from behind the ordinary tags of a listing, as far as the depth goes.
    pub async fn referred_to(&self, listing: AgedTagNames) -> Result<ReferredTo, ResolveError> {
        let names = ScannedNames {
            began: listing.began,
            listed: ListingAnswer::All(listing),
            written: Vec::new(),
            computed: Vec::new(),
        };
        Ok(self.ordinary_tags(&names).await?.referred_to)
    }

    /// The candidates behind ordinary tags, as far as the depth goes.
    async fn ordinary_tags(&self, names: &ScannedNames) -> Result<OrdinaryTagCandidates, ResolveError> {
        let nothing = OrdinaryTagCandidates {
            candidates: Candidates::default(),
            referred_to: ReferredTo::default(),
            age: Duration::ZERO,
            is_whole: false,
        };
        match (names.whole(), self.stores.config.depth) {
            // There are no tags.
            (None, _) if matches!(names.listed, ListingAnswer::NoRepository) => Ok(OrdinaryTagCandidates {
                is_whole: true,
                ..nothing
            }),
            (None, _) if matches!(names.listed, ListingAnswer::Refused(_)) => Ok(nothing),
            (_, Depth::Names) => Ok(nothing),
            (Some(listing), Depth::Manifests) => ordinary_tags::find(self, &listing).await,
            (Some(listing), Depth::Auto) if self.reads_deep(&listing).await => {
                ordinary_tags::find(self, &listing).await
            }
            (listing, _) => tags_with_links::find(self, listing.as_ref()).await,
        }
    }

    /// Whether depth `auto` reads behind every ordinary tag of this repository.
    async fn reads_deep(&self, listing: &AgedTagNames) -> bool {
        let ordinary = listing.names.iter().filter(|name| tag_scheme::parse(name).is_none());
        let large = ordinary.take(self.stores.config.deep_limit + 1).count() > self.stores.config.deep_limit;
        if large {
            self.stores.listings.remember_large(&self.context).await;
        }
        !large && self.counts_pulls() != Some(true)
    }

    /// Says that what is not listed may stand behind an ordinary tag.
    fn read_by_names(&self, links: &ReferrerList) {
        self.stores.manifests.counts.scans_by_names.inc();
        if links.referrers.is_empty() {
            tracing::info!(
                repository = %self.context.repository,
                subject = %self.subject,
                "no link tag refers to the subject; what stands behind ordinary tags was not read at this depth"
            );
        }
    }
}
