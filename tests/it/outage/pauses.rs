//! What one search was told holds for the next: the registry is left alone for as long as it asks, and while it fails. What
//! callers ask of the registry itself goes through all the same.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;

use super::{Setup, TYPE, expect_failure};
use crate::support::content::{IMAGE, artifact};
use crate::support::fake::Fake;
use crate::support::fake::Trouble;
use crate::support::fake::knobs::Knobs;
use crate::support::{Endpoint, Fault, Pushed, Refshim, Reply, Seen};

/// Nothing counts as fresh, everything may be served stale.
struct Front {
    fake: Fake,
    refshim: Refshim,
    /// In every repository that is asked the same, with one referrer.
    subject: Pushed,
}

const REPOSITORIES: [&str; 4] = ["app", "other", "third", "fourth"];

impl Front {
    async fn new() -> Self {
        let fake = Fake::start(Knobs::default()).await;
        let refshim = Refshim::builder(&fake.url())
            .env("REFSHIM_CACHE__FRESH_FOR", "0s")
            .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
            .start()
            .await;
        let subjects = REPOSITORIES.map(|repository| {
            let subject = fake.image(repository, "v1", "image");
            fake.tagged_artifact(repository, &subject, TYPE, "sbom");
            subject
        });
        let [subject, ..] = subjects;
        Self { fake, refshim, subject }
    }

    fn alice(&self) -> Endpoint {
        self.refshim.endpoint().basic("alice", "a")
    }

    fn bob(&self) -> Endpoint {
        self.refshim.endpoint().basic("bob", "b")
    }

    async fn ask(&self, who: &Endpoint, repository: &str) -> Reply {
        who.referrers_reply(repository, &self.subject.digest).await
    }

    fn listings(&self) -> usize {
        self.fake.count(is_listing)
    }
}

fn is_listing(seen: &Seen) -> bool {
    seen.path.contains("/tags/list?n=1000")
}

fn seconds(reply: &Reply) -> u64 {
    let seconds = reply.header("retry-after").and_then(|text| text.parse().ok());
    seconds.unwrap_or_else(|| panic!("no Retry-After in seconds: {reply:?}"))
}

fn limit(status: u16, retry_after: &str) -> Trouble {
    Trouble::answer(status, &[("retry-after", retry_after)], "")
}

#[tokio::test]
async fn a_busy_upstream_says_when_to_come_back() {
    let setup = Setup::new(|builder| builder).await;
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    let headers = [("retry-after", "86400"), ("content-type", "application/json")];
    setup.link.fail(Fault::answer(429, &headers, body), |seen| {
        seen.path.contains("/tags/list")
    });
    let reply = setup.ask().await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("86400")));
    assert_eq!(reply.error_code(), "TOOMANYREQUESTS");
    // No registry is left alone for ever.
    let again = setup.ask().await;
    assert_eq!(again.status, 429);
    assert!((1..=600).contains(&seconds(&again)), "{again:?}");
    assert_eq!(setup.link.count(|seen| seen.path.contains("/tags/list")), 1);
}

#[tokio::test]
async fn what_a_repository_says_holds_back_the_searches_of_that_credential_there_alone() {
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(500));
    for (status, told) in [
        (429, limit(429, "500")),
        (429, limit(429, &soon)),
        (429, Trouble::ghcr_limit("8m20s")),
        (429, Trouble::ghcr_limit("500000ms")),
        (503, limit(503, "500")),
    ] {
        let front = Front::new().await;
        let case = format!("{told:?}");
        front.fake.trouble(told, is_listing);
        expect_failure(&front.ask(&front.alice(), "app").await, &case);
        front.fake.heal();
        let before = front.listings();
        let held = front.ask(&front.alice(), "app").await;
        assert_eq!(held.status, status, "{case}");
        held.error_code();
        assert!((400..=500).contains(&seconds(&held)), "{case}: {held:?}");
        assert_eq!(front.listings(), before, "{case}: the registry was asked all the same");
        for (who, repository) in [(front.bob(), "app"), (front.alice(), "other"), (front.bob(), "third")] {
            let found = front.ask(&who, repository).await.expect_status(200);
            assert_eq!(found.json()["manifests"].as_array().map(Vec::len), Some(1), "{case}");
            assert_eq!(found.header("warning"), None, "{case}");
        }
    }
}

#[tokio::test]
async fn what_several_repositories_say_to_several_credentials_holds_back_everybody() {
    let front = Front::new().await;
    front.fake.trouble(limit(503, "500"), is_listing);
    for (who, repository) in [(front.alice(), "app"), (front.bob(), "other"), (front.alice(), "third")] {
        expect_failure(&front.ask(&who, repository).await, repository);
    }
    front.fake.heal();
    let before = front.listings();
    for who in [front.alice(), front.bob(), front.refshim.endpoint()] {
        let held = front.ask(&who, "fourth").await;
        assert_eq!((held.status, held.error_code().as_str()), (503, "UNAVAILABLE"));
        assert!((400..=500).contains(&seconds(&held)), "{held:?}");
    }
    assert_eq!(front.listings(), before);
    let held = front.refshim.admin().get("/metrics").await.text();
    let line = "refshim_scan_reads_held_back_total{upstream=\"default\",how=\"given-up\"} 3";
    assert!(held.lines().any(|found| found == line), "{held}");
}

#[tokio::test]
async fn who_joins_a_limited_search_does_not_wait_for_its_limit() {
    let setup = Setup::new(|builder| {
        let builder = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s");
        let builder = builder.env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "1h");
        builder.env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
    })
    .await;
    let subject = &setup.image.digest;
    let [alice, bob] = ["alice", "bob"].map(|name| setup.refshim.endpoint().basic(name, "x"));
    for who in [&alice, &bob] {
        who.referrers_reply("app", subject).await.expect_status(200);
    }
    let is_listing = |seen: &Seen| seen.path.contains("/tags/list");
    setup
        .link
        .fail_times(1, Fault::answer(429, &[("retry-after", "4")], ""), is_listing);
    // Whoever waits for the second attempt waits for ever.
    let _gate = setup.link.hold(is_listing);
    for who in [&alice, &bob] {
        let stale = who.referrers_reply("app", subject).await.expect_status(200);
        assert!(stale.header("warning").is_some(), "{stale:?}");
    }
}

#[tokio::test]
async fn what_was_known_is_served_while_the_registry_is_left_alone() {
    let front = Front::new().await;
    let alice = front.alice();
    front.ask(&alice, "app").await.expect_status(200);
    front.fake.trouble(limit(429, "500"), is_listing);
    let unknown = alice.referrers_reply("app", &format!("sha256:{:064x}", 1)).await;
    expect_failure(&unknown, "nothing is known of it");
    front.fake.heal();
    let before = front.listings();
    let stale = front.ask(&alice, "app").await.expect_status(200);
    assert!(
        stale.header("age").is_some() && stale.header("warning").is_some(),
        "{stale:?}"
    );
    assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(front.listings(), before);
}

#[tokio::test]
async fn a_push_that_reaches_nobody_takes_nothing_from_those_who_read() {
    let Front { fake, refshim, subject } = Front::new().await;
    let through = refshim.endpoint();
    through.referrers("app", &subject.digest).await;
    let path = format!("/v2/app/manifests/{}", subject.digest);
    let push = async |bytes: Bytes| {
        through
            .send(Method::PUT, &path, &[("content-type", IMAGE)], bytes)
            .await
    };
    push(r#"{"schemaVersion":2,"subject":{"digest":"none"}}"#.into())
        .await
        .expect_status(400);
    fake.trouble(limit(429, "1"), |seen| seen.method == Method::PUT);
    push(subject.bytes.clone()).await.expect_status(429);
    drop(fake);
    push(subject.bytes.clone()).await.expect_status(502);
    let stale = through.referrers_reply("app", &subject.digest).await.expect_status(200);
    assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(1));
    assert!(stale.header("warning").is_some(), "{stale:?}");
}

#[tokio::test]
async fn a_write_whose_end_nobody_knows_takes_nothing_from_those_who_read() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_CACHE__FRESH_FOR", "1h")
        .start()
        .await;
    let subject = fake.image("app", "v1", "image");
    fake.tagged_artifact("app", &subject, TYPE, "sbom");
    let through = refshim.endpoint();
    through.referrers("app", &subject.digest).await;
    let listings = || fake.count(is_listing);
    let signature = Pushed::of(IMAGE, &artifact(&subject, TYPE, "signature"));
    let mut troubles = [400, 500, 502, 503, 504].map(Trouble::html).to_vec();
    troubles.push(Trouble::Close);
    for trouble in troubles {
        for method in [Method::PUT, Method::DELETE] {
            let case = format!("{method} {trouble:?}");
            let failed = method.clone();
            fake.trouble(trouble.clone(), move |seen| seen.method == failed);
            let path = format!("/v2/app/manifests/{}", signature.digest);
            let headers = [("content-type", IMAGE)];
            let answer = through.send(method, &path, &headers, signature.bytes.clone()).await;
            assert!(answer.status >= 400, "{case}: {answer:?}");
            // What was perhaps written is asked for.
            let before = listings();
            fake.heal();
            fake.trouble(Trouble::html(500), is_listing);
            let stale = through.referrers_reply("app", &subject.digest).await.expect_status(200);
            assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(1), "{case}");
            assert!(stale.header("age").is_some(), "{case}: {stale:?}");
            assert!(listings() > before, "{case}: nobody asked the registry");
            fake.heal();
            through.referrers("app", &subject.digest).await;
            let before = listings();
            through.referrers("app", &subject.digest).await;
            assert_eq!(listings(), before, "{case}: what was asked since is certain");
        }
    }
}

#[tokio::test]
async fn a_write_that_changes_nothing_takes_nothing_from_those_who_read() {
    let Front { fake, refshim, subject } = Front::new().await;
    let through = refshim.endpoint();
    through.referrers("app", &subject.digest).await;
    let references = ["v1", &subject.digest];
    for status in [401, 403, 404, 405, 429] {
        for reference in references {
            fake.trouble(Trouble::oci(status, "DENIED", "no"), |seen| {
                seen.method == Method::DELETE
            });
            let path = format!("/v2/app/manifests/{reference}");
            through.delete(&path).await.expect_status(status);
            fake.heal();
        }
    }
    drop(fake);
    for reference in references {
        let path = format!("/v2/app/manifests/{reference}");
        through.delete(&path).await.expect_status(502);
    }
    // What is no manifest goes on to the registry as it is.
    let headers = [("content-type", "text/plain")];
    let push = through
        .send(Method::PUT, "/v2/app/manifests/odd", &headers, "odd")
        .await;
    push.expect_status(502);
    let stale = through.referrers_reply("app", &subject.digest).await.expect_status(200);
    assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_a_search_was_told_refuses_nothing_else() {
    let front = Front::new().await;
    let alice = front.alice();
    front.ask(&front.bob(), "third").await.expect_status(200);
    for told in [limit(429, "500"), limit(503, "500")] {
        front.fake.trouble(told, is_listing);
        expect_failure(&front.ask(&alice, "app").await, "a search");
        front.fake.heal();

        let listed = alice.get("/v2/app/tags/list").await.expect_status(200);
        assert!(listed.json()["tags"].as_array().unwrap().contains(&"v1".into()));
        alice.manifest("app", "v1").await.expect_status(200);
        alice
            .send(Method::HEAD, "/v2/app/manifests/v1", &[("accept", IMAGE)], "")
            .await
            .expect_status(200);
        alice.get("/v3/app/description/v1").await.expect_status(200);
        // The access check.
        front.ask(&alice, "third").await.expect_status(200);
        // The push itself, and the link tag.
        let pushed = Pushed::of(IMAGE, &artifact(&front.subject, TYPE, "pushed meanwhile"));
        let path = format!("/v2/app/manifests/{}", pushed.digest);
        let answer = alice
            .send(Method::PUT, &path, &[("content-type", IMAGE)], pushed.bytes.clone())
            .await;
        let answer = answer.expect_status(201);
        assert_eq!(answer.header("oci-subject"), Some(front.subject.digest.as_str()));
        // The registry's own limit is the caller's to know.
        front
            .fake
            .trouble(limit(429, "7"), |seen| seen.path.ends_with("/manifests/v1"));
        let limited = alice.manifest("app", "v1").await.expect_status(429);
        assert_eq!(limited.header("retry-after"), Some("7"));
        front.fake.heal();
    }
}

#[tokio::test]
async fn a_short_wait_is_waited_out() {
    let front = Front::new().await;
    front
        .fake
        .trouble_times(1, Trouble::ghcr_limit("880.092µs"), is_listing);
    let asked = front.ask(&front.alice(), "app").await.expect_status(200);
    assert_eq!(asked.header("warning"), None);
    front.fake.trouble_times(1, limit(503, "1"), is_listing);
    front.ask(&front.alice(), "other").await.expect_status(200);
    // Shorter than any old answer is worth.
    front
        .fake
        .trouble_times(1, Trouble::ghcr_limit("880.092µs"), is_listing);
    let asked = front.ask(&front.alice(), "app").await.expect_status(200);
    assert_eq!(asked.header("warning"), None);
}

#[tokio::test]
async fn nobody_waits_who_can_have_what_was_known() {
    let setup = Setup::new(|builder| {
        let builder = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s");
        let builder = builder.env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "1h");
        builder.env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
    })
    .await;
    setup.expect_both().await;
    let is_listing = |seen: &Seen| seen.path.contains("/tags/list");
    let soon = Fault::answer(503, &[("retry-after", "1")], "");
    setup.link.fail_times(1, soon, is_listing);
    // Who waits for the second attempt waits for ever.
    let gate = setup.link.hold(is_listing);
    let stale = setup.ask().await.expect_status(200);
    assert!(
        stale.header("age").is_some() && stale.header("warning").is_some(),
        "{stale:?}"
    );
    assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(2));
    // Behind the answer the search goes on.
    gate.reached_by(1).await;
    gate.open();
    setup.expect_both().await;
}

#[tokio::test]
async fn searches_back_off_while_everything_fails_and_go_on_with_the_first_success() {
    let front = Front::new().await;
    let waited = async || {
        let text = front.refshim.admin().get("/metrics").await.text();
        let line = "refshim_scan_reads_held_back_total{upstream=\"default\",how=\"waited\"} ";
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no such metric: {text}"))
    };
    front.fake.trouble(Trouble::html(500), is_listing);
    for _ in 0..4 {
        expect_failure(&front.ask(&front.alice(), "app").await, "500");
    }
    let before = waited().await;
    assert!(before > 0);
    front.fake.heal();
    front.ask(&front.alice(), "app").await.expect_status(200);
    let after = waited().await;
    front.ask(&front.alice(), "other").await.expect_status(200);
    assert_eq!(waited().await, after);
}
