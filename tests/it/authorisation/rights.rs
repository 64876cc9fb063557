//! A right to list is no right to read: the proof is a manifest that the registry gave to this credential.

use http::Method;

use crate::support::content::{ANY, IMAGE, bare_image};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Pushed, Refshim, Reply, Seen, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";
const LISTER: &str = "Bearer lists-only";
const READER: &str = "Bearer reads";

fn by(authorization: &'static str) -> impl Fn(&Seen) -> bool + Send + Copy {
    move |seen: &Seen| seen.authorization() == Some(authorization)
}

fn is_listing(seen: &Seen) -> bool {
    seen.path.contains("/tags/list")
}

fn denied() -> Trouble {
    Trouble::oci(403, "DENIED", "requested access to the resource is denied")
}

/// A registry where `LISTER` may list tags and nothing else.
struct Setup {
    fake: Fake,
    refshim: Refshim,
    image: Pushed,
    referrer: Pushed,
    blob: String,
}

impl Setup {
    async fn new(environment: &[(&str, &str)]) -> Self {
        let fake = Fake::start(Knobs::default()).await;
        fake.trouble(denied(), |seen| by(LISTER)(seen) && !is_listing(seen));
        let mut builder = Refshim::builder(&fake.url()).env("REFSHIM_SERVER__UI", "true");
        for (name, value) in environment {
            builder = builder.env(name, value);
        }
        let image = fake.image("app", "v1", "image");
        let referrer = fake.tagged_artifact("app", &image, TYPE, "sbom");
        Self {
            blob: fake.blob("app", "a secret bundle").to_string(),
            refshim: builder.start().await,
            fake,
            image,
            referrer,
        }
    }

    fn through(&self, authorization: &str) -> Endpoint {
        self.refshim.endpoint().authorization(authorization)
    }

    /// Every way to see something of the repository but its tags.
    fn paths(&self) -> Vec<String> {
        let (image, referrer, blob) = (&self.image.digest, &self.referrer.digest, &self.blob);
        vec![
            format!("/v2/app/referrers/{image}"),
            format!("/v2/app/_oras/artifacts/referrers?digest={image}"),
            format!("/v2/app/manifests/{image}/references"),
            format!("/v2/app/manifests/{image}"),
            format!("/v2/app/manifests/{referrer}"),
            "/v2/app/manifests/v1".to_owned(),
            format!("/v2/app/manifests/{}", self.image.referrers_tag()),
            format!("/v2/app/blobs/{blob}"),
            format!("/v3/app/referrers/{image}"),
            format!("/v3/app/reference/{referrer}"),
            format!("/v3/app/objects/{referrer}"),
            format!("/v3/app/description/{referrer}"),
            format!("/ui/m/app@{referrer}"),
        ]
    }

    async fn expect_refused(&self, case: &str) {
        let lister = self.through(LISTER);
        for path in self.paths() {
            let reply = lister.get_with(&path, &[("accept", ANY)]).await;
            assert_eq!(reply.status, 403, "{case}: {path}: {reply:?}");
            assert!(
                !reply.text().contains(&self.referrer.digest),
                "{case}: {path}: {reply:?}"
            );
        }
        lister.get("/v2/app/tags/list").await.expect_status(200);
    }
}

#[tokio::test]
async fn who_may_list_but_not_read_is_refused_cold_and_after_others_filled_the_cache() {
    for depth in ["auto", "names"] {
        let setup = Setup::new(&[("REFSHIM_LINKS__DEPTH", depth)]).await;
        setup.expect_refused("cold").await;
        for path in setup.paths() {
            let reply = setup.through(READER).get_with(&path, &[("accept", ANY)]).await;
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
        }
        // Twice: a right to list is remembered by then.
        for case in ["warm", "warm, with a right to list"] {
            setup.expect_refused(&format!("{depth}: {case}")).await;
        }
    }
}

/// Where there is no referrers API, there is nobody who would refuse it: whether it is missing is found out with the credential of
/// whoever asks first.
#[tokio::test]
async fn who_asks_first_where_there_is_no_referrers_api_is_refused_all_the_same() {
    let fake = Fake::start(Knobs::default()).await;
    let is_api = |seen: &Seen| seen.path.contains("/referrers/");
    fake.trouble(denied(), move |seen| {
        by(LISTER)(seen) && !is_listing(seen) && !is_api(seen)
    });
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let reader = refshim.endpoint().authorization(READER);
    let image = fake.image("app", "v1", "image");
    let straight = fake.endpoint().authorization(READER);
    let sbom = straight.push_artifact("app", &image, TYPE, "sbom").await;
    // By then it is known what stands behind tags. Of a digest that the registry does not have nobody learns whether there is an API.
    let made_up = format!("sha256:{}", "1".repeat(64));
    assert!(reader.referrers("app", &made_up).await.is_empty());
    reader.manifest("app", &sbom.digest).await.expect_status(200);
    // What is written ends what is known of the listing.
    reader.put_manifest("app", "", IMAGE, &bare_image("other")).await;
    let lister = refshim.endpoint().authorization(LISTER);
    lister.referrers_reply("app", &image.digest).await.expect_status(403);
    assert_eq!(reader.referrer_digests("app", &image.digest).await, [sbom.digest]);
}

/// The lister's question joins the reader's search while that is under way.
#[tokio::test]
async fn a_search_for_one_who_may_read_shows_nothing_to_one_who_may_only_list() {
    let fake = Fake::start(Knobs::default()).await;
    fake.trouble(denied(), |seen| by(LISTER)(seen) && !is_listing(seen));
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let refshim = Refshim::in_front_of(link.url()).await;
    let image = fake.image("app", "v1", "image");
    fake.tagged_artifact("app", &image, TYPE, "sbom");
    let gate = link.hold(|seen| by(READER)(seen) && is_listing(seen));
    let ask = |authorization: &str| {
        let endpoint = refshim.endpoint().authorization(authorization);
        let digest = image.digest.clone();
        tokio::spawn(async move { endpoint.referrers_reply("app", &digest).await.status })
    };
    let reader = ask(READER);
    gate.reached_by(1).await;
    let lister = ask(LISTER);
    // Meanwhile the question most probably joins.
    refshim.endpoint().get("/v2/").await.expect_status(200);
    gate.open();
    assert_eq!((reader.await.unwrap(), lister.await.unwrap()), (200, 403));
}

/// Whatever the registry lets this caller see is an answer: an empty repository, and one that is not there.
#[tokio::test]
async fn what_is_empty_or_unknown_needs_no_proof() {
    let setup = Setup::new(&[]).await;
    let empty = Trouble::answer(
        200,
        &[("content-type", "application/json")],
        r#"{"name":"new","tags":[]}"#,
    );
    setup
        .fake
        .trouble(empty, |seen| seen.path.starts_with("/v2/new/tags/list"));
    let unknown = |seen: &Seen| seen.path.starts_with("/v2/new/manifests/");
    setup
        .fake
        .trouble(Trouble::oci(404, "MANIFEST_UNKNOWN", "unknown"), unknown);
    for repository in ["new", "nowhere"] {
        for endpoint in [setup.refshim.endpoint(), setup.through(READER)] {
            for digest in [setup.image.digest.clone(), format!("sha256:{}", "0".repeat(64))] {
                let reply = endpoint.referrers_reply(repository, &digest).await;
                assert_eq!(reply.status, 200, "{repository}: {reply:?}");
                assert_eq!(reply.json()["manifests"], serde_json::json!([]));
            }
        }
    }
}

/// A registry may let somebody read its blobs and nothing else (ECR grants the two apart).
#[tokio::test]
async fn a_blob_proves_no_right_to_manifests() {
    let setup = Setup::new(&[]).await;
    let blobs_only = "Bearer blobs-only";
    setup.fake.trouble(denied(), move |seen| {
        by(blobs_only)(seen) && !seen.path.contains("/blobs/")
    });
    let manifest = format!("/v2/app/manifests/{}", setup.image.digest);
    let accept = [("accept", ANY)];
    setup
        .through(READER)
        .get_with(&manifest, &accept)
        .await
        .expect_status(200);
    let blob = format!("/v2/app/blobs/{}", setup.blob);
    for method in [Method::GET, Method::HEAD] {
        setup
            .through(blobs_only)
            .send(method, &blob, &[], "")
            .await
            .expect_status(200);
        setup.through(blobs_only).get(&manifest).await.expect_status(403);
        let list = setup
            .through(blobs_only)
            .referrers_reply("app", &setup.image.digest)
            .await;
        list.expect_status(403);
    }
}

/// Proxies and old registries refuse HEADs, or leave out what they should say.
#[tokio::test]
async fn a_head_that_is_refused_is_no_reason_to_fail() {
    for answer in [
        Trouble::oci(403, "DENIED", "no"),
        Trouble::html(405),
        Trouble::html(501),
        Trouble::WithoutHeader("docker-content-digest"),
    ] {
        let setup = Setup::new(&[]).await;
        setup.through(READER).referrers("app", &setup.image.digest).await;
        setup.fake.trouble(answer.clone(), |seen| seen.method == Method::HEAD);
        for reader in ["Bearer another", "Bearer third"] {
            let listed = setup.through(reader).referrer_digests("app", &setup.image.digest).await;
            assert_eq!(listed, [setup.referrer.digest.as_str()], "{answer:?}");
        }
        setup.expect_refused(&format!("{answer:?}")).await;
    }
}

/// The subject may be gone, or withheld by a policy: then any manifest that is listed proves the right.
#[tokio::test]
async fn any_listed_manifest_proves_the_right_to_read() {
    let setup = Setup::new(&[]).await;
    setup.through(READER).referrers("app", &setup.image.digest).await;
    let path = format!("/v2/app/manifests/{}", setup.image.digest);
    setup
        .fake
        .trouble(Trouble::oci(412, "PROJECTPOLICYVIOLATION", "vulnerable"), move |seen| {
            seen.path == path
        });
    let another = setup.through("Bearer another");
    let listed = another.referrer_digests("app", &setup.image.digest).await;
    assert_eq!(listed, [setup.referrer.digest.as_str()]);
    let made_up = format!("sha256:{}", "5".repeat(64));
    let third = setup.through("Bearer third");
    assert_eq!(third.referrer_digests("app", &made_up).await, [] as [String; 0]);
}

/// A registry that hides repositories says "unknown" to a stranger, who is told "no referrers" as it would say itself. Where the
/// stranger is a service that lost its credentials, its operator must be able to see that.
#[tokio::test]
async fn a_repository_that_is_hidden_from_a_caller_is_logged_once() {
    let setup = Setup::new(&[]).await;
    let reader = setup.through(READER);
    assert_eq!(reader.referrers("app", &setup.image.digest).await.len(), 1);
    setup
        .fake
        .trouble(Trouble::oci(404, "NAME_UNKNOWN", "unknown"), |seen| !by(READER)(seen));
    for _ in 0..3 {
        let hidden: Reply = setup
            .refshim
            .endpoint()
            .referrers_reply("app", &setup.image.digest)
            .await;
        assert_eq!(hidden.expect_status(200).json()["manifests"], serde_json::json!([]));
    }
    let output = setup.refshim.output();
    let warned = output
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("does not exist"));
    assert_eq!(warned.count(), 1, "{output}");
    assert_eq!(reader.referrers("app", &setup.image.digest).await.len(), 1);
}

/// Some registries (and what stands before them) give manifests to whom they give no layers.
#[tokio::test]
async fn a_right_to_manifests_is_no_right_to_blobs() {
    const MANIFESTS_ONLY: &str = "Bearer manifests-only";
    let setup = Setup::new(&[]).await;
    let is_blob = |seen: &Seen| seen.path.contains("/blobs/");
    setup
        .fake
        .trouble(denied(), move |seen| by(MANIFESTS_ONLY)(seen) && is_blob(seen));
    let path = format!("/v2/app/blobs/{}", setup.blob);
    let reader = setup.through(READER);
    eventually("it is remembered for whom it was given", async || {
        let before = setup.fake.count(is_blob);
        reader.get(&path).await.expect_status(200);
        (setup.fake.count(is_blob) == before).then_some(())
    })
    .await;
    let other = setup.through(MANIFESTS_ONLY);
    for _ in 0..2 {
        other.manifest("app", "v1").await.expect_status(200);
        other.get(&path).await.expect_status(403);
    }
    // Nor in an outage.
    setup.fake.heal();
    setup.fake.trouble(Trouble::html(502), is_blob);
    other.manifest("app", "v1").await.expect_status(200);
    other.get(&path).await.expect_status(502);
}
