//! What one caller is refused takes nothing from the others.

use http::Method;

use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Refshim, Seen, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// A registry that anybody may read, and a small blob in it that refshim remembers.
struct Warm {
    fake: Fake,
    through: Endpoint,
    blob: String,
    _refshim: Refshim,
}

impl Warm {
    async fn new() -> Self {
        let fake = Fake::start(Knobs::default()).await;
        let refshim = Refshim::builder(&fake.url()).start().await;
        let through = refshim.endpoint();
        let digest = through.push_blob("app", "a signature").await;
        // The right to read is proved by a manifest.
        through.push_image("app", "v1", "image").await;
        through.manifest("app", "v1").await.expect_status(200);
        let warm = Self {
            blob: format!("/v2/app/blobs/{digest}"),
            through,
            fake,
            _refshim: refshim,
        };
        warm.through.get(&warm.blob).await.expect_status(200);
        let remembered = async || {
            warm.fake.take();
            warm.through.get(&warm.blob).await.expect_status(200);
            warm.fake.take().is_empty().then_some(())
        };
        // Learning ends after the answer.
        eventually("the blob is remembered", remembered).await;
        warm
    }

    async fn expect_remembered(&self, case: &str) {
        self.fake.heal();
        self.fake.take();
        self.through.get(&self.blob).await.expect_status(200);
        assert_eq!(self.fake.take(), [] as [String; 0], "{case}");
    }
}

#[tokio::test]
async fn a_deletion_that_is_refused_leaves_what_is_remembered() {
    let warm = Warm::new().await;
    for status in [401, 403, 404, 405, 429] {
        let refusal = Trouble::oci(status, "DENIED", "no");
        warm.fake.trouble(refusal, |seen| seen.method == Method::DELETE);
        warm.through.delete(&warm.blob).await.expect_status(status);
        warm.expect_remembered(&status.to_string()).await;
    }
    // A stranger's that fails may have come to nothing.
    warm.fake
        .trouble(Trouble::html(503), |seen| seen.method == Method::DELETE);
    let stranger = warm.through.clone().basic("mallory", "m");
    stranger.delete(&warm.blob).await.expect_status(503);
    warm.expect_remembered("503").await;
    warm.through.delete(&warm.blob).await.expect_status(202);
    warm.through.get(&warm.blob).await.expect_status(404);
}

/// Whoever may not write, or shows a credential that refshim does not know, still may read what anybody may.
#[tokio::test]
async fn a_refusal_of_something_else_ends_no_right_to_read() {
    let warm = Warm::new().await;
    let digest = warm.blob.rsplit('/').next().unwrap();
    warm.fake.trouble(Trouble::oci(401, "UNAUTHORIZED", "no"), |_| true);
    let mount = format!("/v2/app/blobs/uploads/?mount={digest}&from=other");
    let refused = warm.through.send(Method::POST, &mount, &[], "").await;
    refused.expect_status(401);
    warm.expect_remembered("a mount").await;
    for path in [
        "/v2/app/manifests/v1".to_owned(),
        format!("/v2/app/blobs/sha256:{}", "0".repeat(64)),
    ] {
        warm.fake.trouble(Trouble::oci(401, "UNAUTHORIZED", "no"), |_| true);
        let headers = [("private-token", "wrong")];
        let refused = warm.through.send(Method::GET, &path, &headers, "").await;
        refused.expect_status(401);
        warm.expect_remembered(&path).await;
    }
}

#[tokio::test]
async fn one_callers_limit_is_not_anothers_who_waits_for_the_same_read() {
    let fake = Fake::start(Knobs::default()).await;
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let refshim = Refshim::builder(link.url()).start().await;
    let (alice, bob) = (
        refshim.endpoint().basic("alice", "a"),
        refshim.endpoint().basic("bob", "b"),
    );
    let subject = fake.image("app", "v1", "image");
    let other = fake.image("app", "v2", "other");
    fake.tagged_artifact("app", &other, TYPE, "sbom");

    let of = |user: &Endpoint| {
        let request = user.request(Method::GET, "/", &[], "");
        let theirs = request.headers()["authorization"].to_str().unwrap().to_owned();
        move |seen: &Seen| seen.authorization() == Some(&*theirs)
    };
    let (by_alice, of_alice) = (of(&alice), of(&alice));
    let limit = Trouble::answer(429, &[("retry-after", "500")], "");
    fake.trouble(limit, move |seen| {
        seen.path.ends_with("/manifests/v1") && by_alice(seen)
    });
    let gate = link.hold(move |seen| seen.path.ends_with("/manifests/v1") && of_alice(seen));
    let ask = |who: &Endpoint, digest: &str| {
        let (who, digest) = (who.clone(), digest.to_owned());
        tokio::spawn(async move { who.referrers_reply("app", &digest).await })
    };
    let first = ask(&alice, &subject.digest);
    gate.reached_by(1).await;
    let second = ask(&bob, &other.digest);
    // What refshim has asked on bob's behalf is answered: what is left is to wait for alice's read.
    let by_bob = of(&bob);
    eventually("bob waits", async || {
        let theirs = link.requests().into_iter().filter(|seen| by_bob(seen));
        let theirs: Vec<_> = theirs.collect();
        (!theirs.is_empty() && theirs.iter().all(|seen| seen.status.is_some())).then_some(())
    })
    .await;
    gate.open();
    first.await.unwrap().expect_status(429);
    let listed = second.await.unwrap().expect_status(200);
    assert_eq!(listed.json()["manifests"].as_array().map(Vec::len), Some(1));
}

/// A search begins while its caller may read, and the right is withdrawn before it ends.
#[tokio::test]
async fn a_search_that_ends_after_a_refusal_gives_no_right_back() {
    for asked_meanwhile in [true, false] {
        let fake = Fake::start(Knobs::default()).await;
        let link = CountingProxy::in_front_of(&fake.url()).await;
        let refshim = Refshim::builder(link.url()).start().await;
        let (alice, bob) = (
            refshim.endpoint().authorization("Bearer alice"),
            refshim.endpoint().authorization("Bearer bob"),
        );
        let is_alices = |seen: &Seen| seen.authorization() == Some("Bearer alice");
        let subject = fake.image("app", "v1", "image");
        let sbom = fake.tagged_artifact("app", &subject, TYPE, "sbom");
        let other = fake.artifact("app", "", &fake.image("app", "v2", "other"), TYPE, "secret");
        bob.manifest("app", &other.digest).await.expect_status(200);

        let link_tag = sbom.proposal_d_tag(&subject, "sbom");
        let gate = link.hold(move |seen| is_alices(seen) && seen.path.ends_with(&link_tag));
        let search = tokio::spawn({
            let (alice, digest) = (alice.clone(), subject.digest.clone());
            async move { alice.referrers_reply("app", &digest).await }
        });
        gate.reached_by(1).await;
        fake.trouble(Trouble::oci(403, "DENIED", "no"), is_alices);
        if asked_meanwhile {
            alice.manifest("app", "v1").await.expect_status(403);
        }
        gate.open();
        search.await.unwrap().expect_status(403);
        let secret = alice.manifest("app", &other.digest).await;
        assert_eq!(secret.status, 403, "asked meanwhile: {asked_meanwhile}");
    }
}
