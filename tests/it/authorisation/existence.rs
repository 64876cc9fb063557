//! That content is there, and may be read, is the registry's to say. Memory answers a GET by digest only for as long as the
//! registry's own word for that digest is fresh; after that only when the registry does not answer.

use http::Method;

use crate::support::content::{ANY, IMAGE, artifact};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Pushed, Refshim, Reply, Seen, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// A manifest and a small blob that refshim remembers, and the registry gave by their digests.
struct Warm {
    fake: Fake,
    through: Endpoint,
    image: Pushed,
    /// Of the manifest and of the blob.
    paths: [String; 2],
    refshim: Refshim,
}

impl Warm {
    async fn new(fresh_for: &str) -> Self {
        Self::with(&[("REFSHIM_CACHE__FRESH_FOR", fresh_for)]).await
    }

    async fn with(environment: &[(&str, &str)]) -> Self {
        let fake = Fake::start(Knobs::default()).await;
        let mut builder = Refshim::builder(&fake.url()).env("REFSHIM_UPSTREAM__0__RETRIES", "0");
        for (name, value) in environment {
            builder = builder.env(name, value);
        }
        let refshim = builder.start().await;
        let image = fake.image("app", "v1", "image");
        let blob = fake.blob("app", "a signature");
        let warm = Self {
            paths: [
                format!("/v2/app/manifests/{}", image.digest),
                format!("/v2/app/blobs/{blob}"),
            ],
            through: refshim.endpoint(),
            refshim,
            fake,
            image,
        };
        for path in &warm.paths {
            warm.get(path).await.expect_status(200);
            // Learning ends after the answer: what is known is asked for under a condition, or not at all.
            eventually("it is remembered", async || {
                warm.fake.take();
                warm.get(path).await.expect_status(200);
                let asked = warm.fake.requests();
                let is_known = |seen: &Seen| seen.headers.contains_key("if-none-match");
                asked.iter().all(is_known).then_some(())
            })
            .await;
        }
        warm.fake.take();
        warm
    }

    async fn get(&self, path: &str) -> Reply {
        self.through.get_with(path, &[("accept", ANY)]).await
    }

    async fn head(&self, path: &str) -> Reply {
        self.through.send(Method::HEAD, path, &[("accept", ANY)], "").await
    }

    async fn delete_behind(&self, path: &str) {
        self.fake.endpoint().delete(path).await.expect_status(202);
        self.fake.take();
    }
}

#[tokio::test]
async fn a_head_always_reaches_the_registry() {
    let warm = Warm::new("1h").await;
    for path in &warm.paths {
        warm.fake.take();
        for _ in 0..2 {
            warm.head(path).await.expect_status(200);
        }
        assert_eq!(warm.fake.take(), [format!("HEAD {path}"), format!("HEAD {path}")]);
        warm.delete_behind(path).await;
        warm.head(path).await.expect_status(404);
        // That was the registry's word for the next GET, too.
        warm.get(path).await.expect_status(404);
    }
}

#[tokio::test]
async fn a_get_by_digest_costs_nothing_while_the_registrys_word_is_fresh() {
    let warm = Warm::new("1h").await;
    for path in &warm.paths {
        let first = warm.get(path).await.expect_status(200);
        assert_eq!(warm.fake.take(), [] as [String; 0], "{path}");
        let straight = warm.fake.endpoint().get_with(path, &[("accept", ANY)]).await;
        warm.fake.take();
        assert_eq!(first.body, straight.body);
        for name in ["content-type", "etag", "docker-content-digest", "content-length"] {
            assert_eq!(first.header(name), straight.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn after_that_the_registry_is_asked_whether_it_is_the_same_still() {
    let warm = Warm::new("0s").await;
    for path in &warm.paths {
        warm.fake.take();
        let first = warm.get(path).await.expect_status(200);
        let asked = warm.fake.requests();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let etag = first.header("etag").expect("an ETag");
        assert_eq!(asked[0].headers["if-none-match"], etag);
        assert!(!first.body.is_empty() && first.header("warning").is_none());
        // A caller's own condition is the caller's.
        let asked = [("accept", ANY), ("if-none-match", etag)];
        warm.through.get_with(path, &asked).await.expect_status(304);
        let part = warm
            .through
            .get_with(path, &[("accept", ANY), ("range", "bytes=0-0")])
            .await;
        assert!(matches!(part.status, 200 | 206), "{part:?}");
        warm.delete_behind(path).await;
        warm.get(path).await.expect_status(404);
    }
}

/// Xray answers 403 for a digest whose tag still resolves, Harbor 412, others 451.
#[tokio::test]
async fn what_the_registry_withholds_is_known_no_longer() {
    for (status, code) in [
        (403, "DENIED"),
        (404, "MANIFEST_UNKNOWN"),
        (412, "PROJECTPOLICYVIOLATION"),
        (451, "DENIED"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let fresh_for = if method == Method::HEAD { "1h" } else { "0s" };
            let warm = Warm::new(fresh_for).await;
            for path in &warm.paths {
                let withheld = path.clone();
                let trouble = Trouble::oci(status, code, "withheld");
                warm.fake.trouble_times(1, trouble, move |seen| seen.path == withheld);
                let reply = warm.through.send(method.clone(), path, &[("accept", ANY)], "").await;
                assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
                // Now the registry fails: nothing is known that could be given instead.
                warm.fake.trouble_times(1, Trouble::html(502), |_| true);
                let after = warm.get(path).await;
                assert_eq!(after.status, 502, "{status} to {method} {path}: {after:?}");
            }
        }
    }
}

/// A policy that withholds the digest may let the tag resolve: what a tag gave says nothing of the digest.
#[tokio::test]
async fn a_tag_is_no_word_for_its_digest() {
    let warm = Warm::new("1h").await;
    let blocked = warm.fake.image("app", "v2", "blocked");
    let path = format!("/v2/app/manifests/{}", blocked.digest);
    let is_it = path.clone();
    warm.fake.trouble(denied(), move |seen| seen.path == is_it);
    for _ in 0..3 {
        warm.get("/v2/app/manifests/v2").await.expect_status(200);
        warm.get(&path).await.expect_status(403);
        for api in ["reference", "description"] {
            let api = format!("/v3/app/{api}/{}", blocked.digest);
            warm.get(&api).await.expect_status(403);
        }
    }
}

fn denied() -> Trouble {
    Trouble::oci(403, "DENIED", "blocked")
}

/// A stranger who is refused takes nothing from those who read.
#[tokio::test]
async fn a_strangers_refusal_ends_nothing() {
    let warm = Warm::new("0s").await;
    for path in &warm.paths {
        for (name, value) in [("authorization", "Basic wrong"), ("private-token", "wrong")] {
            for status in [401, 403, 404] {
                let trouble = Trouble::oci(status, "DENIED", "no");
                warm.fake.trouble(trouble, move |seen| seen.headers.contains_key(name));
                let asked = [("accept", ANY), (name, value)];
                warm.through.get_with(path, &asked).await.expect_status(status);
                warm.fake.heal();
            }
        }
        warm.fake.trouble_times(1, Trouble::html(502), |_| true);
        let stale = warm.get(path).await.expect_status(200);
        assert!(stale.header("warning").is_some(), "{stale:?}");
    }
}

#[tokio::test]
async fn while_the_registry_does_not_answer_what_is_known_is_given_to_those_who_may_read() {
    let warm = Warm::new("0s").await;
    for path in &warm.paths {
        let known = warm.get(path).await;
        for trouble in [
            Trouble::Close,
            Trouble::oci(429, "TOOMANYREQUESTS", "slow down"),
            Trouble::html(500),
            Trouble::html(502),
            Trouble::html(503),
        ] {
            warm.fake.trouble(trouble.clone(), |_| true);
            let stale = warm.get(path).await;
            assert_eq!((stale.status, &stale.body), (200, &known.body), "{trouble:?} {path}");
            assert!(
                stale
                    .header("warning")
                    .is_some_and(|text| text.starts_with("299 - \"refshim ")),
                "{stale:?}"
            );
            assert!(stale.header("age").is_some(), "{stale:?}");
            let stranger = warm.through.clone().authorization("Bearer unknown");
            assert!(
                stranger.get_with(path, &[("accept", ANY)]).await.status >= 429,
                "{trouble:?} {path}"
            );
            let head = warm.head(path).await.status;
            assert!(
                head >= 429,
                "{trouble:?} {path}: a HEAD is the registry's to answer, not {head}"
            );
            warm.fake.heal();
        }
        warm.get(path).await.expect_status(200);
    }
    assert!(warm.refshim.output().contains("given from memory"));
}

#[tokio::test]
async fn what_is_known_is_given_no_longer_than_it_may() {
    let limit = [
        ("REFSHIM_CACHE__FRESH_FOR", "0s"),
        ("REFSHIM_CACHE__STALE_IF_ERROR", "1ms"),
    ];
    let fake = Fake::start(Knobs::default()).await;
    let mut builder = Refshim::builder(&fake.url());
    for (name, value) in limit {
        builder = builder.env(name, value);
    }
    let refshim = builder.start().await;
    let image = fake.image("app", "v1", "image");
    let path = format!("/v2/app/manifests/{}", image.digest);
    refshim
        .endpoint()
        .get_with(&path, &[("accept", ANY)])
        .await
        .expect_status(200);
    fake.trouble(Trouble::html(503), |_| true);
    // The manifest may reach the memory just now.
    eventually("the limit is over", async || {
        let reply = refshim.endpoint().get(&path).await;
        (reply.status == 503).then_some(())
    })
    .await;
}

/// The other readers of memory keep the same rule.
#[tokio::test]
async fn other_apis_say_no_more_than_the_registry() {
    let warm = Warm::new("0s").await;
    let paths = ["reference", "objects", "description"].map(|api| format!("/v3/app/{api}/{}", warm.image.digest));
    for path in &paths {
        warm.get(path).await.expect_status(200);
    }
    warm.delete_behind(&warm.paths[0]).await;
    for path in &paths {
        warm.get(path).await.expect_status(404);
    }
}

/// An index that refshim made stands for a list: when that is another, the index is none any more.
#[tokio::test]
async fn an_index_of_refshims_own_lasts_as_long_as_its_list() {
    let warm = Warm::with(&[
        ("REFSHIM_CACHE__FRESH_FOR", "0s"),
        ("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s"),
    ])
    .await;
    let referrer = Pushed::of(IMAGE, &artifact(&warm.image, TYPE, "sbom"));
    warm.fake.tagged_artifact("app", &warm.image, TYPE, "sbom");
    let made = warm
        .get(&format!("/v2/app/manifests/{}", warm.image.referrers_tag()))
        .await;
    let digest = made
        .expect_status(200)
        .header("docker-content-digest")
        .unwrap()
        .to_owned();
    let path = format!("/v2/app/manifests/{digest}");
    for _ in 0..2 {
        warm.get(&path).await.expect_status(200);
    }
    warm.delete_behind(&format!("/v2/app/manifests/{}", referrer.digest))
        .await;
    warm.get(&path).await.expect_status(404);
}
