//! How one list of referrers is printed in every dialect, after the proposals' and the specification's own examples:
//! a file in `tests/golden/print` each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use refshim::testing::oci::{Descriptor, Digest, Manifest, Referrer, ReferrerList, timestamp};
use refshim::testing::render::page::PagedApi;
use refshim::testing::render::proposal_a::Shape;
use refshim::testing::render::{
    Filter, Query, RenderedPage, Window, next_link, oci11, proposal_a, proposal_b, proposal_c,
};
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/golden/print/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path)
}

fn referrer(found: &Value) -> Referrer {
    let descriptor = Descriptor::from_json(found).unwrap();
    let objects = found.get("objects").and_then(Value::as_array);
    Referrer {
        created: timestamp::created(&descriptor.annotations),
        descriptor,
        sources: BTreeSet::new(),
        objects: objects.map(|list| list.iter().filter_map(Descriptor::from_json).collect()),
        adopted: None,
    }
}

/// The fixture's `found`, ordered as the resolver orders.
fn links(fixture: &Value) -> ReferrerList {
    let mut referrers: Vec<_> = fixture["found"].as_array().unwrap().iter().map(referrer).collect();
    referrers.sort_by(Referrer::order);
    ReferrerList::new(Digest::parse(fixture["subject"].as_str().unwrap()).unwrap(), referrers)
}

/// The answer and its text are one: exactly one JSON value, nothing around it.
fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn paged(name: &str, api: PagedApi, print: impl Fn(&ReferrerList, &Filter, &Window) -> RenderedPage) {
    let fixture = fixture(name);
    let links = links(&fixture);
    let query = Query::parse(fixture["query"].as_str());
    let filter = Filter::from_query(&query);
    let window = Window::from_query(api, &links.subject, &filter, &query).unwrap();
    let page = print(&links, &filter, &window);
    assert_eq!(json(&page.body), fixture["answer"], "{name}");
    assert_eq!(page.next, None, "{name}");
}

#[test]
fn oci11_lists_newest_first_with_types_and_annotations() {
    paged("oci11", PagedApi::Oci11, oci11::print);
    paged("oci11_none", PagedApi::Oci11, oci11::print);
}

#[test]
fn oci11_filtered_says_so_in_both_historic_annotations() {
    paged("oci11_filtered", PagedApi::Oci11, oci11::print);
    paged("proposal_e", PagedApi::Oci11, oci11::print);
}

#[test]
fn oci11_entries_carry_neither_data_nor_references() {
    paged("oci11_no_data", PagedApi::Oci11, oci11::print);
}

#[test]
fn oci11_text_is_stable() {
    let links = links(&fixture("oci11_filtered"));
    let filter = Filter::new(["application/vnd.example.sbom.v1"]);
    let page = oci11::print(
        &links,
        &filter,
        &Window::first(PagedApi::Oci11, &links.subject, &filter),
    );
    let expected = concat!(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#,
        r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        r#""digest":"sha256:a1a1a10000000000000000000000000000000000000000000000000000000000","size":1234,"#,
        r#""artifactType":"application/vnd.example.sbom.v1","annotations":{"org.example.sbom.format":"json","#,
        r#""org.opencontainers.image.created":"2022-01-01T14:42:55Z"}}],"#,
        r#""annotations":{"org.opencontainers.references.filtersApplied":"artifactType","#,
        r#""org.opencontainers.referrers.filtersApplied":"artifactType"}}"#,
    );
    assert_eq!(page.body, expected);
}

#[test]
fn proposal_a() {
    for name in [
        "proposal_a",
        "proposal_a_none",
        "proposal_a_sorted",
        "proposal_a_filtered",
    ] {
        paged(name, PagedApi::ProposalA, |links, filter, window| {
            proposal_a::print(Shape::ProposalA, links, filter, window)
        });
        paged(name, PagedApi::Oras, |links, filter, window| {
            proposal_a::print(Shape::Oras, links, filter, window)
        });
    }
}

#[test]
fn proposal_a_next_link_is_the_examples() {
    let query = Query::parse(Some("digest=sha256:abc123&n=5"));
    assert_eq!(
        next_link(
            "http://example.com",
            "/v2/hello-world/_oci/artifacts/referrers",
            &query,
            "abc"
        ),
        r#"<http://example.com/v2/hello-world/_oci/artifacts/referrers?digest=sha256:abc123&n=5&nextToken=abc>; rel="next""#
    );
}

#[test]
fn oras_v1_prints_both_keys() {
    paged("oras_v1", PagedApi::OrasV1, |links, filter, window| {
        proposal_a::print(Shape::OrasV1, links, filter, window)
    });
}

#[test]
fn proposal_b_is_an_index_of_everything() {
    let fixture = fixture("proposal_b");
    assert_eq!(json(&proposal_b::print(&links(&fixture))), fixture["answer"]);
}

#[test]
fn proposal_c_lists_objects_in_their_nodes_place() {
    for name in ["proposal_c_referrers", "proposal_c_referrers_mixed"] {
        let fixture = fixture(name);
        assert_eq!(
            json(&proposal_c::referrers(&links(&fixture))),
            fixture["answer"],
            "{name}"
        );
    }
}

#[test]
fn proposal_c_answers_about_every_kind_of_manifest() {
    for name in ["node", "lone_node", "image", "artifact", "index"] {
        let fixture = fixture(&format!("proposal_c_{name}"));
        let bytes = fixture["manifest"].to_string();
        let manifest = Manifest::parse(bytes.as_bytes(), fixture["contentType"].as_str().unwrap()).unwrap();
        assert_eq!(json(&proposal_c::reference(&manifest)), fixture["reference"], "{name}");
        assert_eq!(json(&proposal_c::objects(&manifest)), fixture["objects"], "{name}");
        assert_eq!(
            json(&proposal_c::description(&manifest)),
            fixture["description"],
            "{name}"
        );
    }
}
