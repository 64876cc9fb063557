//! Links behind ordinary tags: annotations in indexes, `subject`, `reference`, BuildKit attestations.
//!
//! Read once per repository and refresh, for all its subjects. A tag name not seen before is read, a known one is asked
//! again only every `deep_refresh`, or where an answer would rest on what may have changed since: see [`find`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, Epoch, Key, RepositoryKey, SingleFlight, from_json, to_json};
use crate::config::Depth;
use crate::oci::weight::{allocated, shared_text, table};
use crate::oci::{Digest, Tag, tag_scheme};
use crate::registry::{Answer, Fingerprint, TagNames, UpstreamError};

use super::manifest_links::{self, LinksBehind, OrdinaryTagLink, TaggedManifest};
use super::tags_with_links::{self, LinkedTags};
use crate::referrers::error::ResolveError;
use crate::referrers::manifest_store::Recheck;
use crate::referrers::scan::candidates::Candidates;
use crate::referrers::scan::lag::LAG;
use crate::referrers::scan::run::{PARALLEL, Scan};
use crate::referrers::tag_listings::{AgedTagNames, LEADERS};

/// All links behind a repository's ordinary tags, by subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::referrers) struct OrdinaryTagLinks {
    links: HashMap<Digest, Vec<OrdinaryTagLink>>,
    /// Every manifest behind the tags.
    mentioned: HashSet<Digest>,
    /// How long before this was put together the tag was asked that was asked longest ago.
    oldest_tag: Duration,
    /// Whether something that should be there was missing a moment ago: this is not remembered.
    #[serde(skip)]
    is_unsettled: bool,
    /// Whether the registry withheld something from whoever read this: it is remembered for nobody, and others read for themselves.
    #[serde(skip)]
    is_withheld: bool,
}

impl Cached for OrdinaryTagLinks {
    fn weight(&self) -> usize {
        let links = |(subject, links): (&Digest, &Vec<OrdinaryTagLink>)| {
            let held: usize = links.iter().map(OrdinaryTagLink::held).sum();
            held + shared_text(subject.as_str()) + allocated(links.capacity() * size_of::<OrdinaryTagLink>())
        };
        let mentioned = self.mentioned.iter().map(|digest| shared_text(digest.as_str()));
        size_of::<Self>()
            + table(self.links.capacity(), size_of::<(Digest, Vec<OrdinaryTagLink>)>())
            + self.links.iter().map(links).sum::<usize>()
            + table(self.mentioned.capacity(), size_of::<Digest>())
            + mentioned.sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}

impl OrdinaryTagLinks {
    /// Whether what stands behind these tags may say nothing of `subject` only because a tag was moved since it was asked.
    fn may_lack(&self, subject: &Digest) -> bool {
        !subject.is_zero() && !self.links.contains_key(subject) && !self.mentioned.contains(subject)
    }

    fn add(&mut self, behind: &LinksBehind) {
        self.is_unsettled |= behind.is_unsettled;
        self.is_withheld |= behind.is_withheld;
        for link in &behind.links {
            self.links.entry(link.subject.clone()).or_default().push(link.clone());
        }
        self.mentioned.extend(behind.mentioned.iter().cloned());
    }
}

/// The links behind ordinary tags, and how long ago those were listed. `None` where the registry turned out to count pulls.
type OrdinaryTagResult = Result<Option<(Arc<OrdinaryTagLinks>, Duration)>, ResolveError>;

/// With whether whoever read may read: what is not there to anybody else says nothing to others.
type OrdinaryTagLanding = (OrdinaryTagResult, bool);

/// The last is whether tags are asked again that were asked longer than `fresh_for` ago.
pub(in crate::referrers) type OrdinaryTagFlights =
    SingleFlight<(RepositoryKey, Epoch, Fingerprint, bool), OrdinaryTagLanding>;

/// What stands behind ordinary tags, as far as it was read.
pub(in crate::referrers) struct OrdinaryTagCandidates {
    pub candidates: Candidates,
    /// How long ago it was there.
    pub age: Duration,
    /// Whether everything was read, rather than only what was known before.
    pub is_whole: bool,
}

/// The candidates for the scan's subject behind ordinary tags. Where no known manifest mentions the subject, tags are asked
/// again that were asked longer than `fresh_for` ago: one may have been moved to what does.
pub(in crate::referrers) async fn find(
    scan: &Scan,
    listing: &AgedTagNames,
) -> Result<OrdinaryTagCandidates, ResolveError> {
    let Some((mut links, mut age)) = all(scan, listing, false).await? else {
        return tags_with_links::find(scan, Some(listing)).await;
    };
    if links.may_lack(&scan.subject) && links.oldest_tag + age > scan.fresh_for {
        match all(scan, listing, true).await? {
            Some(again) => (links, age) = again,
            None => return tags_with_links::find(scan, Some(listing)).await,
        }
    }
    if links.may_lack(&scan.subject) {
        age += links.oldest_tag;
    }
    if links.is_unsettled {
        scan.unsettle();
    }
    if links.is_withheld {
        scan.withhold();
    }
    let mut candidates = Candidates::default();
    for link in links.links.get(&scan.subject).into_iter().flatten() {
        link.add_to(&mut candidates, true);
    }
    Ok(OrdinaryTagCandidates {
        candidates,
        age,
        is_whole: true,
    })
}

async fn all(scan: &Scan, listing: &AgedTagNames, again: bool) -> OrdinaryTagResult {
    let key = key(scan, listing);
    if let Some(found) = scan.manifests.cache.get::<OrdinaryTagLinks>(&key).await
        && found.within(scan.fresh_for)
        && !(again && found.value.oldest_tag + found.age > scan.fresh_for)
    {
        return Ok(Some((found.value, found.age)));
    }
    let context = &scan.context;
    let flight = (
        context.repository_key.clone(),
        context.epoch.clone(),
        listing.fingerprint,
        again,
    );
    let read = || read_all(scan.clone(), listing.clone(), again);
    for _ in 0..LEADERS {
        let leader = scan.clone();
        let reading = read();
        let work = async move { (reading.await, leader.may_read()) };
        let landed = scan.ordinary_tag_flights.run(flight.clone(), work).await;
        let (found, may_read) = landed.value.unwrap_or_else(|| (Err(ResolveError::lost()), true));
        let is_leaders_own = match &found {
            Ok(Some((links, _))) if links.is_withheld => true,
            Ok(_) => !may_read,
            // What the leader may not read, this caller perhaps may.
            Err(ResolveError::Refused(_)) => true,
            // Nor do its limits hold for others.
            Err(ResolveError::Upstream(UpstreamError::Limited { .. } | UpstreamError::Paused { .. })) => !scan
                .manifests
                .upstream
                .reads()
                .holds_back(&context.repository, &context.caller),
            Err(ResolveError::Upstream(_)) => false,
        };
        if landed.leader || !is_leaders_own {
            return found;
        }
    }
    Box::pin(read()).await
}

/// Whoever is listed other tags finds other links behind them.
fn key(scan: &Scan, listing: &AgedTagNames) -> Key {
    let listed = format!("{:032x}", u128::from_be_bytes(listing.fingerprint));
    Key::ordinary_tags(&scan.context.repository_key, &scan.context.epoch, listed)
}

/// What was read behind the tags of one repository.
#[derive(Default)]
struct Collected {
    ordinary_tags: OrdinaryTagLinks,
    linked: LinkedTags,
    /// Tags that are listed and behind which nothing could be read.
    unread: HashSet<Tag>,
    missing: Vec<Tag>,
    /// Whether the registry answered what a tag points at.
    answered: bool,
    /// A tag that was not asked.
    unasked: Option<Tag>,
    /// How the registry failed at a tag of which nothing is known.
    failed: Option<StatusCode>,
}

impl Collected {
    fn add(&mut self, scan: &Scan, read: TagRead) {
        self.ordinary_tags.add(&read.behind);
        self.ordinary_tags.oldest_tag = self.ordinary_tags.oldest_tag.max(read.asked_ago);
        self.linked.add(&read);
        if read.behind.is_partial() {
            self.unread.insert(read.tag.clone());
        }
        match read.outcome {
            TagOutcome::Unasked => self.unasked = Some(read.tag),
            TagOutcome::Answered => {
                self.answered = true;
                scan.tag_is_there(&read.tag);
            }
            TagOutcome::Unread => {
                self.answered = true;
                self.unread.insert(read.tag);
            }
            TagOutcome::Missing => {
                self.answered = true;
                self.missing.push(read.tag);
            }
            TagOutcome::Withheld => {
                self.answered = true;
                self.ordinary_tags.is_withheld = true;
                self.unread.insert(read.tag);
            }
            TagOutcome::FailedAndKnown => {}
            TagOutcome::Failed(status) => {
                self.failed = Some(status);
                self.is_not_there(scan, read.tag);
            }
        }
    }

    /// Nothing is known of a tag that is listed. For a while, no answer that rests on that is remembered.
    fn is_not_there(&mut self, scan: &Scan, tag: Tag) {
        self.ordinary_tags.is_unsettled |= scan.may_come(scan.tag_missing_for(&tag));
        self.unread.insert(tag);
    }
}

/// Reads behind the tags that are listed.
async fn read_all(scan: Scan, listing: AgedTagNames, again: bool) -> OrdinaryTagResult {
    let (mut collected, age) = (Collected::default(), listing.age);
    let read = read_tags(&scan, &listing.names, again, &mut collected).await;
    if counts_pulls(&scan) == Some(true) {
        match read {
            // Also where the limit is reached already.
            Ok(()) | Err(ResolveError::Upstream(UpstreamError::Limited { .. })) => {}
            Err(error) => return Err(error),
        }
        collected.linked.remember_more(&scan).await;
        return Ok(None);
    }
    read?;
    collected.linked.remember(&scan, &collected.unread).await;
    let ordinary_tags = Arc::new(collected.ordinary_tags);
    if !ordinary_tags.is_unsettled && !ordinary_tags.is_withheld && scan.may_read() {
        scan.manifests
            .cache
            .put_aged(key(&scan, &listing), ordinary_tags.clone(), age)
            .await;
    }
    Ok(Some((ordinary_tags, age)))
}

/// Reads behind the ordinary tags among `names`, until it turns out that pulls are counted.
async fn read_tags(scan: &Scan, names: &TagNames, again: bool, collected: &mut Collected) -> Result<(), ResolveError> {
    let ordinary = names.iter().filter(|name| tag_scheme::parse(name).is_none());
    let tags: Vec<Tag> = ordinary.filter_map(|name| Tag::parse(name).ok()).collect();
    let mut tags = when_to_ask(scan, tags, again).await.into_iter();
    // Before one manifest was read, nobody knows whether that counts as a pull.
    if counts_pulls(scan).is_none()
        && let Some((tag, recheck)) = tags.next()
    {
        collected.add(scan, behind_tag(scan, tag, recheck).await?);
    }
    read_each(scan, tags.collect(), collected).await?;
    if counts_pulls(scan) == Some(true) {
        let missing = std::mem::take(&mut collected.missing);
        collected.unread.extend(missing);
        return Ok(());
    }
    read_missing_again(scan, collected).await?;
    no_outage(scan, collected).await
}

/// Registries lag: tags that are listed and missing are asked for again after a moment.
async fn read_missing_again(scan: &Scan, collected: &mut Collected) -> Result<(), ResolveError> {
    let missing = std::mem::take(&mut collected.missing);
    let (again, mut others): (Vec<Tag>, Vec<Tag>) =
        missing.into_iter().partition(|tag| scan.tag_missing_for(tag) < LAG);
    if !again.is_empty() {
        tokio::time::sleep(LAG).await;
        let again = again.into_iter().map(|tag| (tag, Duration::ZERO));
        read_each(scan, again.collect(), collected).await?;
    }
    others.append(&mut collected.missing);
    for tag in others {
        collected.is_not_there(scan, tag);
    }
    Ok(())
}

/// Where the registry fails at one tag, that is left out. Where it fails at all that were asked, nothing is known of what is new.
async fn no_outage(scan: &Scan, collected: &mut Collected) -> Result<(), ResolveError> {
    let Some(status) = collected.failed.filter(|_| !collected.answered) else {
        return Ok(());
    };
    if let Some(tag) = collected.unasked.take() {
        let read = behind_tag(scan, tag, Duration::ZERO).await?;
        let failed = matches!(read.outcome, TagOutcome::Failed(_) | TagOutcome::FailedAndKnown);
        if !failed {
            return Ok(());
        }
    }
    Err(UpstreamError::Failed(status).into())
}

/// Reads behind these tags, each asked where it was asked longer ago than stands with it, until it turns out that pulls are counted.
async fn read_each(scan: &Scan, tags: Vec<(Tag, Duration)>, collected: &mut Collected) -> Result<(), ResolveError> {
    let mut reads = stream::iter(tags)
        .map(|(tag, recheck)| behind_tag(scan, tag, recheck))
        .buffer_unordered(PARALLEL);
    while counts_pulls(scan) != Some(true)
        && let Some(read) = reads.try_next().await?
    {
        collected.add(scan, read);
    }
    Ok(())
}

/// Whether a GET of a manifest is a pull that is counted, so that nothing is read behind ordinary tags. Where the configuration
/// asks for depth `manifests`, they are read all the same.
pub(in crate::referrers) fn counts_pulls(scan: &Scan) -> Option<bool> {
    match scan.config.depth {
        Depth::Manifests => Some(false),
        Depth::Auto | Depth::Names => scan.manifests.upstream.counts_pulls(),
    }
}

/// Each tag with the age from which on it is asked again. `again`: those `deep_limit` that were asked longest ago, already from
/// `fresh_for` on.
async fn when_to_ask(scan: &Scan, tags: Vec<Tag>, again: bool) -> Vec<(Tag, Duration)> {
    if !again {
        return tags.into_iter().map(|tag| (tag, scan.deep_refresh)).collect();
    }
    let mut aged: Vec<(Duration, Tag)> = stream::iter(tags)
        .map(|tag| async {
            let asked = scan.manifests.asked_ago(&scan.context, &tag).await;
            (asked.unwrap_or(Duration::MAX), tag)
        })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    aged.sort_unstable_by(|one, other| other.cmp(one));
    let limit = scan.config.deep_limit;
    if aged.get(limit).is_some_and(|(age, _)| *age > scan.fresh_for) {
        tracing::info!(
            repository = %scan.context.repository,
            limit,
            "there are more ordinary tags than links.deep_limit: those asked most recently were not asked again"
        );
    }
    let recheck = scan.fresh_for.max(scan.since);
    let aged = aged.into_iter().enumerate();
    aged.map(|(position, (_, tag))| match position < limit {
        true => (tag, recheck),
        false => (tag, scan.deep_refresh),
    })
    .collect()
}

/// What was read behind one tag.
pub(in crate::referrers) struct TagRead {
    pub tag: Tag,
    /// What the tag points at; `None` where that is not known.
    pub root: Option<Digest>,
    pub behind: Arc<LinksBehind>,
    /// How long ago the tag was asked what it points at.
    asked_ago: Duration,
    outcome: TagOutcome,
}

/// What came of asking what a tag points at.
#[derive(Clone, Copy)]
enum TagOutcome {
    /// It was asked before, lately enough.
    Unasked,
    Answered,
    /// The registry gives something that cannot be read.
    Unread,
    /// The registry withholds it from this caller; what stood behind the tag when it was last read counts.
    Withheld,
    /// The registry states that there is no such tag.
    Missing,
    /// The registry failed; what stood behind the tag when it was last read counts.
    FailedAndKnown,
    /// The registry failed, and nothing is known.
    Failed(StatusCode),
}

impl TagRead {
    /// Nothing stands behind the tag that could be read.
    fn nothing(tag: Tag, outcome: TagOutcome) -> Self {
        Self {
            outcome,
            tag,
            root: None,
            behind: Arc::default(),
            asked_ago: Duration::ZERO,
        }
    }
}

/// Every link behind the tag, which is asked what it points at where it was asked longer ago than `recheck`.
async fn behind_tag(scan: &Scan, tag: Tag, recheck: Duration) -> Result<TagRead, ResolveError> {
    let asked_ago = scan.manifests.asked_ago(&scan.context, &tag).await;
    let target = match target(scan, &tag, recheck).await {
        Ok(Answer::Found(target)) => target,
        Ok(Answer::Absent) => return Ok(TagRead::nothing(tag, TagOutcome::Missing)),
        Ok(Answer::Refused(refusal)) if manifest_links::is_withheld(&refusal) => {
            scan.manifests.cut_short(&tag, &format!("HTTP {}", refusal.status));
            return Ok(TagRead {
                outcome: TagOutcome::Withheld,
                ..last_known(scan, tag).await
            });
        }
        Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
        // One tag that the registry fails at fails nobody's list.
        Err(UpstreamError::Failed(status)) => {
            scan.manifests.cut_short(&tag, &format!("HTTP {status}"));
            let known = last_known(scan, tag).await;
            return Ok(TagRead {
                outcome: match known.root {
                    Some(_) => TagOutcome::FailedAndKnown,
                    None => TagOutcome::Failed(status),
                },
                ..known
            });
        }
        Err(error) => {
            scan.manifests.skip(error, tag.as_str())?;
            return Ok(TagRead::nothing(tag, TagOutcome::Unread));
        }
    };
    let asked_ago = asked_ago.filter(|age| *age < recheck);
    Ok(TagRead {
        behind: manifest_links::read(scan, &tag, &target).await?,
        root: Some(target.digest().clone()),
        outcome: match asked_ago {
            Some(_) => TagOutcome::Unasked,
            None => TagOutcome::Answered,
        },
        asked_ago: asked_ago.unwrap_or_default(),
        tag,
    })
}

/// What stood behind a tag when it was last read, where the registry does not give it now. Without a `root`, nothing is known.
async fn last_known(scan: &Scan, tag: Tag) -> TagRead {
    let nothing = TagRead::nothing(tag, TagOutcome::Unread);
    let Some(root) = scan.manifests.last_target(&scan.context, &nothing.tag).await else {
        return nothing;
    };
    match manifest_links::known(scan, &root).await {
        Some(behind) => TagRead {
            root: Some(root),
            behind,
            ..nothing
        },
        None => nothing,
    }
}

/// What the tag points at. One that was never asked costs one GET, a known one at most a HEAD.
async fn target(scan: &Scan, tag: &Tag, recheck: Duration) -> Result<Answer<TaggedManifest>, UpstreamError> {
    let recheck = Recheck::After(recheck);
    match scan.manifests.known_target(&scan.context, tag, recheck).await? {
        Some(digest) => Ok(Answer::Found(TaggedManifest::Known(digest))),
        None => {
            let read = scan.manifests.by_tag_anew(&scan.context, tag).await?;
            read.try_map(|raw| Ok(TaggedManifest::Read(raw)))
        }
    }
}
