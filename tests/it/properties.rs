//! Properties of the grammar: what is printed reads back as itself, and nothing else reads as it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use refshim::testing::oci::media_type::OCI_IMAGE_MANIFEST;
use refshim::testing::oci::name::MAX_TAG;
use refshim::testing::oci::reference_type::reference_type_of;
use refshim::testing::oci::tag_scheme;
use refshim::testing::oci::tag_scheme::HASH_LENGTH;
use refshim::testing::oci::{Digest, LinkTagKind, Manifest, Reference, SubjectKey, Tag};

fn digest() -> impl Strategy<Value = Digest> {
    prop_oneof!["sha256:[0-9a-f]{64}", "sha384:[0-9a-f]{96}", "sha512:[0-9a-f]{128}"]
        .prop_map(|text| Digest::parse(&text).unwrap())
}

fn tag() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
        // Close to the link tags' grammar, on both sides of its edge.
        "sha(256|384|512)-[0-9a-f]{63,65}(\\.[0-9a-g]{0,17}){0,2}(\\.(sig|att|sbom|x))?",
    ]
    .prop_filter("a tag", |text| Tag::parse(text).is_ok())
}

proptest! {
    #[test]
    fn a_proposal_d_tag_reads_back(subject in digest(), own in digest(), kind in "[a-zA-Z0-9._-]{1,60}") {
        let tag = tag_scheme::proposal_d_tag(&subject, &own, &kind).unwrap();
        let read = tag_scheme::parse(tag.as_str()).unwrap();
        prop_assert_eq!(&read.subject, &SubjectKey::of(&subject));
        let LinkTagKind::ProposalD { hash, kind: read } = read.kind else {
            return Err(TestCaseError::fail("not a Proposal D tag"));
        };
        prop_assert_eq!(&hash, &own.encoded()[..HASH_LENGTH]);
        prop_assert!(kind.starts_with(&read) && (read == kind || tag.as_str().len() == MAX_TAG));
    }

    #[test]
    fn a_tag_that_reads_as_a_link_prints_back(text in tag()) {
        let Some(read) = tag_scheme::parse(&text) else { return Ok(()); };
        prop_assert!(text.starts_with(read.subject.as_str()));
        prop_assert!(read.subject.seek_before() < text.as_str());
        if let LinkTagKind::ProposalD { hash, kind } = &read.kind {
            let end = format!(".{hash}.{kind}");
            prop_assert!(text.ends_with(&end));
        }
    }

    #[test]
    fn the_referrers_tag_and_the_envelope_tag_read_back(subject in digest()) {
        let key = SubjectKey::of(&subject);
        let referrers = tag_scheme::parse(tag_scheme::referrers_tag(&subject).unwrap().as_str()).unwrap();
        prop_assert_eq!((&referrers.subject, referrers.kind), (&key, LinkTagKind::Referrers));
        let envelope = tag_scheme::parse(tag_scheme::envelope_tag(&subject).unwrap().as_str()).unwrap();
        prop_assert_eq!(envelope.subject, key);
    }

    /// Whatever a manifest says of its type, the tag that keeps it is one that is found again, and no envelope's.
    #[test]
    fn every_manifest_gets_a_tag_that_is_found_again(stated in any::<Option<String>>(), artifact_type in any::<Option<String>>()) {
        let mut json = serde_json::json!({ "annotations": {} });
        if let Some(stated) = stated {
            json["annotations"]["org.opencontainers.reference.type"] = stated.into();
        }
        if let Some(artifact_type) = artifact_type {
            json["artifactType"] = artifact_type.into();
        }
        let kind = reference_type_of(&Manifest::parse(json.to_string().as_bytes(), OCI_IMAGE_MANIFEST).unwrap());
        let (subject, own) = (Digest::sha256(b"subject"), Digest::sha256(b"own"));
        let tag = tag_scheme::proposal_d_tag(&subject, &own, &kind).unwrap();
        let expected = LinkTagKind::ProposalD { hash: own.encoded()[..HASH_LENGTH].to_owned(), kind: kind.clone() };
        prop_assert_eq!(tag_scheme::parse(tag.as_str()).unwrap().kind, expected);
        prop_assert!(!kind.is_empty() && kind != tag_scheme::ENVELOPE_KIND);
    }

    #[test]
    fn digests_and_references_read_back(digest in digest(), tag in tag()) {
        prop_assert_eq!(Digest::parse(digest.as_str()).unwrap(), digest.clone());
        prop_assert_eq!(Reference::parse(digest.as_str()), Some(Reference::Digest(digest)));
        prop_assert_eq!(Reference::parse(&tag), Some(Reference::Tag(Tag::parse(&tag).unwrap())));
    }
}
