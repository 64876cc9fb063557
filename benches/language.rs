//! What every request pays: reading tags and manifests, printing answers, page tokens.
//!
//! `cargo bench --bench language [FILTER]`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot go on fails")]

use std::collections::BTreeSet;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use refshim::testing::oci::{Descriptor, Digest, Manifest, Referrer, ReferrerList, media_type, tag_scheme};
use refshim::testing::render::page::PagedApi;
use refshim::testing::render::{Filter, Query, Window, oci11};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn digest(n: usize) -> Digest {
    Digest::sha256(&n.to_be_bytes())
}

/// The tags of a busy repository: of ten, five link (in every scheme) and five do not.
fn tag_names(count: usize) -> Vec<String> {
    let name = |n: usize| {
        let subject = digest(n);
        let key = format!("sha256-{}", subject.encoded());
        match n % 10 {
            0 => tag_scheme::proposal_d_tag(&subject, &digest(n + 1), "sbom")
                .unwrap()
                .to_string(),
            1 => format!("{key}.sig"),
            2 => format!("{key}.att"),
            3 => key,
            4 => format!("{key}.0123456789abcdef.in-toto.v1"),
            5 => format!("{key}.zip"),
            6 => format!("sha256-{n}"),
            7 => "latest".to_owned(),
            _ => format!("v1.{n}.0"),
        }
    };
    (0..count).map(name).collect()
}

#[divan::bench(args = [10_000])]
fn read_tags(bencher: Bencher, count: usize) {
    let names = tag_names(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        names
            .iter()
            .filter(|name| tag_scheme::parse(black_box(name)).is_some())
            .count()
    });
}

fn descriptor(n: usize) -> Value {
    json!({"mediaType": media_type::OCI_IMAGE_MANIFEST, "digest": digest(n), "size": 1234, "annotations": {
        "org.opencontainers.reference": digest(n + 1), "org.opencontainers.reference.type": "sbom"}})
}

#[divan::bench(args = [2, 50, 1000])]
fn read_index(bencher: Bencher, entries: usize) {
    let manifests: Vec<_> = (0..entries).map(descriptor).collect();
    let bytes =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_IMAGE_INDEX, "manifests": manifests}).to_string();
    let own = Digest::sha256(bytes.as_bytes());
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let manifest = Manifest::parse(black_box(bytes.as_bytes()), media_type::OCI_IMAGE_INDEX).unwrap();
        manifest.links(&own)
    });
}

#[divan::bench]
fn read_signature_manifest(bencher: Bencher) {
    let bytes = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_IMAGE_MANIFEST,
        "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "config": {"mediaType": media_type::OCI_EMPTY, "digest": digest(0), "size": 2},
        "layers": [{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "digest": digest(1), "size": 5000}],
        "subject": {"mediaType": media_type::OCI_IMAGE_MANIFEST, "digest": digest(2), "size": 700},
        "annotations": {"org.opencontainers.image.created": "2025-01-01T00:00:00Z", "dev.sigstore.bundle.content": "dsse-envelope"},
    })
    .to_string();
    let own = Digest::sha256(bytes.as_bytes());
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let manifest = Manifest::parse(black_box(bytes.as_bytes()), media_type::OCI_IMAGE_MANIFEST).unwrap();
        (
            manifest.links(&own),
            manifest.descriptor(own.clone(), bytes.len() as u64),
        )
    });
}

fn links(count: usize) -> ReferrerList {
    let referrer = |n: usize| Referrer {
        descriptor: Descriptor {
            artifact_type: Some(["a/b", "c/d"][n % 2].to_owned()),
            ..Descriptor::from_json(&descriptor(n)).unwrap()
        },
        created: (!n.is_multiple_of(3)).then_some(n as i128),
        sources: BTreeSet::new(),
        objects: None,
        adopted: None,
    };
    let mut referrers: Vec<_> = (0..count).map(referrer).collect();
    referrers.sort_by(Referrer::order);
    ReferrerList::new(digest(0), referrers)
}

#[divan::bench(args = [1, 50, 5000], consts = [false, true])]
fn print_oci11<const FILTERED: bool>(bencher: Bencher, count: usize) {
    let links = links(count);
    let filter = Filter::new(FILTERED.then_some("a/b"));
    let window = Window::first(PagedApi::Oci11, &links.subject, &filter);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| oci11::print(black_box(&links), &filter, &window));
}

/// A page in the middle of a long list: the request's token is opened, the next one is made.
#[divan::bench(args = [5000])]
fn print_one_page_by_token(bencher: Bencher, count: usize) {
    let links = links(count);
    let filter = Filter::default();
    let token = Window::first(PagedApi::Oci11, &links.subject, &filter).seal(&links.referrers[count / 2].position());
    let raw = format!("n=50&nextToken={token}");
    bencher.bench_local(|| {
        let query = Query::parse(black_box(Some(&raw)));
        let window = Window::from_query(PagedApi::Oci11, &links.subject, &filter, &query).unwrap();
        oci11::print(&links, &filter, &window)
    });
}

#[divan::bench]
fn seal_and_open_a_token(bencher: Bencher) {
    let links = links(1);
    let filter = Filter::default();
    let window = Window::first(PagedApi::Oci11, &links.subject, &filter);
    let position = links.referrers[0].position();
    bencher.bench_local(|| {
        let query = Query::parse(Some(&format!("nextToken={}", window.seal(black_box(&position)))));
        Window::from_query(PagedApi::Oci11, &links.subject, &filter, &query).unwrap()
    });
}
