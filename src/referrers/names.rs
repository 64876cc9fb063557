//! The names of a repository's tags as a scan needs them: what the registry lists, what refshim wrote over it, and the names that
//! can be computed where a listing is known to lack some.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::RepositoryKey;
use crate::config::{Depth, ListingKind};
use crate::expiring_map::ExpiringMap;
use crate::oci::{Digest, Reference, SubjectKey, Tag, tag_scheme};
use crate::registry::{Answer, Fingerprint, Refusal, TagNames, UpstreamError};

use super::basis;
use super::context::RepositoryContext;
use super::error::ResolveError;
use super::listing_trials::{ListingTrials, PARTIAL_FOR};
use super::missing_tags::{MISSING_FOR, MissingTags};
use super::own_writes::OwnWrites;
use super::partial_listings::{lacks_names, vanished_and_there};
use super::scan::context::Scan;
use super::seen_tags::{SeenTags, names_itself};
use super::tag_listings::{AgedTagNames, Sought};
use super::written_tags::{self, AskedWrites};

const REMEMBERED: u64 = 10_000;
/// What may stand behind a subject's key in a tag whose name says nothing more: the referrers tag, and cosign's.
const SUFFIXES: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// What is known of tags beside the registry's listings.
pub(super) struct TagMemory {
    pub written: Arc<OwnWrites>,
    pub seen: SeenTags,
    /// Tags that are missing although they are listed or were just written.
    pub missing: MissingTags,
    pub kind: ListingKind,
    pub asked_writes: AskedWrites,
    /// Subjects of which the names that can be computed were compared with a listing.
    pub trials: ListingTrials,
    /// When a listing last named tags of a repository.
    listed: ExpiringMap<RepositoryKey, Instant>,
    /// When ordinary tags and manifests were first missing although something names them.
    lagging: ExpiringMap<(RepositoryKey, Reference), Instant>,
    /// Held while what is remembered of tags with links is changed.
    pub writing_linked: tokio::sync::Mutex<()>,
}

impl TagMemory {
    pub fn new(kind: ListingKind, fresh_for: Duration) -> Self {
        Self {
            written: Arc::default(),
            seen: SeenTags::default(),
            kind,
            asked_writes: AskedWrites::new(fresh_for),
            trials: ListingTrials::default(),
            listed: ExpiringMap::new(REMEMBERED),
            missing: MissingTags::new(fresh_for),
            lagging: ExpiringMap::builder(REMEMBERED).time_to_live(MISSING_FOR).build(),
            writing_linked: tokio::sync::Mutex::default(),
        }
    }

    /// What should be there is missing: for how long that has been so.
    pub fn lags_since(&self, repository_key: &RepositoryKey, what: &Reference) -> Duration {
        let key = (repository_key.clone(), what.clone());
        self.lagging.get_or_insert_with(&key, Instant::now).elapsed()
    }

    pub fn has_come(&self, repository_key: &RepositoryKey, what: &Reference) {
        let key = (repository_key.clone(), what.clone());
        if self.lagging.contains_key(&key) {
            self.lagging.remove(&key);
        }
    }

    /// A listing of the repository named tags.
    pub fn listed(&self, repository_key: &RepositoryKey) {
        self.listed.insert(repository_key.clone(), Instant::now());
    }

    /// Something was deleted: the next listing may rightly name nothing.
    pub fn deleted(&self, repository_key: &RepositoryKey) {
        self.listed.remove(repository_key);
    }

    /// Whether one did within the hour, and nothing was deleted through refshim since: then a listing that says that there is no
    /// such repository does not just lag behind the first push.
    pub fn was_listed(&self, repository_key: &RepositoryKey) -> bool {
        let listed = self.listed.get(repository_key);
        listed.is_some_and(|at| at.elapsed() < PARTIAL_FOR)
    }
}

/// What the registry's listing says.
pub(super) enum ListingAnswer {
    /// Every name.
    All(AgedTagNames),
    /// The names that begin with the subject's key.
    OfSubject(Arc<TagNames>),
    /// To this caller, there is no such repository.
    NoRepository,
    /// This caller may not list.
    Refused(Refusal),
}

/// The names of the tags that may link to a subject.
pub(super) struct ScannedNames {
    pub listed: ListingAnswer,
    /// When the listing began, as time since 1970.
    pub began: Duration,
    /// What refshim wrote and the listing lacks. To be there, as if it were listed.
    pub written: Vec<Tag>,
    /// What may be there although nobody says so.
    pub computed: Vec<Tag>,
}

impl ScannedNames {
    pub fn age(&self) -> Duration {
        match &self.listed {
            ListingAnswer::All(listing) => listing.age,
            ListingAnswer::OfSubject(_) | ListingAnswer::NoRepository | ListingAnswer::Refused(_) => Duration::ZERO,
        }
    }

    /// Of what was listed, for `subject` where that is only its names.
    pub fn fingerprint(&self, subject: &Digest) -> Fingerprint {
        match &self.listed {
            ListingAnswer::All(listing) => listing.fingerprint,
            ListingAnswer::OfSubject(names) => basis::of_names(names, subject),
            ListingAnswer::NoRepository | ListingAnswer::Refused(_) => basis::of_names(&TagNames::default(), subject),
        }
    }

    /// Whether the registry lists no name at all, whatever refshim wrote.
    pub fn lists_nothing(&self) -> bool {
        match &self.listed {
            ListingAnswer::All(listing) => listing.names.is_empty(),
            ListingAnswer::NoRepository => true,
            ListingAnswer::OfSubject(_) | ListingAnswer::Refused(_) => false,
        }
    }

    /// The names that are listed.
    pub fn listed(&self) -> Option<&TagNames> {
        match &self.listed {
            ListingAnswer::All(listing) => Some(&listing.names),
            ListingAnswer::OfSubject(names) => Some(names),
            ListingAnswer::NoRepository | ListingAnswer::Refused(_) => None,
        }
    }

    /// The whole listing, with what refshim wrote; `None` where only some names are known.
    pub fn whole(&self) -> Option<AgedTagNames> {
        let written = self.written.iter().map(Tag::as_str);
        match &self.listed {
            ListingAnswer::All(listing) if self.written.is_empty() => Some(listing.clone()),
            ListingAnswer::All(listing) => Some(AgedTagNames {
                names: Arc::new(listing.names.iter().chain(written).collect()),
                ..listing.clone()
            }),
            ListingAnswer::NoRepository if !self.written.is_empty() => Some(AgedTagNames {
                fingerprint: TagNames::default().fingerprint(),
                names: Arc::new(written.collect()),
                age: Duration::ZERO,
                began: self.began,
            }),
            ListingAnswer::NoRepository | ListingAnswer::OfSubject(_) | ListingAnswer::Refused(_) => None,
        }
    }
}

/// Asks for a listing that is at most `max_age` old.
pub(super) async fn find(scan: &Scan, max_age: Duration) -> Result<ScannedNames, ResolveError> {
    let asked = scan.stores.manifests.cache.now();
    let listed = listed(scan, max_age).await?;
    let began = match &listed {
        ListingAnswer::All(listing) => listing.began,
        ListingAnswer::OfSubject(_) | ListingAnswer::NoRepository | ListingAnswer::Refused(_) => asked,
    };
    let names = ScannedNames {
        written: written_tags::lacking(scan, &listed, began).await?,
        computed: Vec::new(),
        listed,
        began,
    };
    if names.listed().is_some_and(|listed| !listed.is_empty()) {
        scan.stores.tags.listed(&scan.context.repository_key);
    }
    let mut vanished = vanished_and_there(scan, &names).await?;
    let mut computed = match matches!(names.listed, ListingAnswer::Refused(_)) || lacks_names(scan, &names).await? {
        true => computed(scan, &names, SUFFIXES.len()),
        false => Vec::new(),
    };
    vanished.retain(|tag| !computed.contains(tag));
    computed.extend(vanished);
    Ok(ScannedNames { computed, ..names })
}

/// By the account that lists on behalf of callers, where there is one and it is listed any tag; else by the caller.
async fn listed(scan: &Scan, max_age: Duration) -> Result<ListingAnswer, ResolveError> {
    if scan.stores.manifests.upstream.has_listing_account() && !scan.context.caller.is_listing_account() {
        let account = RepositoryContext {
            caller: scan.context.caller.listing_account(),
            ..scan.context.clone()
        };
        match listed_by(scan, &account, max_age).await? {
            ListingAnswer::Refused(refusal) => {
                let (repository, status) = (&account.repository, refusal.status);
                tracing::warn!(%repository, %status, "the account of links.credentials may not list");
            }
            ListingAnswer::NoRepository => {}
            // Registries show an empty repository to whoever may not see it.
            ListingAnswer::All(listing) if listing.names.is_empty() => {}
            listed @ (ListingAnswer::All(_) | ListingAnswer::OfSubject(_)) => return Ok(listed),
        }
    }
    listed_by(scan, &scan.context, max_age).await
}

async fn listed_by(scan: &Scan, context: &RepositoryContext, max_age: Duration) -> Result<ListingAnswer, ResolveError> {
    let sought = match large(scan).await {
        Some(large) => {
            let key = SubjectKey::of(&scan.subject);
            scan.stores.listings.of_subject(context, &key, large, max_age).await?
        }
        None => {
            let all = scan.stores.listings.all(context, max_age).await?;
            all.try_map(|listing| Ok(Sought::All(listing)))?
        }
    };
    match sought {
        Answer::Found(Sought::All(listing)) => Ok(ListingAnswer::All(listing)),
        Answer::Found(Sought::OfSubject(names)) => Ok(ListingAnswer::OfSubject(names)),
        Answer::Absent => Ok(ListingAnswer::NoRepository),
        Answer::Refused(refusal) => refused(refusal),
    }
}

/// Only 401 and 403 are about rights.
fn refused(refusal: Refusal) -> Result<ListingAnswer, ResolveError> {
    match refusal.status.as_u16() {
        401 | 403 => Ok(ListingAnswer::Refused(refusal)),
        _ => Err(refusal.into()),
    }
}

/// With more ordinary tags than this, only names are read; `None`: whatever their number, what stands behind them is.
async fn large(scan: &Scan) -> Option<usize> {
    match scan.stores.config.depth {
        Depth::Names => Some(0),
        Depth::Manifests => None,
        Depth::Auto if scan.stores.listings.is_known_large(&scan.context).await => Some(0),
        Depth::Auto => Some(scan.stores.config.deep_limit),
    }
}

/// Whether the registry gives a manifest by this tag that is not the subject which the tag names.
pub(super) async fn is_there(scan: &Scan, tag: &Tag) -> Result<bool, UpstreamError> {
    let context = &scan.context;
    let reference = Reference::Tag(tag.clone());
    let head = scan
        .stores
        .manifests
        .upstream
        .head_manifest(&context.repository, &reference, &context.caller);
    Ok(matches!(head.await?, Answer::Found(head) if !names_itself(tag, &head.digest)))
}

/// The first `count` names that can be computed, without those that are known.
pub(super) fn computed(scan: &Scan, names: &ScannedNames, count: usize) -> Vec<Tag> {
    let key = SubjectKey::of(&scan.subject);
    let all = SUFFIXES.iter().take(count).map(|suffix| format!("{key}{suffix}"));
    let unknown = all.filter(|name| !names.listed().is_some_and(|listed| listed.contains(name)));
    let tags = unknown.filter(|name| tag_scheme::parse_of(&key, name).is_some());
    let tags = tags.filter_map(|name| Tag::parse(&name).ok());
    tags.filter(|tag| !names.written.contains(tag)).collect()
}
