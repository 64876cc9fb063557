//! How every proposal's own example documents are read: one file in `tests/golden/read` per way of writing a link.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use refshim::testing::oci::{Digest, LinkTagKind, LinkTarget, Manifest, tag_scheme};
use serde_json::{Value, json};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/golden/read/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path)
}

fn reads(name: &str) {
    let fixture = fixture(name);
    let own = Digest::parse(fixture["digest"].as_str().unwrap()).unwrap();
    let bytes = fixture["manifest"].to_string();
    let links = |content_type: &str| -> Value {
        let manifest = Manifest::parse(bytes.as_bytes(), content_type).unwrap();
        let found = manifest.links(&own).into_iter().map(|link| {
            let (referrer, target) = match &link.target {
                LinkTarget::This => (&own, "this"),
                LinkTarget::Manifest(listed) => (&listed.digest, "manifest"),
                LinkTarget::Blob(listed) => (&listed.digest, "blob"),
            };
            json!({"subject": link.subject, "referrer": referrer, "target": target, "dialect": link.source.as_str()})
        });
        found.collect()
    };
    let content_type = fixture["contentType"].as_str().unwrap();
    assert_eq!(links(content_type), fixture["links"], "{name}");
    // A registry that says nothing useful about the type changes nothing.
    assert_eq!(
        links("application/octet-stream"),
        fixture["links"],
        "{name}, by its mediaType"
    );
}

macro_rules! rows {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                reads(stringify!($name));
            }
        )*

        #[test]
        fn every_file_has_its_test() {
            let listed: std::collections::BTreeSet<_> = [$(stringify!($name)),*].map(str::to_owned).into();
            let directory = format!("{}/tests/golden/read", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(directory).unwrap();
            let names = files.map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
            assert_eq!(names.filter(|name| name != "tags").collect::<std::collections::BTreeSet<_>>(), listed);
        }
    };
}

rows! {
    buildkit
    itself
    nonsense_around_a_link
    oras
    proposal_a
    proposal_a_without_subject
    proposal_b_descriptors
    proposal_b_index_top
    proposal_b_layers
    proposal_b_top
    proposal_c
    proposal_c_lone_node
    proposal_d_index
    proposal_d_manifest
    proposal_d_type_only
    proposal_e_final
    proposal_e_final_index
    proposal_e_refers
    proposal_e_refers_artifact
    proposal_f
    several_at_once
}

#[test]
fn tags_say_what_they_point_at() {
    for row in fixture("tags").as_array().unwrap() {
        let tag = row["tag"].as_str().unwrap();
        let read = tag_scheme::parse(tag).map(|read| {
            let subject = read.subject.as_str().to_owned();
            match read.kind {
                LinkTagKind::ProposalD { hash, kind } => {
                    json!({"tag": tag, "subject": subject, "scheme": "proposal-d", "hash": hash, "type": kind})
                }
                LinkTagKind::Cosign(kind) => {
                    let kind = kind.artifact_type().split('.').rev().nth(1).unwrap();
                    json!({"tag": tag, "subject": subject, "scheme": "cosign", "type": kind})
                }
                LinkTagKind::Referrers => json!({"tag": tag, "subject": subject, "scheme": "referrers"}),
            }
        });
        assert_eq!(read.unwrap_or_else(|| json!({ "tag": tag })), *row);
    }
}

#[test]
fn inlined_data_counts_only_when_it_is_what_the_descriptor_promises() {
    let index = fixture("proposal_d_index");
    let manifest = Manifest::parse(index["manifest"].to_string().as_bytes(), "").unwrap();
    // The example's digest is made up, so its data is not what it promises.
    assert_eq!(manifest.manifests[3].inlined(), None);
    let mut honest = manifest.manifests[3].clone();
    honest.digest = Digest::sha256(b"{}");
    assert_eq!(honest.inlined().as_deref(), Some(&b"{}"[..]));
    honest.size = 3;
    assert_eq!(honest.inlined(), None);
}
