//! Who is told of what, and what stays secret.

use super::receiver::KEY;
use super::{Receiver, metric, telling, webhook, webhook_at};
use crate::support::fake::{Fake, Knobs};
use crate::support::{EgressProxy, Endpoint, TlsLink, certificate, cli, eventually};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

async fn attach(through: &Endpoint, repository: &str) {
    let image = through.push_image(repository, "v1", repository).await;
    let sbom = through.push_artifact(repository, &image, SBOM, "sbom").await;
    let path = format!("/v2/{repository}/manifests/{}", sbom.digest);
    through.delete(&path).await.expect_status(202);
}

/// Type and subject's repository of each event.
async fn received(receiver: &Receiver, count: usize) -> Vec<String> {
    let events = receiver.receives(count).await;
    let of = |event: &serde_json::Value| {
        let name = event["type"].as_str().unwrap().split('.').nth(3).unwrap().to_owned();
        format!("{name} {}", event["data"]["repository"].as_str().unwrap())
    };
    events.iter().map(of).collect()
}

#[tokio::test]
async fn each_receiver_gets_what_it_asks_for_by_the_names_that_clients_use() {
    let fakes = (Fake::start(Knobs::default()).await, Fake::start(Knobs::default()).await);
    let (all, of_o, removed) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let tables = [
        format!(
            "[[upstream]]\nname = 'second'\nurl = '{}'\nprefix = 'mirror'\n",
            fakes.1.url()
        ),
        "[events]\nsource = 'https://refs.example.org'\n".to_owned(),
        webhook(&all, ""),
        webhook(&of_o, "repositories = ['o/*', 'mirror/o/*']\ntypes = ['linked']"),
        webhook(&removed, "types = ['removed']\nrepositories = ['*/b']"),
    ];
    let proxy = telling(&fakes.0.url(), &tables.concat()).start().await;
    for repository in ["o/a", "p/b", "mirror/o/c"] {
        attach(&proxy.endpoint(), repository).await;
    }
    let expected = [
        "linked o/a",
        "removed o/a",
        "linked p/b",
        "removed p/b",
        "linked mirror/o/c",
        "removed mirror/o/c",
    ];
    assert_eq!(received(&all, 6).await, expected);
    assert_eq!(received(&of_o, 2).await, ["linked o/a", "linked mirror/o/c"]);
    assert_eq!(received(&removed, 1).await, ["removed p/b"]);
    let events = all.events();
    assert!(events.iter().all(|event| event["source"] == "https://refs.example.org"));
    assert_eq!(
        [&events[0]["data"]["upstream"], &events[4]["data"]["upstream"]],
        ["default", "second"]
    );
}

#[tokio::test]
async fn receivers_are_reached_over_tls_and_through_proxies() {
    let (fake, receiver, folder) = (
        Fake::start(Knobs::default()).await,
        Receiver::start().await,
        tempfile::tempdir().unwrap(),
    );
    certificate::make_own(folder.path(), 2, "DNS:receiver.test");
    let authority = receiver.url().trim_start_matches("http://");
    let tls = TlsLink::in_front_of(authority, folder.path()).await;
    let egress = EgressProxy::start(&[("receiver.test:80", authority), ("receiver.test:443", tls.authority())]).await;
    let (proxy, ca_file) = (egress.url(), folder.path().join("cert.pem"));
    let ca_file = format!("ca_file = '{}'", ca_file.display());
    let tables = [
        webhook_at("http://receiver.test", &format!("name = 'plain'\nproxy = '{proxy}'")),
        webhook_at(
            "https://receiver.test",
            &format!("name = 'tls'\nproxy = '{proxy}'\n{ca_file}"),
        ),
        // Whose certificate nobody vouches for.
        webhook_at(
            "https://receiver.test",
            &format!("name = 'foreign'\nproxy = '{proxy}'\nattempts = 1"),
        ),
    ];
    let refshim = telling(&fake.url(), &tables.concat()).start().await;
    let image = refshim.endpoint().push_image("app", "v1", "one").await;
    refshim.endpoint().push_artifact("app", &image, SBOM, "sbom").await;
    receiver.receives(2).await;
    eventually("the third is given up", async || {
        (metric(&refshim, "dropped_total{webhook=\"foreign\",reason=\"attempts\"}").await? == 1).then_some(())
    })
    .await;
    assert_eq!(receiver.requests().len(), 2);
    let mut seen = egress.take();
    seen.sort();
    let tunnel = "CONNECT receiver.test:443";
    assert_eq!(
        seen,
        [tunnel, tunnel, "POST http://receiver.test/hook?token=in-the-url"]
    );
}

#[tokio::test]
async fn neither_key_nor_url_nor_credentials_of_callers_are_printed_or_sent() {
    let (fake, receiver) = (
        Fake::start(Knobs::default()).await,
        Receiver::answering([(503, &[] as &[_])]).await,
    );
    let builder = telling(&fake.url(), &webhook(&receiver, ""));
    let proxy = builder.arguments(&["--log-level", "trace"]).start().await;
    attach(&proxy.endpoint().basic("alice", "hush"), "app").await;
    receiver.receives(3).await;
    let sent: String = receiver
        .requests()
        .iter()
        .map(|request| format!("{request:?}"))
        .collect();
    assert!(!sent.contains("alice") && !sent.contains("YWxpY2U6aHVzaA"), "{sent}");
    let output = proxy.output();
    assert!(output.contains("a webhook fails"), "{output}");
    let key = KEY.trim_start_matches("whsec_");
    for secret in [key, "in-the-url", "alice", "YWxpY2U6aHVzaA"] {
        assert!(!output.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_key() {
    let url = "url = 'http://receiver.test/hook?token=in-the-url'";
    let good = format!("secret = '{KEY}'");
    for (table, key, problem) in [
        (url.to_owned(), "secret", "is missing"),
        (format!("{url}\nsecret = 'hush'"), "secret", "24 to 64 random bytes"),
        (
            format!("{url}\n{good}\nsecret_file = '/dev/null'"),
            "secret",
            "given twice",
        ),
        (good.clone(), "url", "is missing"),
        (
            format!("url = 'http://alice:hush@receiver.test'\n{good}"),
            "url",
            "must not contain a user",
        ),
        (
            format!("url = 'receiver.test?hush'\n{good}"),
            "url",
            "is not the URL of a receiver",
        ),
        (format!("{url}\n{good}\ntypes = ['pulled']"), "types", "linked, removed"),
        (
            format!("{url}\n{good}\nrepositories = ['O/*']"),
            "repositories",
            "is not a pattern",
        ),
        (
            format!("{url}\n{good}\n[[events.webhooks]]\n{url}\n{good}"),
            "name",
            "also the name of an earlier webhook",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("refshim.toml");
        let text = format!("[[upstream]]\nurl = 'http://127.0.0.1:9'\n[[events.webhooks]]\n{table}\n");
        std::fs::write(&file, text).unwrap();
        let run = cli::refshim(&["serve", "--config", file.to_str().unwrap()]).await;
        assert_eq!(run.code, Some(2), "{table}");
        let said = run.stderr;
        assert!(
            said.contains(&format!("].{key}")) && said.contains(problem),
            "{table}: {said}"
        );
        assert!(!said.contains("hush") && !said.contains("in-the-url"), "{said}");
    }
}

/// The answer of `refshim check`, whose configuration has this receiver.
async fn check(upstream: &str, table: &str, more: &[&str]) -> cli::Ended {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refshim.toml");
    std::fs::write(&file, format!("[[upstream]]\nurl = '{upstream}'\n{table}")).unwrap();
    let arguments = ["check", "--config", file.to_str().unwrap()];
    cli::refshim(&[&arguments, more].concat()).await
}

#[tokio::test]
async fn check_sends_an_event_only_when_asked_to() {
    let (fake, receiver) = (
        Fake::start(Knobs::default()).await,
        Receiver::answering([(204, &[] as &[_]), (401, &[])]).await,
    );
    let table = webhook(&receiver, "name = 'scanner'");
    let said = check(&fake.url(), &table, &[]).await.ok();
    assert!(
        said.contains("webhook scanner: http://") && said.contains("--ping-webhooks"),
        "{said}"
    );
    assert!(receiver.requests().is_empty());
    let asked = ["--ping-webhooks", "--output", "json"];
    let report = check(&fake.url(), &table, &asked).await.json();
    assert_eq!(report["webhooks"][0]["accepts"], true);
    let request = receiver.requests().remove(0);
    let event: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(event["type"], "io.refshim.ping.v1");
    let refused = check(&fake.url(), &table, &asked).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("it answers 401"), "{}", refused.stderr);
    let missing = table.replace(&format!("secret = '{KEY}'"), "secret_file = 'Cargo.toml'");
    let missing = check(&fake.url(), &missing, &[]).await;
    assert!(
        missing.stderr.contains("Cargo.toml") && missing.stderr.contains("24 to 64"),
        "{}",
        missing.stderr
    );
}
