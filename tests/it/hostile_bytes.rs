//! Foreign bytes: whatever comes in, every parser answers, and what it accepts keeps its promises.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use refshim::testing::oci::descriptor::annotations_from_json;
use refshim::testing::oci::{Descriptor, Digest, Manifest, Reference, RepositoryName, Tag};
use refshim::testing::oci::{envelope, media_type, reference_type, tag_scheme, timestamp};
use refshim::testing::render::{Filter, Query, Window, discover, next_link, page, proposal_c};
use serde_json::Value;

/// Words that parsers look for, so that random documents get past the first question.
const WORDS: [&str; 30] = [
    "mediaType",
    "schemaVersion",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "objects",
    "subject",
    "refers",
    "reference",
    "annotations",
    "description",
    "digest",
    "size",
    "data",
    "platform",
    "extensions",
    "name",
    "org.opencontainers.reference",
    "org.opencontainers.reference.digest",
    "vnd.docker.reference.type",
    "vnd.docker.reference.digest",
    "attestation-manifest",
    "org.opencontainers.image.created",
    media_type::OCI_IMAGE_MANIFEST,
    media_type::OCI_IMAGE_INDEX,
    media_type::OCI_NODE,
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "2022-01-01T14:42:55Z",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => any::<String>()]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(word(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Everything that is ever asked of a manifest.
fn exercise(bytes: &[u8], content_type: &str) {
    let own = Digest::sha256(bytes);
    let Ok(manifest) = Manifest::parse(bytes, content_type) else {
        return;
    };
    for link in manifest.links(&own) {
        assert!(Digest::parse(link.subject.as_str()).is_ok());
    }
    let kind = reference_type::reference_type_of(&manifest);
    assert!(tag_scheme::proposal_d_tag(&own, &own, &kind).is_some(), "{kind:?}");
    let sealed = envelope::seal(&manifest.descriptor(own.clone(), bytes.len() as u64), &manifest);
    let opened = envelope::open(&Manifest::parse(&sealed, "").unwrap()).unwrap();
    assert_eq!((opened.digest, opened.media_type), (own, manifest.media_type.clone()));
    for descriptor in manifest.manifests.iter().chain(&manifest.layers) {
        descriptor.inlined();
    }
    envelope::open(&manifest);
    timestamp::created(&manifest.annotations);
    for body in [
        proposal_c::reference(&manifest),
        proposal_c::objects(&manifest),
        proposal_c::description(&manifest),
    ] {
        assert!(serde_json::from_slice::<Value>(&body).unwrap().is_object());
    }
}

proptest! {
    #[test]
    fn manifests_of_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes, media_type::OCI_IMAGE_INDEX);
    }

    #[test]
    fn manifests_of_random_json(value in json(), content_type in word()) {
        for content_type in [content_type.as_str(), media_type::OCI_IMAGE_INDEX, media_type::OCI_IMAGE_MANIFEST, media_type::OCI_NODE] {
            exercise(value.to_string().as_bytes(), content_type);
        }
        let _ = Descriptor::from_json(&value);
        let _ = annotations_from_json(&value);
    }

    #[test]
    fn manifests_cut_short_or_changed(cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let whole = include_bytes!("../golden/read/proposal_d_index.json");
        let document: Value = serde_json::from_slice(whole).unwrap();
        let mut bytes = document["manifest"].to_string().into_bytes();
        let at = cut.index(bytes.len());
        exercise(&bytes[..at], media_type::OCI_IMAGE_INDEX);
        bytes[at] = byte;
        exercise(&bytes, media_type::OCI_IMAGE_INDEX);
    }

    #[test]
    fn names(text in any::<String>()) {
        if let Ok(digest) = Digest::parse(&text) {
            prop_assert_eq!(digest.to_string(), format!("{}:{}", digest.algorithm(), digest.encoded()));
            prop_assert!(tag_scheme::referrers_tag(&digest).is_some());
        }
        if let Ok(name) = RepositoryName::parse(&text) {
            prop_assert!(name.as_str().split('/').all(|part| !part.is_empty() && part != ".." && part != "."));
        }
        let _ = Tag::parse(&text);
        let _ = Reference::parse(&text);
        let _ = tag_scheme::parse(&text);
        let _ = media_type::essence(&text);
    }

    /// Also an algorithm that nobody registered has its referrers tag.
    #[test]
    fn every_digest_has_a_referrers_tag(text in "[a-z0-9]{1,40}([+._-][a-z0-9]{1,8}){0,2}:[a-zA-Z0-9=_-]{1,140}") {
        let Ok(digest) = Digest::parse(&text) else { return Ok(()); };
        prop_assert!(tag_scheme::referrers_tag(&digest).is_some());
    }

    #[test]
    fn dates(text in prop_oneof![any::<String>(), "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:]{8}(\\.[0-9]{0,12})?(Z|z|[+-][0-9]{2}:[0-9]{2})"]) {
        let annotations = [("org.opencontainers.image.created".to_owned(), text)].into();
        if let Some(nanoseconds) = timestamp::created(&annotations) {
            let printed = timestamp::to_rfc3339(nanoseconds);
            let again = printed.map(|p| timestamp::created(&[("org.opencontainers.image.created".to_owned(), p)].into()));
            prop_assert!(again.is_none_or(|again| again == Some(nanoseconds)));
        }
    }

    #[test]
    fn queries_and_the_links_made_of_them(raw in any::<String>(), token in any::<String>()) {
        let query = Query::parse(Some(&raw));
        let filter = Filter::from_query(&query);
        let _ = Window::from_query(page::PagedApi::Oci11, &Digest::sha256(b""), &filter, &query);
        let link = next_link("", "/v2/a/referrers/b", &query, &token);
        prop_assert!(link.bytes().all(|b| (0x21..0x7f).contains(&b) || b == b' '), "{}", link);
        prop_assert_eq!(link.matches(['<', '>']).count(), 2);
        // What the next request says is what this one said.
        let inside = link.strip_prefix("</v2/a/referrers/b?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        let next = Query::parse(Some(inside));
        prop_assert_eq!(Filter::from_query(&next), filter);
        prop_assert_eq!(next.first("n"), query.first("n"));
        prop_assert_eq!(next.first("nextToken"), Some(token.as_str()));
    }

    #[test]
    fn discovery_keeps_ours_whatever_the_upstream_says(value in json(), bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let wrapped = serde_json::json!({ "extensions": [value.clone()] });
        for upstream in [bytes, value.to_string().into_bytes(), wrapped.to_string().into_bytes()] {
            let printed: Value = serde_json::from_slice(&discover::print(Some(&upstream))).unwrap();
            prop_assert_eq!(&printed["extensions"][0]["name"], "_oci");
            prop_assert_eq!(&printed["extensions"][1]["name"], "_oras");
        }
    }
}

#[test]
fn nesting_without_end_is_refused_and_not_followed() {
    let deep = format!("{}{}{}", r#"{"reference":"#.repeat(100_000), "{}", "}".repeat(100_000));
    exercise(deep.as_bytes(), media_type::OCI_IMAGE_INDEX);
    assert!(Manifest::parse(deep.as_bytes(), media_type::OCI_IMAGE_INDEX).is_err());
    assert!(Manifest::parse(&b"[".repeat(1_000_000), media_type::OCI_IMAGE_INDEX).is_err());
}
