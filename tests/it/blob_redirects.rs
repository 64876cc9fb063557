//! Promise: blobs that a registry keeps elsewhere reach callers who cannot go there themselves, and nobody's credentials do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support::fake::knobs::Redirect;
use crate::support::fake::{Fake, Knobs, profiles};
use crate::support::{Endpoint, Local, Reply, Tools};
use refshim::testing::config::Blobs;
use refshim::testing::oci::Digest;

const APP: &str = "o/app";

fn knobs(redirect: Redirect) -> Knobs {
    Knobs {
        redirect: Some(redirect),
        ..Knobs::default()
    }
}

async fn streaming(fake: &Fake) -> Local {
    Local::configured(&fake.url(), |config| {
        config.upstreams[0].blobs = Blobs::Stream;
        config.upstreams[0].redirect_hosts.insert("127.0.0.2".into());
    })
    .await
}

fn path(digest: &Digest) -> String {
    format!("/v2/{APP}/blobs/{digest}")
}

fn expect_blob(reply: &Reply, digest: &Digest, length: usize) {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        reply.header("docker-content-digest"),
        Some(digest.as_str()),
        "{reply:?}"
    );
    assert_eq!(
        reply.header("content-length"),
        Some(length.to_string().as_str()),
        "{reply:?}"
    );
    assert_eq!(
        reply.header("content-type"),
        Some("application/octet-stream"),
        "{reply:?}"
    );
    assert_eq!(reply.header("location"), None, "{reply:?}");
}

#[tokio::test]
async fn a_blob_is_fetched_from_where_the_registry_keeps_it() {
    for redirect in [Redirect::SignedElsewhere, Redirect::Downloads] {
        let fake = Fake::start(knobs(redirect)).await;
        // Larger than what is remembered.
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let digest = fake.blob(APP, content.clone());
        let proxy = streaming(&fake).await;
        let caller = proxy.endpoint().basic("alice", "secret");
        let whole = caller.get(&path(&digest)).await;
        expect_blob(&whole, &digest, content.len());
        assert!(whole.body == content);
        // The signature is for GET alone.
        expect_blob(&caller.head(&path(&digest)).await, &digest, content.len());
        // The embedded registry behind relative redirects knows no ranges.
        if redirect == Redirect::Downloads {
            continue;
        }
        let part = caller
            .get_with(&path(&digest), &[("range", "bytes=10-19")])
            .await
            .expect_status(206);
        assert_eq!(part.body, content[10..20]);
        assert_eq!(part.header("content-range"), Some("bytes 10-19/3000000"));
        let past = caller.get_with(&path(&digest), &[("range", "bytes=3000000-")]).await;
        assert_eq!(past.status, 416, "{redirect:?}");
        for seen in fake.requests_elsewhere() {
            assert_eq!(seen.authorization(), None, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn small_and_empty_blobs_too() {
    let fake = Fake::start(knobs(Redirect::SignedElsewhere)).await;
    let proxy = streaming(&fake).await;
    for content in ["", "x", "{}"] {
        let digest = fake.blob(APP, content);
        for _ in 0..2 {
            expect_blob(&proxy.endpoint().head(&path(&digest)).await, &digest, content.len());
            let whole = proxy.endpoint().get(&path(&digest)).await;
            expect_blob(&whole, &digest, content.len());
            assert_eq!(whole.body, content);
        }
    }
    let absent = Digest::sha256(b"absent");
    for reply in [
        proxy.endpoint().get(&path(&absent)).await,
        proxy.endpoint().head(&path(&absent)).await,
    ] {
        assert_eq!(reply.status, 404);
    }
}

#[tokio::test]
async fn without_it_the_caller_goes_there() {
    let fake = Fake::start(knobs(Redirect::SignedElsewhere)).await;
    let digest = fake.blob(APP, "content");
    let proxy = Local::in_front_of(&fake.url()).await;
    let reply = proxy.endpoint().get(&path(&digest)).await.expect_status(307);
    assert!(
        reply.header("location").unwrap().starts_with(fake.elsewhere()),
        "{reply:?}"
    );
    assert_eq!(fake.requests_elsewhere().len(), 0);
}

#[tokio::test]
async fn a_registry_cannot_send_refshim_inside() {
    let fake = Fake::start(knobs(Redirect::SignedElsewhere)).await;
    let digest = fake.blob(APP, "content");
    let proxy = Local::configured(&fake.url(), |config| config.upstreams[0].blobs = Blobs::Stream).await;
    for reply in [
        proxy.endpoint().get(&path(&digest)).await,
        proxy.endpoint().head(&path(&digest)).await,
    ] {
        assert_eq!(reply.status, 502, "{reply:?}");
    }
    let reply = proxy.endpoint().get(&path(&digest)).await;
    assert!(reply.text().contains("redirect_hosts"), "{reply:?}");
    assert_eq!(fake.requests_elsewhere().len(), 0);
}

#[tokio::test]
async fn clients_pull_through_tokens_and_storage() {
    let fake = Fake::start(profiles::ghcr()).await;
    let image = fake.image(APP, "v1", "x");
    let proxy = Local::configured(&fake.url(), |config| {
        config.upstreams[0].blobs = Blobs::Stream;
        config.upstreams[0].redirect_hosts.insert("127.0.0.2".into());
        // crane believes no realm on another private address.
        config.server.rewrite_realm = true;
    })
    .await;
    let tools = Tools::new();
    let reference = proxy.endpoint().image(APP, "v1");
    tools
        .crane(&["pull", "--format", "oci", &reference, "pulled"])
        .await
        .ok();
    tools
        .skopeo(&[
            "copy",
            "--src-tls-verify=false",
            &format!("docker://{reference}"),
            "dir:copied",
        ])
        .await
        .ok();
    let copied = std::fs::read(tools.folder().join("copied/manifest.json")).unwrap();
    assert_eq!(copied, image.bytes);
    assert_ne!(fake.requests_elsewhere().len(), 0);
    // Straight from the registry, the same.
    let straight = Endpoint::new(&fake.url()).authorization(&Fake::bearer(APP, "pull"));
    assert_eq!(straight.get(&path(&Digest::sha256(b"{}"))).await.status, 307);
}
