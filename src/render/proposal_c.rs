//! Proposal C: `GET /v3/<name>/referrers|reference|objects|description/<reference>`.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Serialize;

use super::entry::{append_entries, append_json};
use crate::oci::{Descriptor, Manifest, ReferrerList};

pub const CONTENT_TYPE: &str = "application/json";

/// `{"referrers": […]}`, with a node's objects in the node's place. Objects in several nodes are listed once.
pub fn referrers(links: &ReferrerList) -> Bytes {
    let mut seen = BTreeSet::new();
    let listed = links.referrers.iter().flat_map(|referrer| match &referrer.objects {
        Some(objects) => objects.as_slice(),
        None => std::slice::from_ref(&referrer.descriptor),
    });
    list("referrers", listed.filter(|d| seen.insert(&d.digest)))
}

/// The descriptor of what `manifest` refers to, or `{}`.
pub fn reference(manifest: &Manifest) -> Bytes {
    let mut out = Vec::new();
    match manifest.parent() {
        Some(parent) => append_entries(&mut out, std::iter::once(parent)),
        None => out.extend_from_slice(b"{}"),
    }
    out.into()
}

/// `{"objects": […]}`: the contents of `manifest`.
pub fn objects(manifest: &Manifest) -> Bytes {
    list("objects", manifest.contents().iter())
}

/// `{"description": "…"}`. The proposal's text shows the bare text in braces, which is not JSON.
pub fn description(manifest: &Manifest) -> Bytes {
    #[derive(Serialize)]
    struct Description<'a> {
        description: &'a str,
    }
    let mut out = Vec::new();
    append_json(
        &mut out,
        &Description {
            description: manifest.description(),
        },
    );
    out.into()
}

fn list<'a>(key: &str, descriptors: impl Iterator<Item = &'a Descriptor>) -> Bytes {
    let mut out = format!("{{\"{key}\":[").into_bytes();
    append_entries(&mut out, descriptors);
    out.extend_from_slice(b"]}");
    out.into()
}
