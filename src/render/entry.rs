//! One entry of a list, as JSON.

use serde::Serialize;

use crate::oci::descriptor::Annotations;
use crate::oci::{Descriptor, Digest};

/// A descriptor as in lists of referrers: without `platform`, `data` and a nested `reference`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenderedEntry<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    annotations: &'a Annotations,
}

impl<'a> From<&'a Descriptor> for RenderedEntry<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: &descriptor.media_type,
            digest: &descriptor.digest,
            size: descriptor.size,
            artifact_type: descriptor.artifact_type.as_deref(),
            annotations: &descriptor.annotations,
        }
    }
}

/// Appends `value` to `out` as JSON.
#[expect(
    clippy::expect_used,
    reason = "the values printed here have text keys, and memory takes every write"
)]
pub(super) fn append_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("plain data has a JSON form");
}

/// Appends the descriptors, separated by commas.
pub(super) fn append_entries<'a>(out: &mut Vec<u8>, descriptors: impl Iterator<Item = &'a Descriptor>) {
    for (index, descriptor) in descriptors.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append_json(out, &RenderedEntry::from(descriptor));
    }
}
