//! What of a repository may have referrers: for work that goes through a whole repository, never for an answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::oci::{Descriptor, Digest, Manifest, SubjectKey, Tag, tag_scheme};
use crate::upstream::{Answer, RawManifest, TagNames};

use super::behind::may_hold_links;
use super::error::ResolveError;
use super::manifests::{Manifests, Recheck};
use super::place::Place;
use super::scan::PARALLEL;

/// Digests that may be subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// What link tags and manifests name, and what ordinary tags hold: of the latter, a registry may know links that no tag
    /// tells of.
    pub digests: BTreeSet<Digest>,
    /// Subjects of link tags which say too little of them: a long digest that was cut, and that no manifest names.
    pub unclear: BTreeSet<SubjectKey>,
}

/// What one tag tells.
#[derive(Default)]
struct Told {
    digests: BTreeSet<Digest>,
    /// The key of a link tag.
    key: Option<SubjectKey>,
}

/// Reads every tag, and the indexes inside.
pub(super) async fn find(
    manifests: &Manifests,
    place: &Place,
    names: &TagNames,
    recheck: Duration,
) -> Result<Subjects, ResolveError> {
    let tags = names.iter().filter_map(|name| Tag::parse(name).ok());
    let told: Vec<Told> = stream::iter(tags.collect::<Vec<_>>())
        .map(|tag| tell(manifests, place, tag, recheck))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    Ok(put_together(told))
}

fn put_together(told: Vec<Told>) -> Subjects {
    let keys: BTreeSet<SubjectKey> = told.iter().filter_map(|told| told.key.clone()).collect();
    let mut digests: BTreeSet<Digest> = told.into_iter().flat_map(|told| told.digests).collect();
    digests.extend(keys.iter().filter_map(SubjectKey::digest));
    let known: BTreeMap<SubjectKey, &Digest> = digests.iter().map(|digest| (SubjectKey::of(digest), digest)).collect();
    let unclear = keys.into_iter().filter(|key| !known.contains_key(key)).collect();
    Subjects { digests, unclear }
}

async fn tell(manifests: &Manifests, place: &Place, tag: Tag, recheck: Duration) -> Result<Told, ResolveError> {
    let link = tag_scheme::parse(tag.as_str());
    let mut told = Told {
        key: link.map(|link| link.subject),
        ..Told::default()
    };
    let first = match manifests.by_tag(place, &tag, Recheck::After(recheck)).await {
        Ok(Answer::Found(raw)) => raw,
        Ok(Answer::Absent) => return Ok(told),
        Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
        Err(error) => return manifests.skip(error, tag.as_str()).map(|()| told),
    };
    let mut seen = HashSet::from([first.digest.clone()]);
    let mut unread = vec![first];
    while let Some(raw) = unread.pop() {
        for listed in told.add(&raw) {
            if !seen.insert(listed.digest.clone()) {
                continue;
            }
            match manifests.by_digest(place, &listed.digest).await {
                Ok(Answer::Found(raw)) => unread.push(raw),
                Ok(Answer::Absent) => {}
                Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
                Err(error) => manifests.skip(error, listed.digest.as_str())?,
            }
        }
    }
    Ok(told)
}

impl Told {
    /// Takes in one manifest; what it lists that may name more subjects.
    fn add(&mut self, raw: &RawManifest) -> Vec<Descriptor> {
        // Old schema1 images and the like name nothing.
        let Ok(manifest) = Manifest::parse(&raw.bytes, &raw.media_type) else {
            return Vec::new();
        };
        self.digests
            .extend(manifest.links(&raw.digest).into_iter().map(|link| link.subject));
        if self.key.is_none() {
            self.digests.insert(raw.digest.clone());
            self.digests
                .extend(manifest.manifests.iter().map(|listed| listed.digest.clone()));
        }
        manifest.manifests.into_iter().filter(may_hold_links).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_digest_is_known_by_whoever_names_it() {
        let long = |last: char| Digest::parse(&format!("sha512:{}{last}", "0".repeat(127))).unwrap();
        let other = Digest::parse(&format!("sha512:{}", "1".repeat(128))).unwrap();
        let short = Digest::sha256(b"s");
        let tag = |digest: &Digest| Told {
            key: Some(SubjectKey::of(digest)),
            ..Told::default()
        };
        let naming = Told {
            digests: [long('a'), long('b')].into(),
            key: None,
        };
        let subjects = put_together(vec![tag(&long('a')), tag(&other), tag(&short), naming]);
        assert_eq!(subjects.digests, [short, long('a'), long('b')].into());
        assert_eq!(subjects.unclear, [SubjectKey::of(&other)].into());
    }
}
