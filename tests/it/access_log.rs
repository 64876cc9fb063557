//! Promise: every request leaves a line that tells what became of it, also one that nobody waited for; and what goes wrong is in the log
//! once, not with every request.

use serde_json::{Value, json};

use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::wire::Wire;
use crate::support::{Refshim, eventually};

async fn logging_in_front_of(fake: &Fake) -> Refshim {
    let refshim = Refshim::builder(&fake.url()).arguments(&["--log-format", "json"]);
    refshim.start().await
}

/// The warnings so far.
fn warnings(refshim: &Refshim) -> Vec<Value> {
    let output = refshim.output();
    let lines = output.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.filter(|line: &Value| line["level"] == "WARN").collect()
}

#[tokio::test]
async fn a_request_that_nobody_waited_for_is_counted_and_logged() {
    let fake = Fake::start(Knobs::default()).await;
    fake.image("app", "v1", "image");
    let refshim = logging_in_front_of(&fake).await;
    fake.trouble(Trouble::Silence, |seen| seen.path.contains("/manifests/"));
    let mut caller = Wire::connect(refshim.endpoint().authority()).await;
    caller
        .write("GET /v2/app/manifests/v1 HTTP/1.1\r\nHost: refs.example\r\nUser-Agent: impatient/1\r\n\r\n")
        .await;
    eventually("the registry is asked", async || {
        (!fake.requests().is_empty()).then_some(())
    })
    .await;
    drop(caller);

    let line = &refshim.access_log(1).await[0];
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with("abandoned by its caller"), "{line}");
    for (field, value) in [
        ("upstream", json!("default")),
        ("host", json!("refs.example")),
        ("user_agent", json!("impatient/1")),
        ("path", json!("/v2/app/manifests/v1")),
        ("endpoint", json!("manifest")),
        ("upstream_requests", json!(1)),
        ("status", Value::Null),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    let metrics = refshim.admin().get("/metrics").await.text();
    for series in [
        "refshim_requests_abandoned_total{endpoint=\"manifest\"} 1",
        "refshim_upstream_requests_total{upstream=\"default\",kind=\"forward\",outcome=\"abandoned\"} 1",
        "refshim_upstream_request_duration_seconds_count{upstream=\"default\",kind=\"forward\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series} in {metrics}");
    }
}

#[tokio::test]
async fn the_reason_of_a_failure_is_in_its_line_and_warned_of_once() {
    let fake = Fake::start(Knobs::default()).await;
    fake.image("app", "v1", "image");
    let refshim = logging_in_front_of(&fake).await;
    let ask = async || refshim.endpoint().manifest("app", "v1").await;
    let before = warnings(&refshim).len();
    fake.trouble(Trouble::Close, |seen| seen.path.contains("/manifests/"));
    for _ in 0..2 {
        ask().await.expect_status(502);
    }
    fake.heal();
    fake.trouble(Trouble::answer(503, &[], "full"), |seen| {
        seen.path.contains("/manifests/")
    });
    for _ in 0..2 {
        ask().await.expect_status(503);
    }
    fake.heal();
    ask().await.expect_status(200);

    let lines = refshim.access_log(5).await;
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str()).collect();
    assert!(
        reasons[0].is_some_and(|reason| reason.starts_with("the connection to the registry broke")),
        "{reasons:?}"
    );
    assert_eq!(reasons[2], Some("the registry answered HTTP 503"));
    assert_eq!(reasons[4], None);
    let warned = &warnings(&refshim)[before..];
    let warned: Vec<_> = warned
        .iter()
        .map(|line| (&line["upstream"], line["reason"].as_str()))
        .collect();
    assert_eq!(
        warned,
        [(&json!("default"), reasons[0]), (&json!("default"), reasons[2])]
    );
}

#[tokio::test]
async fn a_line_tells_what_memory_and_the_registry_did_for_it() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = logging_in_front_of(&fake).await;
    for _ in 0..2 {
        refshim.endpoint().referrers("app", &image.digest).await;
    }
    let lines = refshim.access_log(2).await;
    assert_eq!(
        (&lines[0]["cache"], &lines[1]["cache"]),
        (&json!("miss"), &json!("fresh"))
    );
    let asked = |line: &Value| line["upstream_requests"].as_u64().unwrap();
    assert_eq!(
        asked(&lines[0]),
        fake.requests().len() as u64,
        "the search's own requests: {}",
        lines[0]
    );
    assert_eq!(asked(&lines[1]), 0);
}

#[tokio::test]
async fn only_trusted_proxies_are_believed_for_whom_they_ask() {
    let fake = Fake::start(Knobs::default()).await;
    let forwarded = [("x-forwarded-for", "192.0.2.1, 192.0.2.7")];
    for (trusted, logged) in [("127.0.0.0/8", json!("192.0.2.7")), ("192.0.2.0/24", Value::Null)] {
        let refshim = Refshim::builder(&fake.url())
            .arguments(&["--log-format", "json"])
            .env("REFSHIM_SERVER__TRUSTED_PROXIES", trusted)
            .start()
            .await;
        refshim.endpoint().get_with("/v2/", &forwarded).await.expect_status(200);
        let line = &refshim.access_log(1).await[0];
        assert_eq!(line["forwarded_for"], logged, "{trusted}: {line}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}
