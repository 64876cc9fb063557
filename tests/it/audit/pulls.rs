//! Pulls that pass: the metrics and the log say whether the image had a signature known to refshim, for no request more.

use serde_json::{Value, json};

use super::{Images, sign};
use crate::support::content::IMAGE;
use crate::support::fake::{Fake, Knobs};
use crate::support::{Endpoint, Pushed, Refshim, refshim};

/// `refshim_pulls_total` of yes, no and unknown; 0 where there is no such series.
async fn pulls(proxy: &Refshim) -> [u64; 3] {
    let text = proxy.admin().get("/metrics").await.expect_status(200).text();
    ["yes", "no", "unknown"].map(|signed| {
        let series = format!("refshim_pulls_total{{signed=\"{signed}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |count| count.parse().unwrap())
    })
}

fn counting(fake: &Fake) -> refshim::Builder {
    Refshim::builder(&fake.url()).env("REFSHIM_METRICS__SIGNED_PULLS", "true")
}

async fn pull(endpoint: &Endpoint, reference: &str) {
    endpoint.manifest("app", reference).await.expect_status(200);
}

#[tokio::test]
async fn a_pull_says_what_is_known_and_asks_nothing() {
    let fake = Fake::start(Knobs::default()).await;
    let images = Images::push(&fake.endpoint(), 0).await;
    let proxy = counting(&fake).arguments(&["--log-format", "json"]).start().await;
    let endpoint = proxy.endpoint();
    let plain = fake
        .endpoint()
        .manifest("app", "plain")
        .await
        .header("docker-content-digest")
        .unwrap()
        .to_owned();
    fake.take();
    pull(&endpoint, "signed").await;
    pull(&endpoint, "plain").await;
    assert_eq!(
        fake.take(),
        ["GET /v2/app/manifests/signed", "GET /v2/app/manifests/plain"]
    );
    assert_eq!(pulls(&proxy).await, [0, 0, 2], "nobody asked yet");

    endpoint.referrers("app", &images.signed.digest).await;
    endpoint.referrers("app", &plain).await;
    fake.take();
    pull(&endpoint, "signed").await;
    pull(&endpoint, "plain").await;
    assert_eq!(
        fake.take(),
        ["GET /v2/app/manifests/signed", "GET /v2/app/manifests/plain"]
    );
    assert_eq!(pulls(&proxy).await, [1, 1, 2]);

    // Neither is a pull of an image: a HEAD, a link tag, a signature, what an index was just seen to list.
    let head = endpoint.head_with("/v2/app/manifests/signed", &[("accept", IMAGE)]);
    head.await.expect_status(200);
    pull(&endpoint, &format!("{}.sig", images.signed.referrers_tag())).await;
    pull(&endpoint, &images.sbom.digest).await;
    pull(&endpoint, "multi").await;
    pull(&endpoint, &images.amd64.digest).await;
    assert_eq!(pulls(&proxy).await, [1, 1, 3]);

    let log = proxy.access_log(11).await;
    let signed = |path: &str| {
        let lines = log
            .iter()
            .filter(|line| line["path"] == path && line["method"] == "GET");
        lines.map(|line| line["signed"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(signed("/v2/app/manifests/signed"), [json!("unknown"), json!("yes")]);
    assert_eq!(signed("/v2/app/manifests/plain"), [json!("unknown"), json!("no")]);
    assert_eq!(
        signed(&format!("/v2/app/manifests/{}", images.amd64.digest)),
        [Value::Null]
    );
}

/// A none is proven for as long as answers are fresh, and no longer.
#[tokio::test]
async fn an_old_none_is_unknown() {
    let fake = Fake::start(Knobs::default()).await;
    Images::push(&fake.endpoint(), 0).await;
    let plain = fake
        .endpoint()
        .manifest("app", "plain")
        .await
        .header("docker-content-digest")
        .unwrap()
        .to_owned();
    let proxy = counting(&fake).env("REFSHIM_CACHE__FRESH_FOR", "1ms").start().await;
    let endpoint = proxy.endpoint();
    endpoint.referrers("app", &plain).await;
    pull(&endpoint, "plain").await;
    assert_eq!(pulls(&proxy).await, [0, 0, 1]);
}

#[tokio::test]
async fn a_write_ends_what_is_known() {
    let fake = Fake::start(Knobs::default()).await;
    Images::push(&fake.endpoint(), 0).await;
    let proxy = counting(&fake).start().await;
    let endpoint = proxy.endpoint();
    let reply = fake.endpoint().manifest("app", "plain").await;
    let plain = Pushed::of(IMAGE, &reply.json());
    endpoint.referrers("app", &plain.digest).await;
    pull(&endpoint, "plain").await;
    sign(&endpoint, &plain).await;
    pull(&endpoint, "plain").await;
    endpoint.referrers("app", &plain.digest).await;
    pull(&endpoint, "plain").await;
    assert_eq!(pulls(&proxy).await, [1, 1, 1]);
}

/// The image's own repository alone says nothing of it.
#[tokio::test]
async fn what_is_kept_beside_counts_too() {
    let fake = Fake::start(Knobs::default()).await;
    Images::push(&fake.endpoint(), 0).await;
    let proxy = counting(&fake)
        .env("REFSHIM_LINKS__REPOSITORY", "{name}.refs")
        .start()
        .await;
    let endpoint = proxy.endpoint();
    let plain = Pushed::of(IMAGE, &fake.endpoint().manifest("app", "plain").await.json());
    endpoint.referrers("app", &plain.digest).await;
    pull(&endpoint, "plain").await;
    assert_eq!(pulls(&proxy).await, [0, 1, 0]);
    sign(&endpoint, &plain).await;
    endpoint.referrers("app", &plain.digest).await;
    pull(&endpoint, "plain").await;
    assert_eq!(pulls(&proxy).await, [1, 1, 0]);
}

#[tokio::test]
async fn it_is_off_unless_asked_for() {
    let fake = Fake::start(Knobs::default()).await;
    Images::push(&fake.endpoint(), 0).await;
    let builder = Refshim::builder(&fake.url()).arguments(&["--log-format", "json"]);
    let proxy = builder.start().await;
    pull(&proxy.endpoint(), "signed").await;
    assert_eq!(pulls(&proxy).await, [0, 0, 0]);
    assert_eq!(proxy.access_log(1).await[0]["signed"], Value::Null);
}
