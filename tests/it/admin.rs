//! Promise: the admin listener tells whether refshim runs, is ready, and what it did; the log tells the rest, without secrets.

use std::process::{Command, Stdio};

use crate::support::content::ANY;
use crate::support::{CountingProxy, Fault, Refshim, Registry, eventually};
use http::Method;

#[tokio::test]
async fn readiness_follows_the_upstream_and_is_asked_for_once_in_a_while() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Refshim::in_front_of(link.url()).await;
    let admin = proxy.admin();
    let probes = futures_util::future::join_all((0..5).map(|_| admin.get("/readyz"))).await;
    for ready in probes {
        assert_eq!(ready.expect_status(200).text(), "ready\n");
    }
    let pings = "refshim_upstream_requests_total{upstream=\"default\",kind=\"ping\",outcome=\"answered\"} 1";
    let metrics = admin.get("/metrics").await.text();
    assert!(
        metrics.lines().any(|line| line == pings),
        "one at the start, which holds for a while: {metrics}"
    );
    proxy.admin().get("/healthz").await.expect_status(200);

    link.fail(Fault::status(500), |_| true);
    let reason = eventually("not ready", async || {
        let reply = proxy.admin().get("/readyz").await;
        (reply.status == 503).then(|| reply.text())
    })
    .await;
    assert!(reason.starts_with("upstream 'default': "), "{reason}");
    proxy.admin().get("/healthz").await.expect_status(200);

    link.heal();
    eventually("ready again", async || {
        (proxy.admin().get("/readyz").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metrics_count_callers_and_upstream_requests() {
    let registry = Registry::v2().await;
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    let proxy = Refshim::in_front_of(&registry.url()).await;
    proxy.endpoint().referrers("app", &image.digest).await;
    proxy
        .endpoint()
        .get("/v2/app/manifests/nothing")
        .await
        .expect_status(404);
    let open_metrics = [("accept", "application/openmetrics-text")];
    let reply = proxy
        .admin()
        .get_with("/metrics", &open_metrics)
        .await
        .expect_status(200);
    let media_type = reply.header("content-type").unwrap();
    assert!(
        media_type.starts_with("application/openmetrics-text; version=1.0.0"),
        "{media_type}"
    );
    let text = reply.text();
    for line in [
        "refshim_requests_total{endpoint=\"referrers\",status=\"2xx\"} 1",
        "refshim_requests_total{endpoint=\"manifest\",status=\"4xx\"} 1",
        "refshim_request_duration_seconds_count{endpoint=\"referrers\"} 1",
        "refshim_upstream_requests_total{upstream=\"default\",kind=\"tags\",outcome=\"answered\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    }
    assert!(
        !text.contains("app") && !text.contains("v1"),
        "labels hold no repository and no tag: {text}"
    );
    let reply = proxy.admin().get("/metrics").await.expect_status(200);
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = reply.text();
    let line = "# TYPE refshim_requests_total counter";
    assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
    assert!(!text.contains("# EOF"), "{text}");
}

#[tokio::test]
async fn every_upstream_has_its_series_from_the_start() {
    let proxy = Refshim::bare()
        .config(
            r#"
            [[upstream]]
            name = "one"
            url = "http://127.0.0.1:9"
            [[upstream]]
            name = "two"
            url = "http://127.0.0.1:9"
            prefix = "two"
            "#,
        )
        .start()
        .await;
    let text = proxy.admin().get("/metrics").await.expect_status(200).text();
    for upstream in ["one", "two"] {
        for series in [
            format!("refshim_answers_total{{upstream=\"{upstream}\",from=\"fresh\"}} 0"),
            format!("refshim_links_total{{upstream=\"{upstream}\",dialect=\"cosign-tag\"}} 0"),
            format!("refshim_scans_total{{upstream=\"{upstream}\"}} 0"),
            format!("refshim_scan_reads_held_back_total{{upstream=\"{upstream}\",how=\"given-up\"}} 0"),
        ] {
            assert!(text.lines().any(|line| line == series), "{series}\nnot in\n{text}");
        }
    }
    let families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let names: std::collections::BTreeSet<&str> = families.iter().copied().collect();
    assert_eq!(names.len(), families.len(), "a family twice: {families:?}");
}

#[tokio::test]
async fn the_listeners_do_not_answer_for_each_other() {
    let registry = Registry::v2().await;
    let proxy = Refshim::in_front_of(&registry.url()).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        proxy.endpoint().get(path).await.expect_status(404);
    }
    for path in ["/", "/v2/", "/v2/app/tags/list"] {
        proxy.admin().get(path).await.expect_status(404);
    }
}

#[tokio::test]
async fn the_log_is_json_on_request_and_holds_no_secret() {
    let registry = Registry::v2().await;
    let proxy = Refshim::builder(&registry.url())
        .arguments(&["--log-format", "json"])
        .env("REFSHIM_LOG__LEVEL", "trace,hyper=info,h2=info")
        .start()
        .await;
    let caller = proxy.endpoint().basic("alice", "open-sesame");
    caller.get("/v2/app/tags/list?token=hush-hush").await;
    proxy.terminate();
    let log = eventually("the request is logged", async || {
        let log = proxy.output();
        log.contains("\"path\":").then_some(log)
    })
    .await;
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["level"].is_string() && event["message"].is_string(), "{line}");
    }
    // "alice:open-sesame" in base64, and the parts of it.
    for secret in ["open-sesame", "YWxpY2U6b3Blbi1zZXNhbWU", "hush-hush"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_one_line() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, key) in [("--listen", "server.listen"), ("--admin-listen", "admin.listen")] {
        let other = if flag == "--listen" {
            "--admin-listen"
        } else {
            "--listen"
        };
        let output = Command::new(env!("CARGO_BIN_EXE_refshim"))
            .args([
                "serve",
                "--upstream",
                "http://127.0.0.1:1",
                flag,
                &address,
                other,
                "127.0.0.1:0",
            ])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let beginning = format!("refshim: {key}: {address} cannot be listened on (");
        assert!(
            errors.starts_with(&beginning) && errors.lines().count() == 1,
            "{errors}"
        );
        assert!(
            errors.trim_end().ends_with(&format!("choose another with {flag}")),
            "{errors}"
        );
    }
}

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACESTATE: &str = "vendor=value";

#[tokio::test]
async fn a_trace_goes_on_with_every_request_that_is_made_for_it() {
    let registry = Registry::v3().await;
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    let artifact = registry.endpoint().attach("app", &image, "application/x", "r").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Refshim::builder(link.url())
        .arguments(&["--log-format", "json"])
        .start()
        .await;
    let traced = [
        ("accept", ANY),
        ("traceparent", TRACEPARENT),
        ("tracestate", TRACESTATE),
    ];
    let digest = &artifact.digest;
    let mut logged = 0;
    for (method, path, body) in [
        (Method::GET, format!("/v2/app/referrers/{}", image.digest), None),
        (Method::GET, "/v2/app/tags/list".to_owned(), None),
        (Method::GET, "/v2/app/manifests/v1".to_owned(), None),
        // A push, the link tag that refshim writes for it, and the deletion of both.
        (
            Method::PUT,
            format!("/v2/app/manifests/{digest}"),
            Some(artifact.bytes.clone()),
        ),
        (Method::DELETE, format!("/v2/app/manifests/{digest}"), None),
    ] {
        let mut headers = traced.to_vec();
        headers.extend(
            body.iter()
                .map(|_| ("content-type", "application/vnd.oci.image.manifest.v1+json")),
        );
        let reply = proxy
            .endpoint()
            .send(method, &path, &headers, body.unwrap_or_default())
            .await;
        assert!(reply.status < 300, "{path}: {reply:?}");
        logged += 1;
    }
    let seen = link.requests();
    assert!(seen.len() > logged, "refshim asks for itself too: {seen:?}");
    for request in &seen {
        assert_eq!(request.headers["traceparent"], TRACEPARENT, "{request:?}");
        assert_eq!(request.headers["tracestate"], TRACESTATE, "{request:?}");
    }
    let lines = proxy.access_log(logged).await;
    assert!(lines.iter().all(|line| line["trace_id"] == TRACE_ID), "{lines:?}");

    link.take();
    proxy.endpoint().manifest("app", "v1").await.expect_status(200);
    assert!(
        link.requests()
            .iter()
            .all(|request| !request.headers.contains_key("traceparent"))
    );
    assert!(proxy.access_log(logged + 1).await[logged]["trace_id"].is_null());
}

#[tokio::test]
async fn answers_and_log_name_a_request_alike() {
    let registry = Registry::v2().await;
    let proxy = Refshim::builder(&registry.url())
        .arguments(&["--log-format", "json"])
        .start()
        .await;
    let too_long = "x".repeat(65);
    let mut ids = Vec::new();
    for (sent, taken) in [
        (None, false),
        (Some("3f2a-from.the_ingress"), true),
        (Some("not \"plain\""), false),
        (Some(too_long.as_str()), false),
    ] {
        let headers: Vec<_> = sent.iter().map(|id| ("x-request-id", *id)).collect();
        let reply = proxy.endpoint().get_with("/v2/", &headers).await.expect_status(200);
        let id = reply.header("x-request-id").expect("an id").to_owned();
        assert_eq!(sent == Some(id.as_str()), taken, "{id}");
        ids.push(id);
    }
    let lines = proxy.access_log(ids.len()).await;
    let logged: Vec<_> = lines
        .iter()
        .map(|line| line["id"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(logged, ids);
}
