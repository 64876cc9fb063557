//! Tests of what live images need.

use super::*;
use crate::cli::gc::judge::tests::{descriptor, digest, key};

/// Everything that is needed, where the registry holds what is in the snapshot and `untagged`.
fn needed(snapshot: &Snapshot, untagged: &Snapshot, native: &[(&str, &str)]) -> BTreeSet<Digest> {
    let mut keep = Keep::new(snapshot);
    loop {
        let unread = keep.unread();
        if unread.is_empty() {
            return keep.needed();
        }
        for wanted in unread {
            let held = snapshot.held(&wanted).or_else(|| untagged.held(&wanted));
            let listed = native.iter().filter(|(subject, _)| digest(subject) == wanted);
            keep.read(
                &wanted,
                held.as_ref(),
                listed.map(|(_, referrer)| digest(referrer)).collect(),
            );
        }
    }
}

fn digests(names: &[&str]) -> BTreeSet<Digest> {
    names.iter().map(|name| digest(name)).collect()
}

#[test]
fn images_need_what_they_list_and_what_signs_that() {
    let platform = digest("amd64");
    let snapshot = Snapshot::default()
        .index(
            "multi",
            &[descriptor(&platform), descriptor(&digest("missing"))],
            &["v1"],
        )
        .image("index signature", &[&format!("{}.sig", key(&digest("multi")))])
        .image("platform signature", &[&format!("{}.sig", key(&platform))]);
    let untagged = Snapshot::default().image("amd64", &[]).image("leftover", &[]);
    assert_eq!(
        needed(&snapshot, &untagged, &[]),
        digests(&["multi", "amd64", "index signature", "platform signature"])
    );
}

#[test]
fn referrers_are_followed_and_so_are_theirs() {
    let image = digest("image");
    let snapshot = Snapshot::default()
        .image("image", &["v1"])
        .index("list", &[descriptor(&digest("sbom"))], &[&key(&image)])
        .referrer(
            "signature of the sbom",
            &digest("sbom"),
            &[&format!("{}.0123456789abcdef.sig", key(&digest("sbom")))],
        );
    let untagged = Snapshot::default().referrer("sbom", &image, &[]);
    let expected = digests(&["image", "list", "sbom", "signature of the sbom", "native"]);
    let untagged = untagged.referrer("native", &image, &[]);
    assert_eq!(needed(&snapshot, &untagged, &[("image", "native")]), expected);
}

#[test]
fn links_of_what_is_gone_are_not_needed() {
    let gone = digest("gone");
    let snapshot = Snapshot::default().image("image", &["v1"]).referrer(
        "orphan",
        &gone,
        &[&format!("{}.0123456789abcdef.sig", key(&gone))],
    );
    assert_eq!(needed(&snapshot, &Snapshot::default(), &[]), digests(&["image"]));
}

#[test]
fn an_envelope_carries_its_original() {
    let image = digest("image");
    let link = format!("{}.0123456789abcdef.sbom", key(&image));
    let snapshot = Snapshot::default()
        .image("image", &["v1"])
        .envelope("envelope", "artifact", Some(&image), true, &[&link])
        .image(
            "signature of the artifact",
            &[&format!("{}.sig", key(&digest("artifact")))],
        );
    assert_eq!(
        needed(&snapshot, &Snapshot::default(), &[]),
        digests(&["image", "envelope", "artifact", "signature of the artifact"])
    );
}

#[test]
fn a_link_that_turns_up_late_reaches_what_was_read_before() {
    // An untagged index inside the image says that a third manifest refers to the image's own child.
    let (child, attestation) = (digest("child"), digest("attestation"));
    let mut annotated = descriptor(&attestation);
    annotated["annotations"] = serde_json::json!({"org.opencontainers.reference": child});
    let snapshot = Snapshot::default().index("outer", &[descriptor(&child), descriptor(&digest("inner"))], &["v1"]);
    let untagged = Snapshot::default()
        .image("child", &[])
        .index("inner", &[annotated], &[])
        .image("attestation", &[]);
    assert_eq!(
        needed(&snapshot, &untagged, &[]),
        digests(&["outer", "child", "inner", "attestation"])
    );
}

#[test]
fn a_build_cache_keeps_its_layers_which_are_no_manifests() {
    let mut layer = descriptor(&digest("layer"));
    layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    let mut untyped = descriptor(&digest("untyped"));
    untyped["mediaType"] = "".into();
    let snapshot = Snapshot::default().index("cache", &[layer, untyped], &["buildcache"]);
    let mut keep = Keep::new(&snapshot);
    assert_eq!(keep.unread(), digests(&["cache"]));
    keep.read(&digest("cache"), snapshot.held(&digest("cache")).as_ref(), Vec::new());
    assert!(keep.may_be_blob(&digest("layer")) && keep.may_be_blob(&digest("untyped")));
    assert_eq!(
        needed(&snapshot, &Snapshot::default(), &[]),
        digests(&["cache", "layer", "untyped"])
    );
}
