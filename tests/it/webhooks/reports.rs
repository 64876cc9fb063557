//! What bypasses refshim is told where somebody reports it.

use http::Method;
use serde_json::{Value, json};

use super::{Receiver, telling, webhook};
use crate::support::content::{IMAGE, bare_image};
use crate::support::fake::{Fake, Knobs};
use crate::support::{Pushed, Refshim};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

async fn report(proxy: &Refshim, report: &Value) {
    let admin = proxy.admin();
    let sent = admin.send(Method::POST, "/events", &[], report.to_string());
    sent.await.expect_status(200);
}

/// As Distribution tells of a push.
fn notification(pushed: &Pushed, tag: Option<&str>) -> Value {
    let target = json!({"repository": "app", "digest": pushed.digest, "tag": tag, "mediaType": pushed.media_type});
    json!({"events": [{"id": "1", "action": "push", "target": target}]})
}

#[tokio::test]
async fn a_reported_push_is_told_and_one_that_was_told_already_is_not() {
    let (fake, receiver) = (Fake::start(Knobs::default()).await, Receiver::start().await);
    let proxy = telling(&fake.url(), &webhook(&receiver, "")).start().await;
    let (straight, through) = (fake.endpoint(), proxy.endpoint());
    let image = straight.push_image("app", "v1", "one").await;
    let proxied = through.push_artifact("app", &image, SBOM, "proxied").await;
    let reported = straight.push_artifact("app", &image, SBOM, "reported").await;
    let plain = straight.push_artifact("app", &image, SBOM, "plain").await;
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = straight
        .put_manifest("app", &tag, IMAGE, &bare_image("signature"))
        .await;
    for (pushed, tag) in [
        (&image, Some("v1")),
        (&proxied, None),
        (&reported, None),
        (&signature, Some(&*tag)),
    ] {
        report(&proxy, &notification(pushed, tag)).await;
    }
    report(&proxy, &json!({"repository": "app", "digest": plain.digest})).await;
    let events = receiver.receives(4).await;
    let data: Vec<_> = events.iter().map(|event| &event["data"]).collect();
    for (data, (origin, pushed, dialect)) in data.iter().skip(1).zip([
        ("reported", &reported, "subject"),
        ("reported", &signature, "cosign-tag"),
        ("reported", &plain, "subject"),
    ]) {
        assert_eq!(data["origin"], origin);
        assert_eq!(data["subject"], image.digest);
        assert_eq!(data["referrer"]["digest"], pushed.digest);
        assert_eq!(data["dialects"], json!([dialect]));
    }
    assert_eq!(
        (&data[0]["origin"], &data[0]["referrer"]["digest"]),
        (&json!("proxied"), &json!(proxied.digest))
    );
}
