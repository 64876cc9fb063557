//! The ordinary tags behind which links were found. They stay known where the others are not read any more: in a repository
//! that outgrew `deep_limit`, or where reading a manifest counts as a pull.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, Key, from_json, to_json};
use crate::oci::weight::{allocated, shared_text, tree};
use crate::oci::{Digest, Tag};
use crate::registry::{Answer, TagNames, UpstreamError};

use super::manifest_links::{self, TaggedManifest};
use super::ordinary_tags::links::{OrdinaryTagCandidates, ReferredTo};
use super::ordinary_tags::one_tag::TagRead;
use crate::referrers::error::ResolveError;
use crate::referrers::manifest_store::ManifestResult;
use crate::referrers::scan::candidates::Candidates;
use crate::referrers::scan::held_links::LinksBehind;
use crate::referrers::scan::lag::LAG;
use crate::referrers::scan::{PARALLEL, context::Scan};
use crate::referrers::tag_listings::AgedTagNames;
use crate::referrers::tag_reads::Recheck;

/// A tag that no listing tells about, and that has been missing for so long, is gone.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(600);

/// Names of ordinary tags with links behind them, and the digests that they point at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::referrers) struct LinkedTags(BTreeMap<String, Digest>);

impl Cached for LinkedTags {
    fn weight(&self) -> usize {
        let tags = self.0.iter();
        let texts = tags.map(|(tag, digest)| allocated(tag.len()) + shared_text(digest.as_str()));
        size_of::<Self>() + tree(self.0.len(), size_of::<(String, Digest)>()) + texts.sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}

impl LinkedTags {
    pub fn add(&mut self, read: &TagRead) {
        if !read.behind.links.is_empty()
            && let Some(root) = &read.root
        {
            self.0.insert(read.tag.as_str().to_owned(), root.clone());
        }
    }

    /// The tags behind which links were found, those aside that `listed` holds.
    pub async fn unlisted(scan: &Scan, listed: &TagNames) -> Vec<Tag> {
        let known = Self::known(scan).await.0.into_keys();
        let unlisted = known.filter(|name| !listed.contains(name));
        unlisted.filter_map(|name| Tag::parse(&name).ok()).collect()
    }

    async fn known(scan: &Scan) -> Self {
        let key = Key::linked_tags(&scan.context.repository_key);
        let known = scan.stores.manifests.cache.get::<Self>(&key).await;
        known.map(|known| Self::clone(&known.value)).unwrap_or_default()
    }

    /// Remembers these and no others, but those `unread`: every other ordinary tag was read.
    pub async fn remember(mut self, scan: &Scan, unread: &HashSet<Tag>) {
        let _writing = scan.stores.tags.writing_linked.lock().await;
        let known = Self::known(scan).await;
        for (name, root) in &known.0 {
            if !self.0.contains_key(name) && Tag::parse(name).is_ok_and(|tag| unread.contains(&tag)) {
                self.0.insert(name.clone(), root.clone());
            }
        }
        self.replace(scan, &known).await;
    }

    /// Remembers these too.
    pub async fn remember_more(self, scan: &Scan) {
        let _writing = scan.stores.tags.writing_linked.lock().await;
        let known = Self::known(scan).await;
        let mut all = known.clone();
        all.0.extend(self.0);
        all.replace(scan, &known).await;
    }

    /// Remembers what became of those that were asked: where they point now, or that they are gone, unless somebody else found
    /// something else meanwhile.
    async fn remember_changes(before: &Self, now: Self, gone: &[Tag], scan: &Scan) {
        let _writing = scan.stores.tags.writing_linked.lock().await;
        let known = Self::known(scan).await;
        let mut all = known.clone();
        let is_unchanged = |name: &str| known.0.get(name) == before.0.get(name);
        for tag in gone.iter().filter(|tag| is_unchanged(tag.as_str())) {
            all.0.remove(tag.as_str());
        }
        all.0.extend(now.0.into_iter().filter(|(name, _)| is_unchanged(name)));
        all.replace(scan, &known).await;
    }

    /// Only while nobody else writes, and only by a caller who may read: what others are told is less than there is.
    async fn replace(self, scan: &Scan, known: &Self) {
        if scan.may_read() && self != *known {
            let key = Key::linked_tags(&scan.context.repository_key);
            scan.stores.manifests.cache.put(key, Arc::new(self)).await;
        }
    }
}

/// The candidates for the scan's subject behind tags that are known to have links. A tag costs a HEAD every `deep_refresh`.
/// `listing`: what tags the registry lists, where it does.
pub(in crate::referrers) async fn find(
    scan: &Scan,
    listing: Option<&AgedTagNames>,
) -> Result<OrdinaryTagCandidates, ResolveError> {
    let before = LinkedTags::known(scan).await;
    let tags = before.0.iter();
    let tags = tags.filter_map(|(name, root)| Some((Tag::parse(name).ok()?, root.clone())));
    let (candidates, referred_to, left, gone) = stream::iter(tags.collect::<Vec<_>>())
        .map(|(tag, root)| verify_tag(scan, listing, tag, root))
        .buffer_unordered(PARALLEL)
        .try_fold(
            (Candidates::default(), HashSet::new(), LinkedTags::default(), Vec::new()),
            |(mut candidates, mut referred_to, mut left, mut gone), (tag, found)| async move {
                if let LinkedTag::Known(known) = found {
                    if known.behind.as_ref().is_some_and(|behind| behind.is_unsettled) {
                        scan.unsettle();
                    }
                    if known.behind.as_ref().is_some_and(|behind| behind.is_withheld) {
                        scan.withhold();
                    }
                    for missing in known.behind.iter().flat_map(|behind| &behind.missing) {
                        scan.lacks(missing);
                    }
                    let links = known.behind.iter().flat_map(|behind| &behind.links);
                    referred_to.extend(links.clone().map(|found| found.subject.clone()));
                    for found in links.filter(|found| found.subject == scan.subject) {
                        found.link.add_to(&mut candidates, known.verified);
                    }
                    left.0.insert(tag.as_str().to_owned(), known.root);
                } else if let LinkedTag::Gone = found {
                    gone.push(tag);
                }
                Ok((candidates, referred_to, left, gone))
            },
        )
        .await?;
    LinkedTags::remember_changes(&before, left, &gone, scan).await;
    Ok(OrdinaryTagCandidates {
        candidates,
        referred_to: ReferredTo::Some(referred_to),
        age: Duration::ZERO,
        is_whole: false,
    })
}

/// What became of a tag that was known to have links.
enum LinkedTag {
    Known(KnownTag),
    /// It is not there, and a listing that began after that was first said lacks it.
    Gone,
    /// It is not there, and the listing that lacks it began before that was said: it counts for nothing, and stays remembered.
    PerhapsGone,
}

/// What stands behind a tag, as far as that is known.
struct KnownTag {
    root: Digest,
    /// `None` where it is forgotten and may not be read again.
    behind: Option<Arc<LinksBehind>>,
    /// Whether the tag was seen to point there. Otherwise each manifest is asked for by itself.
    verified: bool,
}

/// `root` is what it pointed at when its links were read.
async fn verify_tag(
    scan: &Scan,
    listing: Option<&AgedTagNames>,
    tag: Tag,
    root: Digest,
) -> Result<(Tag, LinkedTag), ResolveError> {
    let recheck = Recheck::After(scan.stores.config.deep_refresh);
    let (target, verified) = match scan.stores.manifests.known_target(&scan.context, &tag, recheck).await {
        Ok(Some(digest)) => (TaggedManifest::Known(digest), true),
        Ok(None) if scan.counts_pulls() == Some(true) => (TaggedManifest::Known(root), false),
        Ok(None) => match read_tag(scan, listing, &tag).await {
            Ok(Answer::Found(raw)) => (TaggedManifest::Read(raw), true),
            Ok(Answer::Absent) => {
                scan.lacks(&tag);
                let missing_for = scan.tag_missing_for(&tag);
                if scan.may_come(missing_for) {
                    scan.unsettle();
                }
                let missing_since = scan.stores.manifests.cache.now().saturating_sub(missing_for);
                match listing {
                    Some(listing) if listing.names.contains(tag.as_str()) => {}
                    Some(listing) if missing_since < listing.began => return Ok((tag, LinkedTag::Gone)),
                    Some(_) => return Ok((tag, LinkedTag::PerhapsGone)),
                    None if missing_for >= GONE_AFTER => return Ok((tag, LinkedTag::Gone)),
                    None => {}
                }
                (TaggedManifest::Known(root), false)
            }
            Ok(Answer::Refused(refusal)) if manifest_links::is_withheld(&refusal) => {
                scan.withhold();
                (TaggedManifest::Known(root), false)
            }
            Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
            Err(UpstreamError::Failed(_)) => (TaggedManifest::Known(root), false),
            Err(error) => {
                scan.stores.manifests.skip(error, tag.as_str())?;
                (TaggedManifest::Known(root), false)
            }
        },
        Err(UpstreamError::Failed(_)) => (TaggedManifest::Known(root), false),
        Err(error) => return Err(error.into()),
    };
    let behind = match scan.counts_pulls() {
        Some(true) => manifest_links::known(scan, target.digest()).await,
        Some(false) | None => Some(manifest_links::read(scan, &tag, &target).await?),
    };
    if behind.is_none() {
        let reason = "reading it would count as a pull, and it is not remembered";
        scan.stores.manifests.cut_short(&tag, reason);
    }
    let root = target.digest().clone();
    Ok((tag, LinkedTag::Known(KnownTag { root, behind, verified })))
}

/// What the tag points at now. One that is listed and missing is asked for again after a moment.
async fn read_tag(scan: &Scan, listing: Option<&AgedTagNames>, tag: &Tag) -> ManifestResult {
    let mut found = scan.stores.manifests.by_tag_anew(&scan.context, tag).await?;
    let is_unlisted = listing.is_some_and(|listing| !listing.names.contains(tag.as_str()));
    if matches!(found, Answer::Absent) && !is_unlisted && scan.tag_missing_for(tag) < LAG {
        tokio::time::sleep(LAG).await;
        found = scan.stores.manifests.by_tag_anew(&scan.context, tag).await?;
    }
    if matches!(found, Answer::Found(_)) {
        scan.tag_is_there(tag);
    }
    Ok(found)
}
