//! What of a repository may have referrers: for work that goes through a whole repository, never for an answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::oci::{Descriptor, Digest, SubjectKey, Tag, tag_scheme};
use crate::registry::{RawManifest, TagNames};

use super::context::RepositoryContext;
use super::error::ResolveError;
use super::manifest_store::ManifestStore;
use super::scan::PARALLEL;
use super::tag_reads::Recheck;

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
struct TagSubjects {
    digests: BTreeSet<Digest>,
    /// The key of a link tag.
    key: Option<SubjectKey>,
}

/// Reads every tag, and the indexes inside.
pub(super) async fn find(
    manifests: &ManifestStore,
    context: &RepositoryContext,
    names: &TagNames,
    recheck: Duration,
) -> Result<Subjects, ResolveError> {
    let tags = names.iter().filter_map(|name| Tag::parse(name).ok());
    let per_tag: Vec<TagSubjects> = stream::iter(tags.collect::<Vec<_>>())
        .map(|tag| subjects_of_tag(manifests, context, tag, recheck))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    Ok(put_together(per_tag))
}

fn put_together(per_tag: Vec<TagSubjects>) -> Subjects {
    let keys: BTreeSet<SubjectKey> = per_tag.iter().filter_map(|per_tag| per_tag.key.clone()).collect();
    let mut digests: BTreeSet<Digest> = per_tag.into_iter().flat_map(|per_tag| per_tag.digests).collect();
    digests.extend(keys.iter().filter_map(SubjectKey::digest));
    let known: BTreeMap<SubjectKey, &Digest> = digests.iter().map(|digest| (SubjectKey::of(digest), digest)).collect();
    let unclear = keys.into_iter().filter(|key| !known.contains_key(key)).collect();
    Subjects { digests, unclear }
}

async fn subjects_of_tag(
    manifests: &ManifestStore,
    context: &RepositoryContext,
    tag: Tag,
    recheck: Duration,
) -> Result<TagSubjects, ResolveError> {
    let link = tag_scheme::parse(tag.as_str());
    let mut per_tag = TagSubjects {
        key: link.map(|link| link.subject),
        ..TagSubjects::default()
    };
    let first = manifests.by_tag(context, &tag, Recheck::After(recheck)).await;
    let Some(first) = manifests.unless_skipped(first, tag.as_str())? else {
        return Ok(per_tag);
    };
    let mut seen = HashSet::from([first.digest.clone()]);
    let mut unread = vec![first];
    while let Some(raw) = unread.pop() {
        for listed in per_tag.add(&raw) {
            if !seen.insert(listed.digest.clone()) {
                continue;
            }
            let read = manifests.by_digest(context, &listed.digest).await;
            unread.extend(manifests.unless_skipped(read, listed.digest.as_str())?);
        }
    }
    Ok(per_tag)
}

impl TagSubjects {
    /// Takes in one manifest; what it lists that may name more subjects.
    fn add(&mut self, raw: &RawManifest) -> Vec<Descriptor> {
        // What is no JSON object names nothing.
        let Ok(manifest) = raw.parse_of_any_kind() else {
            return Vec::new();
        };
        self.digests
            .extend(manifest.links(&raw.digest).into_iter().map(|link| link.subject));
        if self.key.is_none() {
            self.digests.insert(raw.digest.clone());
            self.digests
                .extend(manifest.manifests.iter().map(|listed| listed.digest.clone()));
        }
        manifest.may_hold_links().cloned().collect()
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
        let tag = |digest: &Digest| TagSubjects {
            key: Some(SubjectKey::of(digest)),
            ..TagSubjects::default()
        };
        let naming = TagSubjects {
            digests: [long('a'), long('b')].into(),
            key: None,
        };
        let subjects = put_together(vec![tag(&long('a')), tag(&other), tag(&short), naming]);
        assert_eq!(subjects.digests, [short, long('a'), long('b')].into());
        assert_eq!(subjects.unclear, [SubjectKey::of(&other)].into());
    }
}
