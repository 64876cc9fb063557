//! Tests of what is planned to be written.

use serde_json::{Value, json};

use super::*;
use crate::oci::media_type::OCI_IMAGE_MANIFEST;
use crate::oci::tag_scheme;

fn digest(n: u8) -> Digest {
    Digest::sha256(&[n])
}

fn subject() -> Digest {
    digest(0)
}

fn descriptor(n: u8) -> Descriptor {
    Descriptor {
        artifact_type: Some("application/x".into()),
        ..Descriptor::new(OCI_IMAGE_MANIFEST, digest(n), 100)
    }
}

fn found(n: u8, source: LinkSource) -> FoundReferrer {
    FoundReferrer {
        referrer: Referrer {
            descriptor: descriptor(n),
            created: None,
            sources: [source].into(),
            objects: None,
            adopted: None,
        },
        carrier: Carrier::Itself,
        tag: tag_scheme::proposal_d_tag(&subject(), &digest(n), "sig"),
        tag_holds: None,
    }
}

fn tag() -> Tag {
    tag_scheme::referrers_tag(&subject()).unwrap()
}

/// A referrers tag with these entries.
fn stored(entries: &[Value]) -> Existing {
    let bytes = json!({"schemaVersion": 2, "annotations": {"by": "them"}, "manifests": entries}).to_string();
    Existing {
        digest: Some(Digest::sha256(bytes.as_bytes())),
        index: ReferrersTagIndex::parse(bytes.as_bytes()),
        others: BTreeMap::new(),
    }
}

/// The index that is to be written.
fn written(plan: &Plan) -> Value {
    let [
        PlannedWrite {
            content: Content::Index { bytes, .. },
            ..
        },
    ] = plan.writes.as_slice()
    else {
        panic!("one index expected: {plan:?}")
    };
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn proposal_d_copies_the_manifest_under_its_tag() {
    let signature = found(1, LinkSource::CosignTag);
    let plan = proposal_d(&subject(), std::slice::from_ref(&signature));
    let [write] = plan.writes.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(Some(&write.tag), signature.tag.as_ref());
    let Content::Same(copied) = &write.content else {
        panic!("{write:?}")
    };
    assert_eq!(
        (&copied.digest, copied.media_type.as_str()),
        (&digest(1), OCI_IMAGE_MANIFEST)
    );
    assert_eq!(write.links[0].sources, [LinkSource::CosignTag].into());
}

#[test]
fn proposal_d_has_nothing_to_do_where_the_tag_is() {
    let by_name = found(1, LinkSource::ProposalDTag);
    // As refshim shows it: the tag hides from the listing.
    let hidden = FoundReferrer {
        tag_holds: Some(digest(2)),
        ..found(2, LinkSource::Native)
    };
    let plan = proposal_d(&subject(), &[by_name, hidden]);
    assert_eq!((plan.writes.len(), plan.there.len()), (0, 2));
}

#[test]
fn proposal_d_takes_no_tag_from_others_and_links_no_blobs() {
    let taken = FoundReferrer {
        tag_holds: Some(digest(9)),
        ..found(1, LinkSource::Subject)
    };
    let blob = FoundReferrer {
        carrier: Carrier::Elsewhere,
        ..found(2, LinkSource::ProposalB)
    };
    let plan = proposal_d(&subject(), &[taken, blob]);
    assert_eq!(plan.writes, []);
    assert!(plan.skipped[0].reason.contains(digest(9).as_str()));
    assert_eq!(plan.skipped[1].referrer, digest(2));
}

#[test]
fn proposal_d_of_an_envelope_is_the_envelope() {
    let envelope = Descriptor::new(OCI_IMAGE_MANIFEST, digest(8), 5);
    let sealed = FoundReferrer {
        carrier: Carrier::Envelope(envelope.clone()),
        ..found(1, LinkSource::ProposalA)
    };
    let plan = proposal_d(&subject(), &[sealed]);
    assert_eq!(plan.writes[0].content, Content::Same(envelope));
}

#[test]
fn a_new_referrers_tag_lists_everything_in_order() {
    let plan = referrers_tag(
        &subject(),
        &tag(),
        &[found(2, LinkSource::CosignTag), found(1, LinkSource::Subject)],
        &Existing::default(),
    );
    let index = written(&plan);
    assert_eq!(index["manifests"], json!([descriptor(2), descriptor(1)]));
    assert_eq!(index["mediaType"], crate::oci::media_type::OCI_IMAGE_INDEX);
}

#[test]
fn what_a_stored_index_says_is_replaced_by_what_the_manifests_say() {
    let lying = json!({"digest": digest(1), "size": 7, "mediaType": OCI_IMAGE_MANIFEST, "artifactType": "wrong"});
    let theirs = json!({"digest": digest(3), "size": 1, "mediaType": "x/y", "x-their-own": 1});
    let mut existing = stored(&[lying, theirs.clone()]);
    existing.others.insert(digest(3), OtherEntry::Strange);
    let plan = referrers_tag(&subject(), &tag(), &[found(1, LinkSource::ReferrersTag)], &existing);
    let index = written(&plan);
    assert_eq!(index["manifests"], json!([descriptor(1), theirs]));
    assert_eq!(index["annotations"], json!({"by": "them"}));
}

#[test]
fn entries_are_kept_unless_they_are_gone() {
    let mut existing = stored(&[json!(descriptor(1)), json!(descriptor(2)), json!(descriptor(3))]);
    existing.others.insert(digest(2), OtherEntry::Gone);
    existing.others.insert(digest(3), OtherEntry::There(descriptor(3)));
    let plan = referrers_tag(&subject(), &tag(), &[found(1, LinkSource::ReferrersTag)], &existing);
    assert_eq!(written(&plan)["manifests"], json!([descriptor(1), descriptor(3)]));
    assert_eq!(plan.writes[0].dropped, [digest(2)]);
    assert_eq!(plan.there, [digest(1)].into());
}

#[test]
fn a_referrers_tag_that_is_right_stays_untouched() {
    let listed = [found(1, LinkSource::CosignTag), found(2, LinkSource::Subject)];
    let first = referrers_tag(&subject(), &tag(), &listed, &Existing::default());
    let bytes = written(&first).to_string();
    let existing = Existing {
        digest: Some(digest(9)),
        index: ReferrersTagIndex::parse(bytes.as_bytes()),
        others: BTreeMap::new(),
    };
    let second = referrers_tag(&subject(), &tag(), &listed, &existing);
    assert_eq!((second.writes.len(), second.there.len()), (0, 2));
}

#[test]
fn a_tag_that_is_something_else_is_left_alone() {
    let image = json!({"digest": digest(5), "size": 1, "platform": {"os": "linux", "architecture": "amd64"}});
    let not_an_index = Existing {
        digest: Some(digest(9)),
        ..Existing::default()
    };
    // A registry that answers this tag with the subject itself.
    let itself = Existing {
        digest: Some(subject()),
        ..stored(&[])
    };
    for existing in [stored(&[image]), not_an_index, itself] {
        let plan = referrers_tag(&subject(), &tag(), &[found(1, LinkSource::CosignTag)], &existing);
        assert_eq!(plan.writes, []);
        assert!(plan.skipped[0].reason.contains("is taken"), "{plan:?}");
    }
}

#[test]
fn a_referrers_tag_lists_only_manifests_that_the_registry_has() {
    let sealed = FoundReferrer {
        carrier: Carrier::Envelope(descriptor(8)),
        ..found(1, LinkSource::ProposalA)
    };
    let inlined = FoundReferrer {
        carrier: Carrier::Elsewhere,
        ..found(2, LinkSource::ProposalDAnnotation)
    };
    let plan = referrers_tag(&subject(), &tag(), &[sealed, inlined], &Existing::default());
    assert_eq!((plan.writes.len(), plan.skipped.len()), (0, 2));
}
