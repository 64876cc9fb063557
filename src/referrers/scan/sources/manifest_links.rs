//! What stands behind one manifest that an ordinary tag points at. Manifests are immutable, so it is read once and remembered
//! under the manifest's digest.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cache::Key;
use crate::oci::{Digest, Tag};
use crate::registry::{Answer, RawManifest, Refusal, UpstreamError};

use crate::referrers::error::ResolveError;
use crate::referrers::scan::held_links::{LinksBehind, SubjectLink};
use crate::referrers::scan::lag::LAG;
use crate::referrers::scan::{PARALLEL, context::Scan};

/// Indexes inside indexes are followed this far.
const NESTING: usize = 4;
/// Digests kept of what stands behind one tag. One manifest of 4 MiB lists half as many.
const MOST_DIGESTS: usize = 1 << 16;

/// What a tag points at.
pub(in crate::referrers) enum TaggedManifest {
    /// A manifest that was read before.
    Known(Digest),
    /// One that was read just now, because the tag was not known or has moved.
    Read(Arc<RawManifest>),
}

impl TaggedManifest {
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Known(digest) => digest,
            Self::Read(raw) => &raw.digest,
        }
    }
}

/// What one manifest of an index turned out to be.
enum Listed {
    Read(Arc<RawManifest>),
    /// The registry does not hold it, and has not for so long.
    Absent(Digest, Duration),
    /// It is no manifest, or not the one that it is called.
    Skipped,
    /// Why it cannot be read, which leaves out the tag and fails no list.
    LeftOut(String),
    /// Why this caller may not read it.
    Withheld(String),
}

/// What is remembered of the manifest `root`, whoever read it. Costs the upstream nothing.
pub(in crate::referrers) async fn known(scan: &Scan, root: &Digest) -> Option<Arc<LinksBehind>> {
    let key = Key::behind(&scan.context.repository_key, root);
    let found = scan.stores.manifests.cache.get::<LinksBehind>(&key).await?;
    (found.value.missing.is_empty() || found.within(scan.stores.config.deep_refresh)).then_some(found.value)
}

/// Whether the registry said of all that is missing there to this caller, too, that it does not have it.
fn lacks_the_same(scan: &Scan, known: &LinksBehind) -> bool {
    let lately = scan.stores.config.deep_refresh;
    let mut missing = known.missing.iter();
    missing.all(|digest| scan.stated_absence(digest, lately).is_some())
}

/// Every link in what `tag` was just seen to point at, and in the indexes and artifacts inside it.
pub(in crate::referrers) async fn read(
    scan: &Scan,
    tag: &Tag,
    target: &TaggedManifest,
) -> Result<Arc<LinksBehind>, ResolveError> {
    let root = target.digest();
    if let Some(known) = known(scan, root).await
        && lacks_the_same(scan, &known)
    {
        return Ok(known);
    }
    let mut reading = LinksReading {
        found: LinksBehind::default(),
        seen: HashSet::from([root.clone()]),
        cut: None,
        withheld: None,
    };
    let mut level = match target {
        TaggedManifest::Known(digest) => vec![digest.clone()],
        TaggedManifest::Read(raw) => reading.take_in(scan, raw),
    };
    let levels = match target {
        TaggedManifest::Known(_) => NESTING,
        TaggedManifest::Read(_) => NESTING - 1,
    };
    for _ in 0..levels {
        level = reading.read_level(scan, level).await?;
        if level.is_empty() || reading.cut.is_some() {
            break;
        }
    }
    if !level.is_empty() {
        let too_deep = || format!("more than {NESTING} manifests inside one another");
        reading.cut.get_or_insert_with(too_deep);
    }
    if let Some(reason) = reading.cut.as_ref().or(reading.withheld.as_ref()) {
        scan.stores.manifests.cut_short(tag, reason);
    }
    let behind = Arc::new(reading.found);
    if !behind.is_partial() && !behind.is_unsettled && root.is_computable() {
        let key = Key::behind(&scan.context.repository_key, root);
        scan.stores.manifests.cache.put(key, behind.clone()).await;
    }
    Ok(behind)
}

struct LinksReading {
    found: LinksBehind,
    seen: HashSet<Digest>,
    /// Why no more is read.
    cut: Option<String>,
    /// Why something was not read that this caller may not read.
    withheld: Option<String>,
}

impl LinksReading {
    /// Reads the manifests of one level; what they list is the next.
    async fn read_level(&mut self, scan: &Scan, level: Vec<Digest>) -> Result<Vec<Digest>, ResolveError> {
        let mut next = Vec::new();
        let mut missing = self.read_all(scan, level, false, &mut next).await?;
        let lately = missing.iter().filter(|(_, missing_for)| **missing_for < LAG);
        let lately: Vec<Digest> = lately.map(|(digest, _)| digest.clone()).collect();
        if !lately.is_empty() && self.cut.is_none() {
            tokio::time::sleep(LAG).await;
            missing.retain(|digest, _| !lately.contains(digest));
            missing.extend(self.read_all(scan, lately, true, &mut next).await?);
        }
        self.found.is_unsettled |= missing.values().any(|missing_for| scan.may_come(*missing_for));
        self.found.missing.extend(missing.into_keys());
        Ok(next)
    }

    /// Reads these; what they list goes into `next`. Returned is what is missing, and for how long it has been.
    async fn read_all(
        &mut self,
        scan: &Scan,
        digests: Vec<Digest>,
        again: bool,
        next: &mut Vec<Digest>,
    ) -> Result<BTreeMap<Digest, Duration>, ResolveError> {
        let mut missing = BTreeMap::new();
        let mut reads = stream::iter(digests)
            .map(|digest| read_listed(scan, digest, again))
            .buffer_unordered(PARALLEL);
        while let Some(listed) = reads.try_next().await? {
            match listed {
                Listed::Read(raw) => next.extend(self.take_in(scan, &raw)),
                Listed::Absent(digest, missing_for) => {
                    missing.insert(digest, missing_for);
                }
                Listed::Skipped => {}
                Listed::LeftOut(reason) => {
                    self.cut = Some(reason);
                    self.found.fails = true;
                    break;
                }
                Listed::Withheld(reason) => {
                    self.withheld = Some(reason);
                    self.found.is_withheld = true;
                }
            }
        }
        Ok(missing)
    }

    /// Takes in one manifest; what it lists that may hold more links.
    fn take_in(&mut self, scan: &Scan, raw: &RawManifest) -> Vec<Digest> {
        self.found.mentioned.insert(raw.digest.clone());
        // What is no JSON object holds no links.
        let Ok(manifest) = raw.parse_of_any_kind() else {
            return Vec::new();
        };
        let links = SubjectLink::stated_by(&manifest, &raw.digest);
        self.found
            .links
            .extend(links.filter(|stated| scan.reads(stated.link.source)));
        let listed = manifest.manifests.iter();
        self.found.mentioned.extend(listed.map(|listed| listed.digest.clone()));
        if self.found.mentioned.len() + self.found.links.len() > MOST_DIGESTS {
            self.cut = Some(format!("more than {MOST_DIGESTS} manifests and links"));
            return Vec::new();
        }
        scan.stores.manifests.skip_entries(&manifest, raw.digest.as_str());
        let inside = manifest.may_hold_links().map(|listed| &listed.digest);
        inside
            .filter(|digest| self.seen.insert((*digest).clone()))
            .cloned()
            .collect()
    }
}

/// Whether the registry keeps this one manifest from this caller, who lacks the right (401, 403, a 404 that says so), or because of a
/// policy (Harbor's scanner: 412, a court's order: 451), which often asks who it is. Others may be given it.
pub(in crate::referrers) fn is_withheld(refusal: &Refusal) -> bool {
    matches!(refusal.status.as_u16(), 401 | 403 | 404 | 412 | 451)
}

/// `again`: it was missing a moment ago.
async fn read_listed(scan: &Scan, digest: Digest, again: bool) -> Result<Listed, ResolveError> {
    let context = &scan.context;
    let stated = scan.stated_absence(&digest, scan.stores.config.deep_refresh);
    if let Some(age) = stated.filter(|_| !again) {
        let missing_for = scan.manifest_missing_for(&digest);
        if scan.need_not_be_asked(age, missing_for) {
            return Ok(Listed::Absent(digest, missing_for));
        }
    }
    match scan.stores.manifests.opened_by_digest(context, &digest).await {
        Ok(Answer::Found(raw)) => {
            scan.manifest_is_there(&digest);
            Ok(Listed::Read(raw))
        }
        Ok(Answer::Absent) => {
            scan.note_absence(&digest);
            let missing_for = scan.manifest_missing_for(&digest);
            Ok(Listed::Absent(digest, missing_for))
        }
        Ok(Answer::Refused(refusal)) if is_withheld(&refusal) => {
            Ok(Listed::Withheld(format!("{digest}: HTTP {}", refusal.status)))
        }
        Ok(Answer::Refused(refusal)) => Err(refusal.into()),
        Err(UpstreamError::Failed(status)) => Ok(Listed::LeftOut(format!("{digest}: HTTP {status}"))),
        Err(error) => scan
            .stores
            .manifests
            .skip(error, digest.as_str())
            .map(|()| Listed::Skipped),
    }
}
