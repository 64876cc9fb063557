//! What was copied, for people and for programs.

use serde::Serialize;

use crate::cli::output;
use crate::oci::{Digest, Tag};

use super::CopyForm;
use super::compare::{ImageContent, LackingContent};
use super::graph::ImageGraph;

/// What `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CopyReport {
    /// As they were written on the command line.
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(rename = "as")]
    pub(super) form: Option<CopyForm>,
    pub(super) dry_run: bool,
    /// Whether the destination was seen to have all of it. `None` in a dry run.
    pub(super) complete: Option<bool>,
    pub(super) images: Vec<ImageReport>,
}

/// What became of one image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageReport {
    /// At the destination; `None` for an image without one.
    pub(super) tag: Option<Tag>,
    pub(super) digest: Digest,
    pub(super) outcome: CopyOutcome,
    /// What the tag pointed at before.
    pub(super) replaces: Option<Digest>,
    pub(super) manifests: PartCount,
    pub(super) blobs: PartCount,
    /// Of the blobs written, those that were mounted from another repository of the registry.
    pub(super) mounted: usize,
    /// Sizes of the blobs that were sent.
    pub(super) bytes: u64,
    pub(super) links: PartCount,
    /// cosign's tags, which go along.
    pub(super) cosign_tags: Vec<Tag>,
    /// Layers that the source does not hold, since images with such layers are to fetch them elsewhere.
    pub(super) elsewhere: Vec<Digest>,
    pub(super) problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CopyOutcome {
    Copied,
    /// All of it was there.
    Unchanged,
    /// Dry run: something of it is missing.
    WouldCopy,
    /// A tag of the destination points elsewhere.
    Conflict,
}

/// How much there is of something, and how much of that was written, or in a dry run would be.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct PartCount {
    pub(super) total: usize,
    pub(super) written: usize,
}

impl ImageReport {
    pub(super) fn new(graph: &ImageGraph, tag: Option<Tag>, content: &ImageContent, missing: &LackingContent) -> Self {
        let count = |total, written| PartCount { total, written };
        let lacking = &missing.content;
        let replaces = tag.as_ref().and_then(|tag| missing.moved.get(tag));
        Self {
            outcome: CopyOutcome::Unchanged,
            replaces: replaces.cloned(),
            tag,
            digest: graph.root.clone(),
            manifests: count(content.manifests.len(), lacking.manifests.len()),
            blobs: count(content.blobs.len(), lacking.blobs.len()),
            mounted: 0,
            bytes: lacking.blob_bytes(),
            links: count(content.link_count(), lacking.link_count()),
            cosign_tags: graph.cosign_tags.keys().cloned().collect(),
            elsewhere: Vec::new(),
            problem: None,
        }
    }

    fn row(&self) -> [String; 7] {
        let of = |count: PartCount| format!("{} of {}", count.written, count.total);
        let outcome = match self.outcome {
            CopyOutcome::Copied if self.replaces.is_some() => "replaced",
            CopyOutcome::Copied => "copied",
            CopyOutcome::Unchanged => "skipped: all there",
            CopyOutcome::WouldCopy if self.replaces.is_some() => "would be replaced",
            CopyOutcome::WouldCopy => "would be copied",
            CopyOutcome::Conflict => "conflict",
        };
        [
            self.tag.as_ref().map_or("-".to_owned(), Tag::to_string),
            self.digest.to_string(),
            of(self.manifests),
            of(self.links),
            of(self.blobs),
            crate::ui::size(self.bytes),
            outcome.to_owned(),
        ]
    }
}

impl CopyReport {
    /// For people.
    pub(super) fn text(&self) -> String {
        let rows: Vec<[String; 7]> = self.images.iter().map(ImageReport::row).collect();
        let header = ["TAG", "DIGEST", "MANIFESTS", "LINKS", "BLOBS", "SIZE", "OUTCOME"];
        let end = match self.complete {
            None => "Dry run: nothing was written.",
            Some(true) => "The destination was read again: everything is there.",
            Some(false) => "The destination does not have everything.",
        };
        let (source, destination) = (output::printable(&self.source), output::printable(&self.destination));
        let table = output::table(header, &rows);
        format!("{source} -> {destination}\n\n{table}\n{end}\n")
    }

    /// The first problem.
    pub(super) fn problem(&self) -> Option<&str> {
        self.images.iter().find_map(|image| image.problem.as_deref())
    }
}
