//! A search that hangs keeps nobody waiting who asks for something else.

use std::time::Duration;

use http::Method;

use tokio::task::JoinSet;

use super::TYPE;
use crate::support::content::{IMAGE, artifact};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Pushed, Refshim, Reply, eventually};

#[tokio::test]
async fn searches_that_hang_keep_nobody_waiting() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_UPSTREAM__0__SCAN_CONCURRENCY", "1")
        .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "1h")
        .env("REFSHIM_CACHE__FRESH_FOR", "1h")
        .start()
        .await;
    let subject = fake.image("app", "v1", "image");
    fake.tagged_artifact("app", &subject, TYPE, "sbom");
    fake.image("hangs", "v1", "image");
    let alice = refshim.endpoint().basic("alice", "a");
    alice.referrers("app", &subject.digest).await;

    fake.trouble_times(1, Trouble::Silence, |seen| seen.path.starts_with("/v2/hangs/tags/list"));
    let (hangs, digest) = (alice.clone(), subject.digest.clone());
    let search = tokio::spawn(async move { hangs.try_get(&format!("/v2/hangs/referrers/{digest}")).await });
    eventually("the search hangs", async || {
        fake.requests()
            .iter()
            .find(|seen| seen.path.starts_with("/v2/hangs/tags/list"))
            .map(|_| ())
    })
    .await;

    // The access check of somebody who asks for the first time; the answer itself is known.
    let bob = refshim.endpoint().basic("bob", "b");
    assert_eq!(bob.referrers("app", &subject.digest).await.len(), 1);
    // Reads and heads of refshim's own.
    bob.get("/v3/app/description/v1").await.expect_status(200);
    bob.get("/v2/app/tags/list").await.expect_status(200);
    // Also of the repository whose own search hangs.
    bob.get("/v2/hangs/tags/list").await.expect_status(200);
    bob.send(Method::HEAD, "/v2/app/manifests/v1", &[("accept", IMAGE)], "")
        .await
        .expect_status(200);
    let pushed = Pushed::of(IMAGE, &artifact(&subject, TYPE, "pushed meanwhile"));
    let path = format!("/v2/app/manifests/{}", pushed.digest);
    let answer = bob
        .send(Method::PUT, &path, &[("content-type", IMAGE)], pushed.bytes.clone())
        .await;
    answer.expect_status(201);
    bob.delete(&path).await.expect_status(202);
    assert!(!search.is_finished());
    search.abort();
}

/// A subject that nobody asked about before.
fn made_up(number: usize) -> String {
    format!("sha256:{number:064x}")
}

/// `count` questions about other subjects of the repository, each by a caller that waits.
fn ask_many(who: &Endpoint, repository: &str, count: usize) -> JoinSet<Option<Reply>> {
    let questions = (0..count).map(|number| {
        let (who, path) = (
            who.clone(),
            format!("/v2/{repository}/referrers/{}", made_up(number + 1)),
        );
        async move { who.try_get(&path).await.ok() }
    });
    questions.collect()
}

/// A registry that never answers about the repository `hangs`, and refshim in front of it.
async fn hanging(settings: &[(&str, &str)]) -> (Fake, Refshim, Pushed) {
    let fake = Fake::start(Knobs::default()).await;
    let mut refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "1h")
        .env("REFSHIM_LIMITS__CONNECTIONS", "200");
    for (name, value) in settings {
        refshim = refshim.env(name, value);
    }
    let refshim = refshim.start().await;
    let subject = fake.image("app", "v1", "image");
    fake.tagged_artifact("app", &subject, TYPE, "sbom");
    fake.trouble(Trouble::Silence, |seen| seen.path.starts_with("/v2/hangs/"));
    (fake, refshim, subject)
}

async fn until_asked(fake: &Fake) {
    eventually("the registry is asked", async || {
        let asked = fake.requests();
        asked
            .iter()
            .find(|seen| seen.path.starts_with("/v2/hangs/"))
            .map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn a_repository_that_hangs_delays_no_other() {
    for depth in ["names", "manifests"] {
        let settings = [
            ("REFSHIM_UPSTREAM__0__SCANS", "4"),
            ("REFSHIM_UPSTREAM__0__SCAN_CONCURRENCY", "4"),
            ("REFSHIM_LINKS__DEPTH", depth),
        ];
        let (fake, refshim, subject) = hanging(&settings).await;
        let everybody = refshim.endpoint();
        let questions = ask_many(&everybody, "hangs", 40);
        until_asked(&fake).await;
        // First questions, of the same credential and of another, and what needs none of a search.
        assert_eq!(everybody.referrers("app", &subject.digest).await.len(), 1, "{depth}");
        let alice = everybody.clone().basic("alice", "a");
        assert_eq!(alice.referrers("app", &subject.digest).await.len(), 1, "{depth}");
        everybody.get("/v2/app/tags/list").await.expect_status(200);
        drop(questions);
    }
}

#[tokio::test]
async fn eight_repositories_that_hang_delay_no_other() {
    let (fake, refshim, subject) = hanging(&[]).await;
    let everybody = refshim.endpoint();
    let questions: Vec<_> = (0..8)
        .map(|number| ask_many(&everybody, &format!("hangs/{number}"), 15))
        .collect();
    eventually("all are asked about", async || {
        let asked = fake.requests();
        let is_asked = |number| {
            let path = format!("/v2/hangs/{number}/");
            asked.iter().any(|seen| seen.path.starts_with(&path))
        };
        (0..8).all(is_asked).then_some(())
    })
    .await;
    assert_eq!(everybody.referrers("app", &subject.digest).await.len(), 1);
    everybody.get("/v2/app/tags/list").await.expect_status(200);
    drop(questions);
}

#[tokio::test]
async fn a_search_ends_with_the_last_who_waits_for_it() {
    let (fake, refshim, subject) = hanging(&[("REFSHIM_UPSTREAM__0__SCANS", "1")]).await;
    let everybody = refshim.endpoint();
    let mut questions = ask_many(&everybody, "hangs", 20);
    until_asked(&fake).await;
    questions.shutdown().await;
    // The only permit is free again.
    let asked = tokio::time::timeout(Duration::from_secs(60), everybody.referrers("app", &subject.digest));
    assert_eq!(asked.await.expect("nothing is left of them").len(), 1);
}

#[tokio::test]
async fn the_queue_of_searches_is_bounded_and_who_finds_it_full_is_told_when_to_come_back() {
    let (fake, refshim, subject) = hanging(&[("REFSHIM_LIMITS__CONNECTIONS", "100")]).await;
    let everybody = refshim.endpoint();
    let mut questions = ask_many(&everybody, "hangs", 60);
    let refused = tokio::time::timeout(Duration::from_secs(60), questions.join_next()).await;
    let refused = refused.expect("one is refused").unwrap().unwrap().unwrap();
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "UNAVAILABLE"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    // Nobody fills it alone.
    assert_eq!(everybody.referrers("app", &subject.digest).await.len(), 1);
    assert!(fake.count(|seen| seen.path.starts_with("/v2/hangs/")) <= 50);
}
