//! Promise: `tags/list` is sorted, paged as the distribution-spec says, and free of the tags that only link.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Read as _;

use crate::support::fake::Fake;
use crate::support::fake::knobs::{Knobs, TagPages};
use crate::support::{Endpoint, Local, Program, Pushed, Refshim, Registry, Reply};

async fn names(endpoint: &Endpoint, query: &str) -> (Vec<String>, Option<String>) {
    let reply = endpoint
        .get(&format!("/v2/a/tags/list{query}"))
        .await
        .expect_status(200);
    let json = reply.json();
    assert_eq!(json["name"], "a");
    let tags = json["tags"].as_array().expect("tags is a list");
    let tags = tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    (tags, reply.header("link").map(str::to_owned))
}

/// Follows every `Link`.
async fn walk(endpoint: &Endpoint, query: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut query = query.to_owned();
    loop {
        let (page, link) = names(endpoint, &query).await;
        pages.push(page);
        let Some(link) = link else { return pages };
        let target = link.strip_prefix("</v2/a/tags/list").expect("a path-absolute link");
        query = target
            .strip_suffix(">; rel=\"next\"")
            .expect("one link to the next page")
            .to_owned();
    }
}

/// Tags `a` to `e`, one of each kind that links, and one that merely looks like it.
async fn filled(registry: &Registry) -> Pushed {
    let endpoint = registry.endpoint();
    let image = endpoint.push_image("a", "c", "image").await;
    for tag in ["e", "b", "d", "a", "sha256-beef"] {
        endpoint.put_tag("a", tag, &image).await;
    }
    let other = endpoint.push_image("a", "zz", "other").await;
    for tag in [
        other.proposal_d_tag(&image, "sig"),
        other.proposal_d_tag(&image, "envelope"),
        format!("{}.sig", image.referrers_tag()),
        image.referrers_tag(),
    ] {
        endpoint.put_tag("a", &tag, &other).await;
    }
    image
}

#[tokio::test]
async fn pages_are_sorted_full_and_without_link_tags() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let image = filled(&registry).await;
        let proxy = Local::in_front_of(&registry.url()).await;
        let endpoint = proxy.endpoint();
        let (referrers_tag, signature) = (image.referrers_tag(), format!("{}.sig", image.referrers_tag()));
        let all = ["a", "b", "c", "d", "e", "sha256-beef", &referrers_tag, &signature, "zz"];
        let mut sorted = all.map(str::to_owned).to_vec();
        sorted.sort();
        assert_eq!(names(&endpoint, "").await, (sorted.clone(), None));
        for n in 1..=10 {
            let pages = walk(&endpoint, &format!("?n={n}")).await;
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == n), "{pages:?}");
            assert_eq!(pages.concat(), sorted, "n={n}");
        }
        // A hidden tag is a place in the order like any other, and still there for who knows its name.
        let other = endpoint.manifest("a", "zz").await;
        let hidden = Pushed::of("", &other.json()).proposal_d_tag(&image, "sig");
        assert_eq!(names(&endpoint, &format!("?last={hidden}&n=1")).await.0.len(), 1);
        endpoint.manifest("a", &hidden).await.expect_status(200);
    }
}

#[tokio::test]
async fn every_kind_of_link_tag_can_be_hidden_or_shown() {
    let registry = Registry::v2().await;
    filled(&registry).await;
    let count = async |hide: [bool; 3]| {
        let proxy = Local::configured(&registry.url(), |config| {
            [
                config.tags.hide_proposal_d,
                config.tags.hide_cosign,
                config.tags.hide_referrers_tag,
            ] = hide;
        })
        .await;
        names(&proxy.endpoint(), "").await.0.len()
    };
    assert_eq!(count([false, false, false]).await, 11);
    assert_eq!(count([true, false, false]).await, 9);
    assert_eq!(count([false, true, false]).await, 10);
    assert_eq!(count([true, true, true]).await, 7);
}

#[tokio::test]
async fn odd_questions_have_answers() {
    let registry = Registry::v2().await;
    filled(&registry).await;
    let proxy = Local::configured(&registry.url(), |config| {
        config.upstreams[0].ns.insert("docker.io".to_owned());
    })
    .await;
    let endpoint = proxy.endpoint();
    assert_eq!(names(&endpoint, "?n=0").await, (vec![], None));
    assert_eq!(names(&endpoint, "?last=zzz").await, (vec![], None));
    assert_eq!(names(&endpoint, "?n=2&last=a").await.0, ["b", "c"]);
    assert_eq!(names(&endpoint, "?n=1&last=bb&unknown=x").await.0, ["c"]);
    assert_eq!(
        names(&endpoint, "?n=1&ns=docker.io").await.1.as_deref(),
        Some("</v2/a/tags/list?last=a&n=1&ns=docker.io>; rel=\"next\"")
    );
    for bad in ["n=x", "n=-1", "n="] {
        let reply = endpoint.get(&format!("/v2/a/tags/list?{bad}")).await.expect_status(400);
        assert_eq!(reply.error_code(), "PAGINATION_NUMBER_INVALID", "{bad}");
    }
    let unknown = endpoint.get("/v2/none/tags/list").await.expect_status(404);
    assert_eq!(unknown.error_code(), "NAME_UNKNOWN");
    let head = endpoint.head("/v2/a/tags/list").await.expect_status(200);
    let get = endpoint.get("/v2/a/tags/list").await;
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

const GZIP: (&str, &str) = ("accept-encoding", "br, gzip;q=0.8");

fn decompressed(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let mut bytes = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&reply.body[..]);
    decoder.read_to_end(&mut bytes).expect("gzip");
    bytes
}

async fn etag_is_known(endpoint: &Endpoint, path: &str, etag: &str, headers: &[(&str, &str)]) -> bool {
    let headers = [headers, &[("if-none-match", etag)]].concat();
    let reply = endpoint.get_with(path, &headers).await;
    assert_eq!(reply.header("vary"), Some("accept-encoding"), "{reply:?}");
    if reply.status == 304 {
        assert_eq!((reply.header("etag"), reply.body.len()), (Some(etag), 0));
        assert_eq!(reply.header("content-encoding"), None);
    }
    reply.status == 304
}

/// Thousands of tags, whole or as the registry's own pages: who polls asks for gzip, and is not sent twice what it has.
#[tokio::test]
async fn a_large_listing_is_compressed_for_who_asks_and_not_sent_twice() {
    let knobs = Knobs {
        tags: Some(TagPages {
            page: Some(500),
            greatest_n: Some(500),
            ..TagPages::default()
        }),
        ..Knobs::default()
    };
    let fake = Fake::start(knobs).await;
    let image = fake.image("a", "v0000-of-a-rather-long-name", "image");
    for number in 1..2000 {
        fake.put_pushed("a", &format!("v{number:04}-of-a-rather-long-name"), &image);
    }
    for (path, is_own_page) in [("/v2/a/tags/list", false), ("/v2/a/tags/list?n=1500", true)] {
        let refshim = Refshim::in_front_of(&fake.url()).await;
        let endpoint = refshim.endpoint();
        let plain = endpoint.get(path).await.expect_status(200);
        let link = plain.header("link").unwrap_or_default();
        assert_eq!(link.contains("cursor="), is_own_page, "{link}");
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.header("vary"), Some("accept-encoding"));

        let compressed = endpoint.get_with(path, &[GZIP]).await.expect_status(200);
        assert_eq!(decompressed(&compressed), plain.body);
        assert!(
            compressed.body.len() * 4 < plain.body.len(),
            "{}",
            compressed.body.len()
        );
        let head = endpoint.head_with(path, &[GZIP]).await.expect_status(200);
        for name in ["content-length", "content-encoding", "content-type", "etag", "vary"] {
            assert!(head.header(name).is_some(), "{name}");
            assert_eq!(head.header(name), compressed.header(name), "{name}");
        }

        let (of_plain, of_gzip) = (plain.header("etag").unwrap(), compressed.header("etag").unwrap());
        assert_ne!(of_plain, of_gzip);
        assert!(etag_is_known(&endpoint, path, of_gzip, &[GZIP]).await);
        assert!(etag_is_known(&endpoint, path, of_plain, &[]).await);
        assert!(!etag_is_known(&endpoint, path, of_plain, &[GZIP]).await);
        assert!(!etag_is_known(&endpoint, path, of_gzip, &[]).await);
        endpoint.put_tag("a", "v0000-newer", &image).await;
        assert!(!etag_is_known(&endpoint, "/v2/a/tags/list", of_gzip, &[GZIP]).await);

        let small = endpoint
            .get_with("/v2/a/tags/list?n=3&last=v1", &[GZIP])
            .await
            .expect_status(200);
        assert_eq!(small.header("content-encoding"), None);
        assert_eq!(small.header("vary"), Some("accept-encoding"));
    }
}

/// ggcr and regclient compare the list with its digest and its length.
#[tokio::test]
async fn a_list_of_referrers_is_not_sent_twice_and_never_compressed() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("a", "v1", "image");
    for number in 0..100 {
        fake.tagged_artifact("a", &image, "application/spdx+json", &format!("sbom {number}"));
    }
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let path = format!("/v2/a/referrers/{}", image.digest);
    let listed = refshim.endpoint().get_with(&path, &[GZIP]).await.expect_status(200);
    assert!(listed.body.len() > 20_000, "large enough to be worth it");
    assert_eq!((listed.header("content-encoding"), listed.header("vary")), (None, None));
    let etag = listed.header("etag").unwrap();
    let known = [GZIP, ("if-none-match", etag)];
    refshim.endpoint().get_with(&path, &known).await.expect_status(304);
    refshim.endpoint().head_with(&path, &known).await.expect_status(304);
}
