//! The language: digests, tags, manifests, envelopes.

use crate::oci::envelope;
use crate::oci::media_type::OCI_IMAGE_MANIFEST;
use crate::oci::reference_type::reference_type_of;
use crate::oci::{Descriptor, Digest, LinkTagKind, Manifest, Reference, RepositoryName, SubjectKey, Tag, tag_scheme};

/// A digest, and everything else that a path names.
pub(super) fn digest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(format!("{}:{}", digest.algorithm(), digest.encoded()), text);
        let key = SubjectKey::of(&digest);
        assert!(Tag::parse(key.as_str()).is_ok(), "{key}");
        assert!(key.seek_before() < key.as_str());
        if let Some(whole) = key.digest() {
            assert_eq!(whole, digest);
        }
        let own = Digest::sha256(bytes);
        let tag = tag_scheme::proposal_d_tag(&digest, &own, "sig").expect("a digest has link tags");
        assert!(tag_scheme::parse_of(&key, tag.as_str()).is_some(), "{tag}");
    }
    if let Ok(name) = RepositoryName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains("..") && !text.contains("//") && !text.contains('%'));
    }
    if let Some(reference) = Reference::parse(text) {
        assert_eq!(reference.as_str(), text);
    }
}

/// A tag's name.
pub(super) fn tag(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(link) = tag_scheme::parse(text) else {
        return;
    };
    assert!(Tag::parse(text).is_ok(), "a link tag that is no tag");
    assert!(text.starts_with(link.subject.as_str()) && link.subject.seek_before() < text);
    assert_eq!(tag_scheme::parse_of(&link.subject, text).as_ref(), Some(&link));
    if let LinkTagKind::ProposalD { hash, kind } = &link.kind {
        assert!(text.ends_with(&format!(".{hash}.{kind}")));
    }
}

/// A manifest of any dialect.
pub(super) fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes, OCI_IMAGE_MANIFEST) else {
        return;
    };
    let own = Digest::sha256(bytes);
    let links = manifest.links(&own);
    for (subject, _) in manifest.own_subjects() {
        assert!(
            links.iter().any(|link| link.subject == subject),
            "{subject} is not linked"
        );
        let tag =
            tag_scheme::proposal_d_tag(&subject, &own, &reference_type_of(&manifest)).expect("a subject has link tags");
        let read = tag_scheme::parse_of(&SubjectKey::of(&subject), tag.as_str()).expect("our own tags are found again");
        assert!(matches!(read.kind, LinkTagKind::ProposalD { .. }), "{tag}");
    }
    let descriptor = manifest.descriptor(own.clone(), bytes.len() as u64);
    let printed = serde_json::to_value(&descriptor).expect("a descriptor prints");
    assert_eq!(Descriptor::from_json(&printed), Some(descriptor));
}

/// An envelope, and any manifest sealed in one.
pub(super) fn envelope(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes, OCI_IMAGE_MANIFEST) else {
        return;
    };
    if envelope::open(&manifest).is_some() {
        assert!(
            envelope::may_be(bytes) || bytes.contains(&b'\\'),
            "an envelope goes unopened"
        );
    }
    let original = Descriptor::new(manifest.media_type.clone(), Digest::sha256(bytes), bytes.len() as u64);
    let sealed = envelope::seal(&original, &manifest);
    let sealed = Manifest::parse(&sealed, OCI_IMAGE_MANIFEST).expect("an envelope is a manifest");
    assert_eq!(envelope::open(&sealed), Some(original));
}
