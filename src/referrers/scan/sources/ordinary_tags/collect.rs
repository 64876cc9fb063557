//! Reading behind all ordinary tags of a listing: which are asked, and what comes of it.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;

use super::links::OrdinaryTagLinks;
use super::one_tag::{TagOutcome, TagRead, behind_tag};
use crate::oci::{Tag, tag_scheme};
use crate::referrers::basis::MissingNames;
use crate::referrers::error::ResolveError;
use crate::referrers::scan::lag::LAG;
use crate::referrers::scan::sources::tags_with_links::{GONE_AFTER, LinkedTags};
use crate::referrers::scan::{PARALLEL, context::Scan};
use crate::registry::{TagNames, UpstreamError};

/// What was read behind the tags of one repository.
#[derive(Default)]
pub(super) struct Collected {
    pub ordinary_tags: OrdinaryTagLinks,
    pub linked: LinkedTags,
    /// Tags that are listed and behind which nothing could be read.
    pub unread: HashSet<Tag>,
    pub missing: Vec<Tag>,
    /// What the registry says to this caller not to have, though a listing or an index names it.
    pub unavailable: MissingNames,
    /// Whether the registry answered what a tag points at.
    pub answered: bool,
    /// A tag that was not asked.
    pub unasked: Option<Tag>,
    /// How the registry failed at a tag of which nothing is known.
    pub failed: Option<StatusCode>,
}

impl Collected {
    pub fn add(&mut self, scan: &Scan, read: TagRead) {
        self.ordinary_tags.add(&read.behind);
        self.ordinary_tags.oldest_tag = self.ordinary_tags.oldest_tag.max(read.asked_ago);
        self.linked.add(&read);
        for digest in &read.behind.missing {
            self.unavailable.add(digest);
        }
        if read.behind.is_partial() || !read.behind.missing.is_empty() {
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

/// Reads behind the ordinary tags among `names`, until it turns out that pulls are counted.
pub(super) async fn read_tags(
    scan: &Scan,
    names: &TagNames,
    again: bool,
    collected: &mut Collected,
) -> Result<(), ResolveError> {
    let ordinary = names.iter().filter(|name| tag_scheme::parse(name).is_none());
    let tags: Vec<Tag> = ordinary.filter_map(|name| Tag::parse(name).ok()).collect();
    let mut tags = when_to_ask(scan, tags, again).await.into_iter();
    // Before one manifest was read, nobody knows whether that counts as a pull.
    if scan.counts_pulls().is_none()
        && let Some((tag, recheck)) = tags.next()
    {
        collected.add(scan, behind_tag(scan, tag, recheck).await?);
    }
    read_each(scan, tags.collect(), collected).await?;
    if scan.counts_pulls() == Some(true) {
        let missing = std::mem::take(&mut collected.missing);
        collected.unread.extend(missing);
        return Ok(());
    }
    read_missing_again(scan, collected).await?;
    no_outage(scan, collected).await
}

/// Reads behind the tags that had links behind them and are not among `names` any more: names move while pages are read. One of
/// which the registry says that it is gone stays known for a while: it may say so to this caller alone.
pub(super) async fn read_unlisted(
    scan: &Scan,
    names: &TagNames,
    collected: &mut Collected,
) -> Result<(), ResolveError> {
    let unlisted = LinkedTags::unlisted(scan, names).await.into_iter();
    read_each(scan, unlisted.map(|tag| (tag, Duration::ZERO)).collect(), collected).await?;
    for tag in std::mem::take(&mut collected.missing) {
        if scan.tag_missing_for(&tag) < GONE_AFTER {
            collected.unavailable.add(&tag);
            collected.unread.insert(tag);
        }
    }
    Ok(())
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
        collected.unavailable.add(&tag);
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
    while scan.counts_pulls() != Some(true)
        && let Some(read) = reads.try_next().await?
    {
        collected.add(scan, read);
    }
    Ok(())
}

/// Each tag with the age from which on it is asked again. `again`: those `deep_limit` that were asked longest ago, already from
/// `fresh_for` on.
async fn when_to_ask(scan: &Scan, tags: Vec<Tag>, again: bool) -> Vec<(Tag, Duration)> {
    if !again {
        return tags
            .into_iter()
            .map(|tag| (tag, scan.stores.config.deep_refresh))
            .collect();
    }
    let mut aged: Vec<(Duration, Tag)> = stream::iter(tags)
        .map(|tag| async {
            let asked = scan.stores.manifests.asked_ago(&scan.context, &tag).await;
            (asked.unwrap_or(Duration::MAX), tag)
        })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    aged.sort_unstable_by(|one, other| other.cmp(one));
    let limit = scan.stores.config.deep_limit;
    if aged.get(limit).is_some_and(|(age, _)| *age > scan.stores.fresh_for) {
        tracing::info!(
            repository = %scan.context.repository,
            limit,
            "there are more ordinary tags than links.deep_limit: those asked most recently were not asked again"
        );
    }
    let recheck = scan.stores.fresh_for.max(scan.since);
    let aged = aged.into_iter().enumerate();
    aged.map(|(position, (_, tag))| match position < limit {
        true => (tag, recheck),
        false => (tag, scan.stores.config.deep_refresh),
    })
    .collect()
}
