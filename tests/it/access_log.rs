//! Promise: every request leaves a line that tells what became of it, also one that nobody waited for; what goes wrong is in the log
//! once, not with every request; and nobody waits for who reads it.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStderr;

use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::wire::Wire;
use crate::support::{Endpoint, Refshim, eventually, within};

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

/// refshim with its standard error in a pipe, which holds 64 KiB of what is not read.
struct Piped {
    refshim: tokio::process::Child,
    log: Lines<BufReader<ChildStderr>>,
    endpoint: Endpoint,
    admin: Endpoint,
}

impl Piped {
    async fn start(upstream: &str) -> Self {
        let mut refshim = tokio::process::Command::new(env!("CARGO_BIN_EXE_refshim"))
            .args(["serve", "--upstream", upstream, "--log-format", "json"])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env_clear()
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(refshim.stderr.take().unwrap()).lines();
        let mut urls = Vec::new();
        while urls.len() < 2 {
            let line = next(&mut log).await.expect("it says where it listens");
            let message = line["message"].as_str().unwrap();
            urls.extend(
                message
                    .split(' ')
                    .find(|word| word.starts_with("http://"))
                    .map(str::to_owned),
            );
        }
        let [endpoint, admin] = [0, 1].map(|at| Endpoint::new(&urls[at]));
        Self {
            refshim,
            log,
            endpoint,
            admin,
        }
    }

    /// Requests with long lines, which nobody reads, until some of these are lost.
    async fn lose_lines(&self) -> f64 {
        let path = format!("/v2/{}/", "a".repeat(7900));
        for _ in 0..50 {
            for _ in 0..50 {
                self.endpoint.get(&path).await.expect_status(404);
            }
            let metrics = self.admin.get("/metrics").await.text();
            let mut values = metrics
                .lines()
                .filter_map(|line| line.strip_prefix("refshim_log_lines_lost_total "));
            match values.next().expect("the metric").parse().unwrap() {
                0.0 => {}
                lost => return lost,
            }
        }
        panic!("no line was lost");
    }

    fn terminate(&self) {
        let id = self.refshim.id().unwrap().to_string();
        let status = std::process::Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(status.unwrap().success());
    }
}

/// The next line of the log; `None` at its end.
async fn next(log: &mut Lines<BufReader<ChildStderr>>) -> Option<Value> {
    let line = within("a line", log.next_line()).await.unwrap()?;
    Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("a whole line ({error}): {line}")))
}

#[tokio::test]
async fn nobody_waits_for_who_reads_the_log() {
    let fake = Fake::start(Knobs::default()).await;
    let mut piped = Piped::start(&fake.url()).await;
    let lost = piped.lose_lines().await;
    piped.endpoint.get("/v2/").await.expect_status(200);

    let is_told = |line: &Value| line["message"].as_str().unwrap().starts_with("log lines are lost");
    let mut told = None;
    while told.is_none() {
        told = Some(next(&mut piped.log).await.expect("it goes on")).filter(is_told);
    }
    let told = told.unwrap();
    assert_eq!(told["level"], "WARN", "{told}");
    assert!(told["lines"].as_f64().unwrap() >= lost, "{told}");
    piped.terminate();
    let mut last = Value::Null;
    while let Some(line) = next(&mut piped.log).await {
        assert!(!is_told(&line), "it is told once: {line}");
        last = line;
    }
    assert_eq!(last["message"], "stopped", "what is left is written at the end");
}

#[tokio::test]
async fn its_end_does_not_wait_for_them_either() {
    let fake = Fake::start(Knobs::default()).await;
    let mut piped = Piped::start(&fake.url()).await;
    piped.lose_lines().await;
    piped.terminate();
    let ended = within("it ends", piped.refshim.wait()).await.unwrap();
    assert!(ended.success(), "{ended}");
}
