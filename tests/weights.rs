//! Promise: the cache takes up what its bounds say, within a tenth. A program of its own: it measures its own process.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use refshim::testing::cache::{Bounds, Cache, Epoch, Key, RepositoryKey};
use refshim::testing::oci::descriptor::Annotations;
use refshim::testing::oci::{Descriptor, Digest, LinkSource, Referrer, ReferrerList};
use refshim::testing::referrers::{RememberedManifest, ServedHeaders};
use refshim::testing::registry::{RawManifest, WalkedListing};
use refshim::testing::render::oci11;

const BOUNDS: Bounds = Bounds {
    manifests: 24 << 20,
    lists: 48 << 20,
};

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

/// As signers make them.
fn referrer(name: &str) -> Referrer {
    let mut descriptor = Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest(name), 1234);
    descriptor.artifact_type = Some("application/vnd.dev.sigstore.bundle.v0.3+json".to_owned());
    let annotations = [("title", name), ("created", "2026-11-26T12:00:00Z")];
    let annotations = annotations.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()));
    descriptor.annotations = Annotations::from(annotations);
    Referrer {
        descriptor,
        created: Some(0),
        sources: [LinkSource::ProposalDTag, LinkSource::Subject].into(),
        objects: None,
        adopted: None,
    }
}

async fn put_list(cache: &Cache, number: usize, referrers: usize) {
    let scope = RepositoryKey::new("https://registry.example/", format!("team/app-{}", number % 1000));
    let subject = digest(&number.to_string());
    let entries = (0..referrers).map(|entry| referrer(&format!("{number} {entry}")));
    let links = Arc::new(ReferrerList::new(subject.clone(), entries.collect()));
    links.printed.once(|| oci11::print_whole(&links));
    cache.put(Key::answer(&scope, &Epoch::outside(), &subject), links).await;
}

async fn put_manifest(cache: &Cache, number: usize) {
    let scope = RepositoryKey::new("https://registry.example/", format!("team/app-{}", number % 1000));
    let bytes = format!("{number:0600}");
    let raw = RawManifest {
        digest: digest(&bytes),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        bytes: bytes::Bytes::copy_from_slice(bytes.as_bytes()),
    };
    let key = Key::manifest(&scope, &Epoch::outside(), &raw.digest);
    // As Distribution sends them.
    let mut sent = HeaderMap::new();
    sent.insert(
        "content-type",
        HeaderValue::from_static("application/vnd.oci.image.manifest.v1+json"),
    );
    sent.insert(
        "docker-distribution-api-version",
        HeaderValue::from_static("registry/2.0"),
    );
    sent.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    sent.insert("etag", format!("\"{}\"", raw.digest).parse().unwrap());
    let remembered = RememberedManifest::new(raw, ServedHeaders::new(&sent, None));
    cache.put(key, Arc::new(remembered)).await;
}

/// A listing of 120,000 tags as GHCR gives it, a hundred on a page.
fn large_listing() -> WalkedListing {
    let name = |number: usize| format!("sha256-{:x>58}.sig", format!("{:06}", number * 7919 % 120_000));
    let pages = (0..1200).map(|page| {
        let cursor = match page {
            0 => "/v2/team/app/tags/list?n=1000".to_owned(),
            page => format!("/v2/team/app/tags/list?last={}&n=1000", name(page * 100 - 1)),
        };
        serde_json::json!({"cursor": cursor, "by_last": false, "end": (page + 1) * 100})
    });
    let names: Vec<String> = (0..120_000)
        .map(|number| format!("sha256-{:x>58}.sig", format!("{number:06}")))
        .collect();
    let stored = serde_json::json!({
        "tags": names,
        "pages": pages.collect::<Vec<_>>(),
        "order": (0..120_000).map(|number| number * 7919 % 120_000).collect::<Vec<_>>(),
        "longest": 100,
        "followed_links": true,
    });
    serde_json::from_value(stored).unwrap()
}

/// What was used to make the first is there for the others.
fn a_large_listing_takes_what_is_counted() {
    let first = large_listing();
    assert_eq!((first.names().len(), first.page_count()), (120_000, 1200));
    let (before, weight) = (resident(), first.weight() as u64);
    let more: Vec<WalkedListing> = (0..24).map(|_| large_listing()).collect();
    let each = (resident() - before) / more.len() as u64;
    assert!(
        each.abs_diff(weight) <= weight / 10,
        "{each} bytes in memory, {weight} counted"
    );
    assert!(weight <= 20 << 20, "{weight} bytes");
}

#[tokio::test]
async fn what_is_remembered_takes_as_much_memory_as_is_counted() {
    let before = resident();
    let cache = Cache::new(BOUNDS);
    for number in 0..60_000 {
        // Mostly "nothing refers to this", every tenth with a few, every five-hundredth with many.
        let referrers = match number {
            _ if number % 500 == 0 => 100,
            _ if number % 10 == 0 => 5,
            _ => 0,
        };
        put_list(&cache, number, referrers).await;
        put_manifest(&cache, number).await;
    }
    let (grown, bound) = (resident() - before, BOUNDS.manifests + BOUNDS.lists);
    assert!(grown <= bound + bound / 10, "{grown} bytes in memory, {bound} counted");
    assert!(grown >= bound - bound / 10, "{grown} bytes in memory, {bound} counted");
    // Memory that is given back would be taken again by what comes next, and so not be seen.
    std::mem::forget(cache);
    a_large_listing_takes_what_is_counted();
}
