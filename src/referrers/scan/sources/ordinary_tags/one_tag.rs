//! One ordinary tag: what it points at, and what stands behind that.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::oci::{Digest, Tag};
use crate::referrers::error::ResolveError;
use crate::referrers::scan::context::Scan;
use crate::referrers::scan::held_links::LinksBehind;
use crate::referrers::scan::sources::manifest_links::{self, TaggedManifest};
use crate::referrers::tag_reads::Recheck;
use crate::registry::{Answer, UpstreamError};

/// What was read behind one tag.
pub(in crate::referrers) struct TagRead {
    pub tag: Tag,
    /// What the tag points at; `None` where that is not known.
    pub root: Option<Digest>,
    pub behind: Arc<LinksBehind>,
    /// How long ago the tag was asked what it points at.
    pub asked_ago: Duration,
    pub outcome: TagOutcome,
}

/// What came of asking what a tag points at.
#[derive(Clone, Copy)]
pub(in crate::referrers) enum TagOutcome {
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
pub(super) async fn behind_tag(scan: &Scan, tag: Tag, recheck: Duration) -> Result<TagRead, ResolveError> {
    let asked_ago = scan.stores.manifests.asked_ago(&scan.context, &tag).await;
    let target = match target(scan, &tag, recheck).await {
        Ok(Answer::Found(target)) => target,
        Ok(Answer::Absent) => return Ok(TagRead::nothing(tag, TagOutcome::Missing)),
        Ok(Answer::Refused(refusal)) if manifest_links::is_withheld(&refusal) => {
            scan.stores
                .manifests
                .cut_short(&tag, &format!("HTTP {}", refusal.status));
            return Ok(TagRead {
                outcome: TagOutcome::Withheld,
                ..last_known(scan, tag).await
            });
        }
        Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
        // One tag that the registry fails at fails nobody's list.
        Err(UpstreamError::Failed(status)) => {
            scan.stores.manifests.cut_short(&tag, &format!("HTTP {status}"));
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
            scan.stores.manifests.skip(error, tag.as_str())?;
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
    let Some(root) = scan.stores.manifests.last_target(&scan.context, &nothing.tag).await else {
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
    match scan.stores.manifests.known_target(&scan.context, tag, recheck).await? {
        Some(digest) => Ok(Answer::Found(TaggedManifest::Known(digest))),
        None => {
            let read = scan.stores.manifests.by_tag_anew(&scan.context, tag).await?;
            read.try_map(|raw| Ok(TaggedManifest::Read(raw)))
        }
    }
}
