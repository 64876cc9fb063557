//! An image with everything that belongs to it: its platforms, what refers to any of them, what refers to that, and so on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::oci::media_type::ManifestKind;
use crate::oci::tag_scheme::CosignKind;
use crate::oci::{Descriptor, Digest, LinkSource, LinkTarget, Referrer, SubjectKey, Tag};
use crate::registry::RawManifest;

use super::node::GraphNode;
use super::source::CopySource;

/// Manifests read, and subjects asked about, at the same time.
const PARALLEL: usize = 8;

pub(super) struct ImageGraph {
    pub(super) root: Digest,
    pub(super) nodes: BTreeMap<Digest, GraphNode>,
    /// By subject: what refers to it.
    pub(super) links: BTreeMap<Digest, BTreeMap<Digest, Referrer>>,
    /// Links that manifests of the image state about others, as an index does about BuildKit's attestations: they go along in its bytes.
    stated_elsewhere: BTreeSet<(Digest, Digest)>,
    /// cosign's tags of the subjects: they are links, and old clients know no others.
    pub(super) cosign_tags: BTreeMap<Tag, Digest>,
}

impl ImageGraph {
    /// Reads all of it.
    ///
    /// # Errors
    /// If anything of it cannot be read, or if it cannot be said what refers to it: half an image is none.
    pub(super) async fn read(source: &CopySource, root: RawManifest) -> Result<Self, CliError> {
        let mut graph = Self {
            root: root.digest.clone(),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            stated_elsewhere: BTreeSet::new(),
            cosign_tags: BTreeMap::new(),
        };
        let mut unread = Vec::new();
        let mut fresh = graph.add(source, vec![root], 0).await?;
        for level in 1.. {
            let found: Vec<(Digest, Vec<Referrer>)> = stream::iter(fresh)
                .map(async |subject: Digest| source.referrers(&subject).await.map(|found| (subject, found)))
                .buffer_unordered(PARALLEL)
                .try_collect()
                .await?;
            let mut referrers = BTreeMap::new();
            for (subject, found) in found.into_iter().filter(|(_, found)| !found.is_empty()) {
                for referrer in &found {
                    referrers.insert(referrer.descriptor.digest.clone(), (subject.clone(), referrer.clone()));
                }
                let found = found.into_iter().map(|found| (found.descriptor.digest.clone(), found));
                graph.links.insert(subject, found.collect());
            }
            referrers.retain(|digest, _| !graph.nodes.contains_key(digest));
            let (read, absent) = read_referrers(source, referrers).await?;
            unread.extend(absent);
            fresh = graph.add(source, read, level).await?;
            if fresh.is_empty() {
                break;
            }
        }
        graph.note_stated_links();
        for (subject, referrer) in unread {
            graph.check_unread(source, &subject, &referrer)?;
        }
        graph.read_cosign_tags(source).await?;
        Ok(graph)
    }

    /// Adds manifests and all that they list. Returns what is new.
    async fn add(
        &mut self,
        source: &CopySource,
        manifests: Vec<RawManifest>,
        level: usize,
    ) -> Result<Vec<Digest>, CliError> {
        let mut fresh = Vec::new();
        let mut manifests = VecDeque::from(manifests);
        while !manifests.is_empty() {
            let mut children = BTreeMap::new();
            for raw in manifests.drain(..) {
                let digest = raw.digest.clone();
                let node = GraphNode::new(raw, level);
                let node = node.map_err(|problem| {
                    CliError::failed(format!("{}: {digest} cannot be copied: {problem}", source.name()))
                })?;
                let listed = node.children.iter().cloned();
                children.extend(listed.map(|child| (child.digest.clone(), (child, digest.clone()))));
                if self.nodes.insert(digest.clone(), node).is_none() {
                    fresh.push(digest);
                }
            }
            children.retain(|child, _| !self.nodes.contains_key(child));
            let read: Vec<Option<RawManifest>> = stream::iter(children.into_values())
                .map(async |(child, parent): (Descriptor, Digest)| {
                    let read = source.manifest(&child.digest).await?;
                    match read.is_some() || child.inlined().is_some() {
                        true => Ok(read),
                        false => Err(missing(source, &child.digest, &format!("which {parent} lists"))),
                    }
                })
                .buffer_unordered(PARALLEL)
                .try_collect()
                .await?;
            manifests = read.into_iter().flatten().collect();
        }
        Ok(fresh)
    }

    fn note_stated_links(&mut self) {
        for (digest, node) in &self.nodes {
            for link in node.manifest.links(digest) {
                if let LinkTarget::Manifest(target) | LinkTarget::Blob(target) = link.target {
                    self.stated_elsewhere.insert((link.subject, target.digest));
                }
            }
        }
    }

    /// A referrer that is no manifest in the source can be copied only as part of the manifest that states its link.
    fn check_unread(&self, source: &CopySource, subject: &Digest, referrer: &Digest) -> Result<(), CliError> {
        match self.is_stated_elsewhere(subject, referrer) {
            true => Ok(()),
            false => {
                let why = format!(
                    "which refers to {subject}: it is a blob, or inlined in an index, that another manifest of the repository holds; copy \
                     that one too, or the whole repository"
                );
                Err(missing(source, referrer, &why))
            }
        }
    }

    /// Whether the link is in the bytes of another manifest of the image.
    pub(super) fn is_stated_elsewhere(&self, subject: &Digest, referrer: &Digest) -> bool {
        self.stated_elsewhere.contains(&(subject.clone(), referrer.clone()))
    }

    /// Finds the tags behind links that were found in cosign's tags.
    async fn read_cosign_tags(&mut self, source: &CopySource) -> Result<(), CliError> {
        for (subject, referrers) in &self.links {
            let mut kinds: BTreeSet<&str> = BTreeSet::new();
            for referrer in referrers
                .values()
                .filter(|found| found.sources.contains(&LinkSource::CosignTag))
            {
                let artifact_type = referrer.descriptor.artifact_type.as_deref().unwrap_or_default();
                match CosignKind::of_artifact_type(artifact_type) {
                    Some(kind) => kinds.extend([kind.suffix()]),
                    None => kinds.extend(CosignKind::ALL.map(CosignKind::suffix)),
                }
            }
            for kind in kinds {
                let tag = Tag::parse(&format!("{}.{kind}", SubjectKey::of(subject)));
                let Ok(tag) = tag else { continue };
                let Some(holds) = source.tag_holds(&tag).await? else {
                    continue;
                };
                if !self.nodes.contains_key(&holds) {
                    let problem = format!("the tag {tag} moved while the image was read: run it again");
                    return Err(CliError::failed(format!("{}: {problem}", source.name())));
                }
                self.cosign_tags.insert(tag, holds);
            }
        }
        Ok(())
    }

    /// All links that the image has at its destination, but for those in the bytes of its own indexes.
    pub(super) fn written_links(&self) -> impl Iterator<Item = (&Digest, &Referrer)> {
        let links = self.links.iter();
        let links = links.flat_map(|(subject, referrers)| referrers.values().map(move |referrer| (subject, referrer)));
        links.filter(|(subject, referrer)| !self.is_stated_elsewhere(subject, &referrer.descriptor.digest))
    }

    /// All blobs.
    pub(super) fn blobs(&self) -> BTreeMap<&Digest, &Descriptor> {
        self.nodes.values().flat_map(|node| &node.blobs).collect()
    }

    /// The manifests in groups, each of which needs only those before it: what an index lists comes before it, and a subject before what
    /// refers to it.
    pub(super) fn in_order(&self) -> Vec<Vec<&GraphNode>> {
        let mut heights = BTreeMap::new();
        let mut groups: BTreeMap<(usize, usize), Vec<&GraphNode>> = BTreeMap::new();
        for (digest, node) in &self.nodes {
            let height = self.height(digest, &mut heights);
            groups.entry((node.level, height)).or_default().push(node);
        }
        groups.into_values().collect()
    }

    /// The longest way down from a manifest. Content cannot hold its own digest: there are no circles.
    fn height<'a>(&'a self, digest: &'a Digest, known: &mut BTreeMap<&'a Digest, usize>) -> usize {
        if let Some(height) = known.get(digest) {
            return *height;
        }
        let children = self.nodes.get(digest).into_iter().flat_map(|node| &node.children);
        let height = children.map(|child| 1 + self.height(&child.digest, known)).max();
        known.insert(digest, height.unwrap_or_default());
        height.unwrap_or_default()
    }
}

/// The manifests of these referrers, and those that are no manifests in the source, with their subjects.
async fn read_referrers(
    source: &CopySource,
    referrers: BTreeMap<Digest, (Digest, Referrer)>,
) -> Result<(Vec<RawManifest>, Vec<(Digest, Digest)>), CliError> {
    let read: Vec<(Digest, Digest, Option<RawManifest>)> = stream::iter(referrers)
        .map(async |(digest, (subject, referrer)): (Digest, (Digest, Referrer))| {
            let raw = match ManifestKind::of(&referrer.descriptor.media_type) {
                Some(_) => source.manifest(&digest).await?,
                None => None,
            };
            Ok::<_, CliError>((subject, digest, raw))
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    let (mut manifests, mut absent) = (Vec::new(), Vec::new());
    for (subject, digest, raw) in read {
        match raw {
            Some(raw) => manifests.push(raw),
            None => absent.push((subject, digest)),
        }
    }
    Ok((manifests, absent))
}

fn missing(source: &CopySource, digest: &Digest, why: &str) -> CliError {
    CliError::failed(format!("{}: there is no manifest {digest}, {why}", source.name()))
}
