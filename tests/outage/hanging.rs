//! A search that hangs keeps nobody waiting who asks for something else.

use http::Method;

use super::TYPE;
use super::support::content::{IMAGE, artifact};
use super::support::fake::knobs::Knobs;
use super::support::fake::{Fake, Trouble};
use super::support::{Pushed, Refshim, eventually};

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
