//! Copying one image: what its destination lacks, in an order in which nobody ever sees the image without its signatures.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;

use crate::cli::error::CliError;
use crate::cli::progress;
use crate::oci::{Descriptor, Digest, Reference, Tag};
use crate::registry::{BlobWritten, RawManifest};

use super::compare::{ImageContent, LackingContent, Moment, missing};
use super::destination::CopyDestination;
use super::graph::ImageGraph;
use super::node::GraphNode;
use super::report::{CopyOutcome, ImageReport};
use super::source::CopySource;

/// Manifests written at the same time.
const PARALLEL: usize = 8;
/// Parts of media types of layers that may be kept out of registries.
const NOT_DISTRIBUTED: [&str; 2] = ["layer.nondistributable.", "rootfs.foreign."];

pub(super) struct CopyOptions {
    /// Tags that point elsewhere are replaced.
    pub(super) replaces: bool,
    pub(super) dry_run: bool,
    /// Blobs on their way at the same time.
    pub(super) parallel: usize,
}

/// Copies images one after another, and remembers what the destination has.
pub(super) struct Copier<'a> {
    source: &'a CopySource,
    destination: CopyDestination,
    options: CopyOptions,
    /// What the destination showed or took.
    known: ImageContent,
    /// What was written, to be read again in the end.
    written: ImageContent,
}

impl<'a> Copier<'a> {
    pub(super) fn new(source: &'a CopySource, destination: CopyDestination, options: CopyOptions) -> Self {
        Self {
            source,
            destination,
            options,
            known: ImageContent::default(),
            written: ImageContent::default(),
        }
    }

    /// Whether the manifest belongs to an image that was copied.
    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.known.manifests.contains(digest)
    }

    /// What was written so far.
    pub(super) fn written(&self) -> &ImageContent {
        &self.written
    }

    /// Copies an image with everything that refers to it, under this tag or under none.
    pub(super) async fn copy(&mut self, root: RawManifest, tag: Option<Tag>) -> Result<ImageReport, CliError> {
        let graph = ImageGraph::read(self.source, root).await?;
        let content = ImageContent::of(&graph, tag.as_ref());
        let asked = content.without(&self.known);
        let missing = missing(&self.destination, &asked, Some(&graph.root), Moment::Before).await?;
        let mut report = ImageReport::new(&graph, tag, &content, &missing);
        if let Some((tag, holds)) = missing.moved.iter().next().filter(|_| !self.options.replaces) {
            report.outcome = CopyOutcome::Conflict;
            report.problem = Some(format!("the tag {tag} points at {holds} there: --force replaces it"));
            return Ok(report);
        }
        if self.options.dry_run {
            if !missing.content.is_empty() {
                report.outcome = CopyOutcome::WouldCopy;
            }
            self.known.add(content);
            return Ok(report);
        }
        self.known.add(asked.without(&missing.content));
        if !missing.content.is_empty() {
            report.outcome = CopyOutcome::Copied;
            self.transfer(&graph, missing, &mut report).await?;
        }
        Ok(report)
    }

    async fn transfer(
        &mut self,
        graph: &ImageGraph,
        LackingContent {
            content: mut missing, ..
        }: LackingContent,
        report: &mut ImageReport,
    ) -> Result<(), CliError> {
        if let CopyDestination::Layout(layout) = &mut self.destination {
            layout.begin()?;
        }
        self.transfer_blobs(&missing, report).await?;
        for elsewhere in &report.elsewhere {
            missing.blobs.remove(elsewhere);
        }
        self.write_manifests(graph, &missing).await?;
        match &mut self.destination {
            CopyDestination::Layout(layout) => layout.list(graph, &missing)?,
            CopyDestination::Registry(registry) => {
                registry.write_links(graph, &missing.links).await?;
                let (last, links): (Vec<_>, Vec<_>) = missing
                    .tags
                    .iter()
                    .partition(|(tag, _)| report.tag.as_ref() == Some(*tag));
                for (tag, digest) in links.into_iter().chain(last) {
                    if let Some(node) = graph.nodes.get(digest) {
                        registry.write_manifest(node, Reference::Tag(tag.clone())).await?;
                    }
                }
            }
        }
        self.known.add(missing.clone());
        self.written.add(missing);
        Ok(())
    }

    async fn transfer_blobs(&self, missing: &ImageContent, report: &mut ImageReport) -> Result<(), CliError> {
        let bar = progress::byte_bar("copying", missing.blob_bytes());
        let mut written = stream::iter(missing.blobs.values())
            .map(async |blob: &Descriptor| self.transfer_blob(blob, &bar).await.map(|written| (blob, written)))
            .buffer_unordered(self.options.parallel);
        while let Some((blob, written)) = written.try_next().await? {
            match written {
                Some(BlobWritten::Uploaded) => continue,
                Some(BlobWritten::Mounted) => report.mounted += 1,
                None => report.elsewhere.push(blob.digest.clone()),
            }
            bar.inc(blob.size);
            report.bytes = report.bytes.saturating_sub(blob.size);
        }
        Ok(())
    }

    /// `None` for a layer that the source does not hold, and need not.
    async fn transfer_blob(&self, blob: &Descriptor, bar: &ProgressBar) -> Result<Option<BlobWritten>, CliError> {
        let may_be_elsewhere = NOT_DISTRIBUTED.iter().any(|part| blob.media_type.contains(part));
        if may_be_elsewhere && self.source.blob(blob, 0).await?.is_none() {
            return Ok(None);
        }
        match &self.destination {
            CopyDestination::Registry(registry) => registry.write_blob(self.source, blob, bar).await.map(Some),
            CopyDestination::Layout(layout) => {
                layout.write_blob(self.source, blob, bar).await?;
                Ok(Some(BlobWritten::Uploaded))
            }
        }
    }

    /// Writes the manifests that are missing, and those whose links are.
    async fn write_manifests(&self, graph: &ImageGraph, missing: &ImageContent) -> Result<(), CliError> {
        let is_due = |node: &&GraphNode| {
            let digest = &node.raw.digest;
            missing.manifests.contains(digest) || missing.links.values().any(|referrers| referrers.contains(digest))
        };
        let mut probed = false;
        for group in graph.in_order() {
            let group: Vec<&GraphNode> = group.into_iter().filter(is_due).collect();
            if !probed && group.iter().any(|node| node.level > 0) {
                probed = true;
                self.probe(graph).await?;
            }
            let writes = stream::iter(group).map(async |node: &GraphNode| self.write_manifest(node).await);
            writes.buffer_unordered(PARALLEL).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn probe(&self, graph: &ImageGraph) -> Result<(), CliError> {
        match &self.destination {
            CopyDestination::Registry(registry) => registry.probe(&graph.root).await,
            CopyDestination::Layout(_) => Ok(()),
        }
    }

    async fn write_manifest(&self, node: &GraphNode) -> Result<(), CliError> {
        match &self.destination {
            CopyDestination::Registry(registry) => {
                let reference = Reference::Digest(node.raw.digest.clone());
                registry.write_manifest(node, reference).await
            }
            CopyDestination::Layout(layout) => layout.write_manifest(&node.raw),
        }
    }

    /// Nothing more is written.
    pub(super) async fn end(&self) {
        match &self.destination {
            CopyDestination::Registry(registry) => registry.end().await,
            CopyDestination::Layout(layout) => layout.end(),
        }
    }
}
