//! Links learned, at no extra request, from manifests that pass through.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::cache::{Cache, Cached, Key, Scope, from_json, to_json};
use crate::oci::{Descriptor, Dialect, Digest, LinkTarget, Manifest};
use crate::upstream::{Answer, RawManifest};

use super::candidate::{Candidates, What};
use super::error::ResolveError;
use super::scan::Scan;

/// Links remembered per subject; what lies beyond is still found by tag.
const PER_SUBJECT: usize = 4096;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LearnedLink {
    target: LinkTarget,
    holder: Digest,
    dialect: Dialect,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LearnedLinks(Vec<LearnedLink>);

impl Cached for LearnedLinks {
    fn weight(&self) -> usize {
        self.0.len() * 2 * size_of::<LearnedLink>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }

    /// What was learned elsewhere is worth as much.
    fn join(&self, other: &Self) -> Option<Self> {
        let news = other.0.iter().filter(|link| !self.0.contains(link));
        Some(Self(self.0.iter().chain(news).take(PER_SUBJECT).cloned().collect()))
    }
}

/// What was learned, by subject.
#[derive(Default)]
pub(super) struct Learned {
    /// Read-modify-write of one subject's links.
    writing: Mutex<()>,
}

impl Learned {
    /// Remembers every link that the manifest states. Returns the subjects of which something new was learned.
    pub async fn learn(&self, cache: &Cache, scope: &Scope, raw: &RawManifest, manifest: &Manifest) -> Vec<Digest> {
        let mut news = Vec::new();
        for link in manifest.links(&raw.digest) {
            let key = Key::learned(scope, link.subject.as_str());
            let learned = LearnedLink {
                target: link.target,
                holder: raw.digest.clone(),
                dialect: link.dialect,
            };
            let _writing = self.writing.lock().await;
            let known = cache.get::<LearnedLinks>(&key).await.map(|found| found.value);
            if let Some(merged) = with(known, learned) {
                cache.put(key, Arc::new(merged)).await;
                news.push(link.subject);
            }
        }
        news
    }
}

fn with(known: Option<Arc<LearnedLinks>>, link: LearnedLink) -> Option<LearnedLinks> {
    let known = known.unwrap_or_default();
    if known.0.contains(&link) || known.0.len() >= PER_SUBJECT {
        return None;
    }
    let mut links = (*known).clone();
    links.0.push(link);
    Some(links)
}

/// The candidates for the scan's subject among what was learned. They are hints: nothing vouches that they still exist, so
/// whoever holds such a link is asked for again at every refresh.
pub(super) async fn find(scan: &Scan) -> Result<Candidates, ResolveError> {
    let key = Key::learned(&scan.place.scope, scan.subject.as_str());
    let mut found = Candidates::default();
    let Some(learned) = scan.manifests.cache.get::<LearnedLinks>(&key).await else {
        return Ok(found);
    };
    let mut gone = HashSet::new();
    for link in learned.value.0.iter().filter(|link| scan.reads(link.dialect)) {
        let what = match &link.target {
            LinkTarget::This => What::Named(Descriptor::new("", link.holder.clone(), 0)),
            LinkTarget::Manifest(listed) => What::Named(listed.clone()),
            LinkTarget::Blob(listed) => What::Blob(listed.clone()),
        };
        let vouched = matches!(link.target, LinkTarget::This) || holder_is_there(scan, &link.holder, &mut gone).await?;
        if vouched {
            found.add_remembered(what, link.dialect);
        }
    }
    Ok(found)
}

async fn holder_is_there(scan: &Scan, holder: &Digest, gone: &mut HashSet<Digest>) -> Result<bool, ResolveError> {
    if gone.contains(holder) {
        return Ok(false);
    }
    match scan.manifests.still_there(&scan.place, holder, scan.fresh_for).await {
        Ok(Answer::Found(_)) => return Ok(true),
        Ok(Answer::Absent) => {}
        Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
        Err(error) => scan.manifests.skip(error, holder.as_str())?,
    }
    gone.insert(holder.clone());
    Ok(false)
}
