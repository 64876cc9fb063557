//! The ordinary tags behind which links were found. They stay known where the others are not read any more: in a repository
//! that outgrew `deep_limit`, or where reading a manifest counts as a pull.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, Key, from_json, to_json};
use crate::oci::weight::{allocated, shared_text, tree};
use crate::oci::{Digest, Tag};
use crate::registry::{Answer, UpstreamError};

use super::manifest_links::{self, LinksBehind, TaggedManifest};
use super::ordinary_tags::{OrdinaryTagCandidates, TagRead, counts_pulls};
use crate::referrers::error::ResolveError;
use crate::referrers::manifest_store::Recheck;
use crate::referrers::scan::candidates::Candidates;
use crate::referrers::scan::run::{PARALLEL, Scan};

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

    async fn known(scan: &Scan) -> Self {
        let key = Key::linked_tags(&scan.context.repository_key);
        let known = scan.manifests.cache.get::<Self>(&key).await;
        known.map(|known| Self::clone(&known.value)).unwrap_or_default()
    }

    /// Remembers these and no others: every ordinary tag was read.
    pub async fn remember(self, scan: &Scan) {
        if self != Self::known(scan).await {
            let key = Key::linked_tags(&scan.context.repository_key);
            scan.manifests.cache.put(key, Arc::new(self)).await;
        }
    }

    /// Remembers these too.
    pub async fn remember_more(self, scan: &Scan) {
        let mut all = Self::known(scan).await;
        all.0.extend(self.0);
        all.remember(scan).await;
    }
}

/// The candidates for the scan's subject behind tags that are known to have links. A tag costs a HEAD every `deep_refresh`.
pub(in crate::referrers) async fn find(scan: &Scan) -> Result<OrdinaryTagCandidates, ResolveError> {
    let known = LinkedTags::known(scan).await;
    let tags = known.0.into_iter();
    let tags = tags.filter_map(|(name, root)| Some((Tag::parse(&name).ok()?, root)));
    let (candidates, left) = stream::iter(tags.collect::<Vec<_>>())
        .map(|(tag, root)| verify_tag(scan, tag, root))
        .buffer_unordered(PARALLEL)
        .try_fold(
            (Candidates::default(), LinkedTags::default()),
            |(mut candidates, mut left), (tag, known)| async move {
                if let Some(known) = known {
                    let links = known.behind.iter().flat_map(|behind| &behind.links);
                    for link in links.filter(|link| link.subject == scan.subject) {
                        link.add_to(&mut candidates, known.verified);
                    }
                    left.0.insert(tag.as_str().to_owned(), known.root);
                }
                Ok((candidates, left))
            },
        )
        .await?;
    left.remember(scan).await;
    Ok(OrdinaryTagCandidates {
        candidates,
        age: Duration::ZERO,
        is_whole: false,
    })
}

/// What stands behind a tag, as far as that is known.
struct KnownTag {
    root: Digest,
    /// `None` where it is forgotten and may not be read again.
    behind: Option<Arc<LinksBehind>>,
    /// Whether the tag was seen to point there. Otherwise each manifest is asked for by itself.
    verified: bool,
}

/// `None`: the tag is gone. `root` is what it pointed at when its links were read.
async fn verify_tag(scan: &Scan, tag: Tag, root: Digest) -> Result<(Tag, Option<KnownTag>), ResolveError> {
    let recheck = Recheck::After(scan.deep_refresh);
    let (target, verified) = match scan.manifests.known_target(&scan.context, &tag, recheck).await {
        Ok(Some(digest)) => (TaggedManifest::Known(digest), true),
        Ok(None) if counts_pulls(scan) == Some(true) => (TaggedManifest::Known(root), false),
        Ok(None) => match scan.manifests.by_tag_anew(&scan.context, &tag).await {
            Ok(Answer::Found(raw)) => (TaggedManifest::Read(raw), true),
            Ok(Answer::Absent) => return Ok((tag, None)),
            Ok(Answer::Refused(refusal)) if manifest_links::is_blocked(&refusal) => {
                (TaggedManifest::Known(root), false)
            }
            Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
            Err(UpstreamError::Failed(_)) => (TaggedManifest::Known(root), false),
            Err(error) => {
                scan.manifests.skip(error, tag.as_str())?;
                (TaggedManifest::Known(root), false)
            }
        },
        Err(UpstreamError::Failed(_)) => (TaggedManifest::Known(root), false),
        Err(error) => return Err(error.into()),
    };
    let behind = match counts_pulls(scan) {
        Some(true) => manifest_links::known(scan, target.digest()).await,
        Some(false) | None => Some(manifest_links::read(scan, &tag, &target).await?),
    };
    if behind.is_none() {
        let reason = "reading it would count as a pull, and it is not remembered";
        scan.manifests.cut_short(&tag, reason);
    }
    let root = target.digest().clone();
    Ok((tag, Some(KnownTag { root, behind, verified })))
}
