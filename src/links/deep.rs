//! Links behind ordinary tags: annotations in indexes, `subject`, `reference`, BuildKit attestations.
//!
//! Read once per repository and refresh, for all its subjects. A tag name not seen before is read, a known one is asked
//! again only every `deep_refresh`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, Epoch, Flights, Key, Scope, from_json, to_json};
use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Dialect, Digest, LinkTarget, Manifest, Tag, tag_scheme};
use crate::upstream::{Answer, RawManifest, TagNames, UpstreamError};

use super::candidate::Candidates;
use super::error::ResolveError;
use super::listing::Listing;
use super::manifests::Recheck;
use super::scan::{PARALLEL, Scan};

/// Indexes inside indexes are followed this far.
const NESTING: usize = 4;
/// Manifests read behind one tag: an index that lists more is not a multi-platform image.
const PER_TAG: usize = 256;

/// One link behind an ordinary tag. `This` in the target is the manifest with digest `holder`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeepLink {
    target: LinkTarget,
    holder: Digest,
    dialect: Dialect,
}

/// All links behind a repository's ordinary tags, by subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct DeepLinks(HashMap<Digest, Vec<DeepLink>>);

impl Cached for DeepLinks {
    fn weight(&self) -> usize {
        let links = self.0.values().flatten();
        links.map(|link| size_of::<DeepLink>() + link.target.weight()).sum()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}

/// The links behind ordinary tags, and how long ago those were listed.
type ReadDeep = Result<(Arc<DeepLinks>, Duration), ResolveError>;

pub(super) type DeepFlights = Flights<(Scope, Epoch), ReadDeep>;

/// The candidates for the scan's subject behind ordinary tags, and how long ago they were there.
pub(super) async fn find(scan: &Scan, listing: &Listing) -> Result<(Candidates, Duration), ResolveError> {
    let (links, age) = all(scan, listing).await?;
    let mut found = Candidates::default();
    for link in links.0.get(&scan.subject).into_iter().flatten() {
        match &link.target {
            LinkTarget::This => match scan.manifests.by_digest(&scan.place, &link.holder).await {
                Ok(Answer::Found(holder)) => found.add_link(&LinkTarget::This, &holder, link.dialect),
                Ok(Answer::Absent) => {}
                Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
                Err(error) => scan.manifests.skip(error, link.holder.as_str())?,
            },
            LinkTarget::Manifest(listed) => {
                found.add(super::candidate::What::Named(listed.clone()), link.dialect, None)
            }
            LinkTarget::Blob(listed) => found.add(super::candidate::What::Blob(listed.clone()), link.dialect, None),
        }
    }
    Ok((found, age))
}

async fn all(scan: &Scan, listing: &Listing) -> ReadDeep {
    let key = Key::deep(&scan.place.scope, &scan.place.epoch);
    if let Some(found) = scan.manifests.cache.get::<DeepLinks>(&key).await
        && found.within(scan.fresh_for)
    {
        return Ok((found.value, found.age));
    }
    let flight = (scan.place.scope.clone(), scan.place.epoch.clone());
    let read = || read_all(scan.clone(), listing.names.clone(), listing.age);
    let landed = scan.deep_flights.run(flight, read()).await;
    match landed.value.unwrap_or_else(|| Err(ResolveError::lost())) {
        // What the leader may not read, this caller perhaps may.
        Err(ResolveError::Refused(_)) if !landed.led => Box::pin(read()).await,
        // Nor do its limits hold for others.
        Err(ResolveError::Upstream(UpstreamError::Limited { .. } | UpstreamError::Paused { .. }))
            if !landed.led && !scan.manifests.upstream.holds_back(&scan.place.caller) =>
        {
            Box::pin(read()).await
        }
        other => other,
    }
}

/// Reads behind the tags that were there `age` ago.
async fn read_all(scan: Scan, names: Arc<TagNames>, age: Duration) -> ReadDeep {
    let ordinary: Vec<Tag> = names
        .iter()
        .filter(|name| tag_scheme::parse(name).is_none())
        .filter_map(|name| Tag::parse(name).ok())
        .collect();
    let links = stream::iter(ordinary)
        .map(|tag| behind(&scan, tag))
        .buffer_unordered(PARALLEL)
        .try_fold(DeepLinks::default(), |mut all, some| async move {
            for (subject, link) in some {
                all.0.entry(subject).or_default().push(link);
            }
            Ok(all)
        })
        .await?;
    let links = Arc::new(links);
    let key = Key::deep(&scan.place.scope, &scan.place.epoch);
    scan.manifests.cache.put_aged(key, links.clone(), age).await;
    Ok((links, age))
}

/// Every link in what the tag points at, and in the indexes and artifacts inside it.
async fn behind(scan: &Scan, tag: Tag) -> Result<Vec<(Digest, DeepLink)>, ResolveError> {
    let recheck = Recheck::After(scan.deep_refresh);
    let first = match scan.manifests.by_tag(&scan.place, &tag, recheck).await {
        Ok(Answer::Found(raw)) => raw,
        Ok(Answer::Absent) => return Ok(Vec::new()),
        Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
        Err(error) => return scan.manifests.skip(error, tag.as_str()).map(|()| Vec::new()),
    };
    let mut links = Vec::new();
    let mut seen = HashSet::from([first.digest.clone()]);
    let mut level = vec![first];
    let mut complete = true;
    for _ in 0..NESTING {
        let mut inside = Vec::new();
        for raw in &level {
            // Old schema1 images and the like hold no links.
            let Ok(manifest) = Manifest::parse(&raw.bytes, &raw.media_type) else {
                continue;
            };
            links.extend(links_of(scan, raw, &manifest));
            inside.extend(manifest.manifests.into_iter().filter(may_hold_links));
        }
        inside.retain(|listed| seen.insert(listed.digest.clone()));
        complete &= seen.len() <= PER_TAG;
        inside.truncate((PER_TAG + inside.len()).saturating_sub(seen.len()));
        level = read_listed(scan, &inside).await?;
    }
    if !complete || !level.is_empty() {
        scan.manifests.cut_short(&tag);
    }
    Ok(links)
}

/// Platform images inside an index are not worth a request; indexes and artifacts may point somewhere.
pub(super) fn may_hold_links(listed: &Descriptor) -> bool {
    ManifestKind::of(&listed.media_type) != Some(ManifestKind::Image) || listed.artifact_type.is_some()
}

async fn read_listed(scan: &Scan, listed: &[Descriptor]) -> Result<Vec<Arc<RawManifest>>, ResolveError> {
    let mut read = Vec::new();
    for descriptor in listed {
        match scan.manifests.by_digest(&scan.place, &descriptor.digest).await {
            Ok(Answer::Found(raw)) => read.push(raw),
            Ok(Answer::Absent) => {}
            Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
            Err(error) => scan.manifests.skip(error, descriptor.digest.as_str())?,
        }
    }
    Ok(read)
}

fn links_of(scan: &Scan, raw: &RawManifest, manifest: &Manifest) -> Vec<(Digest, DeepLink)> {
    let links = manifest
        .links(&raw.digest)
        .into_iter()
        .filter(|link| scan.reads(link.dialect));
    links
        .map(|link| {
            let deep = DeepLink {
                target: link.target,
                holder: raw.digest.clone(),
                dialect: link.dialect,
            };
            (link.subject, deep)
        })
        .collect()
}
