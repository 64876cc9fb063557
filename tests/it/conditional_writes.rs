//! Promise: the conditions of a push or a deletion reach the registry, and where one fails nothing has changed.

use crate::support::content::{IMAGE, INDEX, artifact, index};
use crate::support::fake::knobs::{Knobs, Pushes};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Pushed, Refshim, Reply, Seen};
use http::Method;
use serde_json::json;

const REPOSITORY: &str = "team/app";
const SBOM: &str = "application/spdx+json";
const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// What a registry says whose content is another by now.
const FAILED: (u16, &str, &str) = (412, "PRECONDITION", "the tag was moved");

struct Set {
    fake: Fake,
    refshim: Refshim,
    image: Pushed,
}

async fn set(knobs: Knobs) -> Set {
    set_with(knobs, "proposal-d").await
}

async fn set_with(knobs: Knobs, links: &str) -> Set {
    let fake = Fake::start(knobs).await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_WRITING__LINKS", links)
        .start()
        .await;
    Set {
        image: fake.image(REPOSITORY, "v1", "image"),
        fake,
        refshim,
    }
}

impl Set {
    fn through(&self) -> Endpoint {
        self.refshim.endpoint()
    }

    async fn push(&self, reference: &str, pushed: &Pushed, headers: &[(&str, &str)]) -> Reply {
        let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
        let headers = [&[("content-type", pushed.media_type.as_str())], headers].concat();
        let through = self.through();
        through.send(Method::PUT, &path, &headers, pushed.bytes.clone()).await
    }

    async fn delete(&self, reference: &str, headers: &[(&str, &str)]) -> Reply {
        let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
        self.through().send(Method::DELETE, &path, headers, "").await
    }

    /// The registry finds that conditions fail.
    fn conditions_fail(&self) {
        let (status, code, message) = FAILED;
        self.fake.trouble(Trouble::oci(status, code, message), has_condition);
    }

    fn sbom(&self) -> Pushed {
        Pushed::of(IMAGE, &artifact(&self.image, SBOM, "sbom"))
    }

    /// What is listed, and the requests that it costs once it is cached. Forgets all requests.
    async fn known(&self) -> (Vec<String>, Vec<String>) {
        let listed = self.listed().await;
        self.fake.take();
        self.listed().await;
        (listed, self.fake.take())
    }

    async fn listed(&self) -> Vec<String> {
        self.through().referrer_digests(REPOSITORY, &self.image.digest).await
    }
}

fn has_condition(seen: &Seen) -> bool {
    let names = ["if-match", "if-none-match", "if-unmodified-since", "if-modified-since"];
    is_write(seen) && names.iter().any(|name| seen.headers.contains_key(*name))
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.get(name)?.to_str().ok()
}

fn is_write(seen: &Seen) -> bool {
    !matches!(seen.method, Method::GET | Method::HEAD)
}

/// The headers are those of the caller's own write; the link tag that follows is refshim's.
#[tokio::test]
async fn a_push_and_a_deletion_reach_the_registry_with_their_headers() {
    let set = set(Knobs::default()).await;
    let sent = [
        ("if-match", "\"sha256:1\""),
        ("if-none-match", "*"),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:47 GMT"),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:47 GMT"),
        ("user-agent", "pusher/1"),
        ("x-gateway", "7"),
    ];
    let sbom = set.sbom();
    set.push("sbom", &sbom, &sent).await.expect_status(201);
    set.delete(&sbom.digest, &sent).await.expect_status(202);
    let writes: Vec<Seen> = set.fake.requests().into_iter().filter(is_write).collect();
    let is_own = |seen: &&Seen| seen.path.ends_with("/sbom") || seen.path.ends_with(&sbom.digest);
    let (callers, refshims): (Vec<&Seen>, Vec<&Seen>) = writes.iter().partition(is_own);
    assert_eq!(callers.len(), 2, "{writes:?}");
    for (seen, (name, value)) in callers.iter().flat_map(|seen| sent.map(|header| (seen, header))) {
        assert_eq!(header(seen, name), Some(value), "{seen:?}");
    }
    assert!(!refshims.is_empty(), "a link tag");
    for seen in refshims {
        assert!(
            !has_condition(seen) && !seen.headers.contains_key("x-gateway"),
            "{seen:?}"
        );
        assert!(header(seen, "user-agent").is_some_and(|name| name.starts_with("refshim/")));
    }
}

/// Somebody else has moved the tag. The refusal is relayed as it is; nothing more is written or asked, and what is cached stays.
#[tokio::test]
async fn a_push_whose_condition_fails_changes_nothing() {
    let set = set(Knobs::default()).await;
    set.fake.artifact(REPOSITORY, "", &set.image, SBOM, "known");
    let (known, cached) = set.known().await;
    set.conditions_fail();
    let sbom = set.sbom();
    for (reference, condition) in [
        ("v1", ("if-match", "\"sha256:1\"")),
        ("v1", ("if-none-match", "*")),
        (&*sbom.digest, ("if-none-match", "*")),
        ("v1", ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:47 GMT")),
    ] {
        let refused = set.push(reference, &sbom, &[condition]).await.expect_status(412);
        assert_eq!(refused.json()["errors"][0]["message"], FAILED.2);
        assert_eq!(set.fake.take(), [format!("PUT /v2/{REPOSITORY}/manifests/{reference}")]);
    }
    assert_eq!(set.listed().await, known);
    assert_eq!(set.fake.take(), cached, "answered from the cache as before");
}

/// An unconditional push of what an immutable tag holds already has succeeded; "only if there is none" has not.
#[tokio::test]
async fn a_tag_that_has_the_content_already_is_not_a_new_one() {
    let set = set(Knobs::default()).await;
    set.conditions_fail();
    let again = set.push("v1", &set.image, &[("if-none-match", "*")]).await;
    again.expect_status(412);
    set.push("v1", &set.image, &[]).await.expect_status(201);
}

/// The first attempt may have been heard, and then it is the reason why the second one's condition fails.
#[tokio::test]
async fn a_condition_that_fails_after_a_lost_answer_is_no_answer() {
    let set = set(Knobs::default()).await;
    set.fake.trouble_times(1, Trouble::Close, has_condition);
    set.conditions_fail();
    let lost = set.push("v2", &set.image, &[("if-none-match", "*")]).await;
    lost.expect_status(502);
    set.fake.heal();
    set.fake.trouble_times(1, Trouble::Close, has_condition);
    let heard = set.push("v2", &set.image, &[("if-none-match", "*")]).await;
    heard.expect_status(201);
}

#[tokio::test]
async fn a_deletion_whose_condition_fails_changes_nothing() {
    let set = set(Knobs::default()).await;
    let sbom = set.sbom();
    set.push(&sbom.digest, &sbom, &[]).await.expect_status(201);
    let (known, cached) = set.known().await;
    set.conditions_fail();
    let refused = set.delete(&sbom.digest, &[("if-match", "\"other\"")]).await;
    let refused = refused.expect_status(412);
    assert_eq!(refused.json()["errors"][0]["message"], FAILED.2);
    assert_eq!(refused.header("warning"), None, "its link tags are not the reason");
    set.delete("v1", &[("if-match", "\"other\"")]).await.expect_status(412);
    assert_eq!(set.fake.count(is_write), 2);
    set.fake.take();
    assert_eq!(set.listed().await, known);
    assert_eq!(set.fake.take(), cached, "answered from the cache as before");
}

/// An envelope has another ETag than what is in it.
#[tokio::test]
async fn what_only_an_envelope_can_keep_takes_no_conditions() {
    let pushes = Pushes {
        unknown_type_is_415: true,
        ..Pushes::default()
    };
    let set = set(Knobs {
        pushes,
        ..Knobs::default()
    })
    .await;
    let manifest = json!({
        "mediaType": ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [], "subject": set.image.descriptor(),
    });
    let sealed = Pushed::of(ARTIFACT_MANIFEST, &manifest);
    let refused = set.push("sbom", &sealed, &[("if-none-match", "*")]).await;
    assert_eq!(refused.expect_status(400).error_code(), "UNSUPPORTED");
    assert_eq!(set.fake.count(is_write), 1, "nothing but the push itself");

    set.push("sbom", &sealed, &[]).await.expect_status(201);
    let writes = set.fake.count(is_write);
    let refused = set.delete(&sealed.digest, &[("if-match", "*")]).await;
    assert_eq!(refused.expect_status(400).error_code(), "UNSUPPORTED");
    assert_eq!(set.fake.count(is_write), writes);
    assert_eq!(set.listed().await, [&*sealed.digest]);
    set.delete(&sealed.digest, &[]).await.expect_status(202);
}

/// A client's list is merged where it makes no condition. With one, it goes to the registry as it is, unless it lacks what is stored.
#[tokio::test]
async fn a_conditional_list_of_referrers_is_not_merged() {
    let set = set_with(Knobs::default(), "proposal-d,referrers-tag").await;
    let stored = set
        .fake
        .put(REPOSITORY, "other", IMAGE, &artifact(&set.image, SBOM, "other"));
    let own = set
        .fake
        .put(REPOSITORY, "own", IMAGE, &artifact(&set.image, SBOM, "own"));
    let tag = set.image.referrers_tag();
    set.fake.put(REPOSITORY, &tag, INDEX, &index([stored.descriptor()]));
    let condition = [("if-match", "\"sha256:1\"")];

    let lacking = Pushed::of(INDEX, &index([own.descriptor()]));
    set.push(&tag, &lacking, &condition).await.expect_status(412);
    assert_eq!(set.fake.count(is_write), 0);

    let whole = Pushed::of(INDEX, &index([stored.descriptor(), own.descriptor()]));
    set.push(&tag, &whole, &condition).await.expect_status(201);
    let writes: Vec<Seen> = set.fake.requests().into_iter().filter(is_write).collect();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(header(&writes[0], "if-match"), Some(condition[0].1));
    let now = set.fake.endpoint().manifest(REPOSITORY, &tag).await;
    assert_eq!(now.body, whole.bytes);
}
