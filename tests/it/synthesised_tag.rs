//! Promise: a referrers tag that the registry does not have can be read all the same: some clients ask for nothing else.

use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::{CountingProxy, Fault, Program, Pushed, Refshim, Registry, behind_link};
use refshim::testing::oci::Digest;
use serde_json::Value;

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

struct Set {
    registry: Registry,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
}

impl Set {
    async fn new(program: Program, environment: &[(&str, &str)]) -> Self {
        let (registry, link, refshim, image) = behind_link(program, environment).await;
        Self {
            registry,
            link,
            refshim,
            image,
        }
    }

    fn path(&self) -> String {
        format!("/v2/app/manifests/{}", self.image.referrers_tag())
    }
}

#[tokio::test]
async fn it_is_the_list_and_has_a_digest() {
    for program in Program::ALL {
        let set = Set::new(program, &[]).await;
        let through = set.refshim.endpoint();
        let missing = through
            .manifest("app", &set.image.referrers_tag())
            .await
            .expect_status(404);
        assert_eq!(missing.error_code(), "MANIFEST_UNKNOWN");
        let sbom = set.registry.endpoint().attach("app", &set.image, SBOM, "sbom").await;
        let fresh = Refshim::in_front_of(set.link.url()).await;
        let through = fresh.endpoint();
        let got = through
            .manifest("app", &set.image.referrers_tag())
            .await
            .expect_status(200);
        assert_eq!(got.header("content-type"), Some(INDEX), "{program:?}");
        assert_eq!(got.json()["manifests"][0]["digest"], sbom.digest);
        let digest = Digest::sha256(&got.body).to_string();
        assert_eq!(got.header("docker-content-digest"), Some(&*digest), "{program:?}");
        let head = through.head(&set.path()).await.expect_status(200);
        for name in ["content-type", "content-length", "docker-content-digest"] {
            assert_eq!(head.header(name), got.header(name), "{name}");
        }
        // As clients do that resolve a tag first.
        let by_digest = through.manifest("app", &digest).await.expect_status(200);
        assert_eq!(by_digest.body, got.body, "{program:?}");
        // There is nothing to delete, and nothing is deleted.
        set.link.take();
        through
            .delete(&format!("/v2/app/manifests/{digest}"))
            .await
            .expect_status(202);
        assert_eq!(
            through.referrer_digests("app", &set.image.digest).await,
            [sbom.digest],
            "{program:?}"
        );
        set.registry.endpoint().manifest("app", "v1").await.expect_status(200);
    }
}

/// What the registry has is what it answers, unless the option says otherwise.
#[tokio::test]
async fn a_stored_one_is_passed_on_or_merged() {
    for merged in [false, true] {
        let value = merged.to_string();
        let set = Set::new(Program::V2, &[("REFSHIM_WRITING__MERGE_REFERRERS_TAG", &value)]).await;
        let (straight, through) = (set.registry.endpoint(), set.refshim.endpoint());
        let listed = straight
            .put_manifest("app", "", IMAGE, &artifact(&set.image, SBOM, "listed"))
            .await;
        straight.attach("app", &set.image, SBOM, "attached").await;
        let stored = index([listed.descriptor()]);
        let stored = straight
            .put_manifest("app", &set.image.referrers_tag(), INDEX, &stored)
            .await;
        let got = through
            .manifest("app", &set.image.referrers_tag())
            .await
            .expect_status(200);
        let entries = got.json()["manifests"].as_array().map(Vec::len);
        assert_eq!(
            (entries, got.body == stored.bytes),
            if merged { (Some(2), false) } else { (Some(1), true) }
        );
    }
}

/// `cosign copy` stops where it finds a list in the target, which its own signatures would be, copied a moment before.
#[tokio::test]
async fn cosigns_tags_alone_make_none() {
    let set = Set::new(Program::V2, &[]).await;
    let (straight, through) = (set.registry.endpoint(), set.refshim.endpoint());
    let tag = format!("{}.sig", set.image.referrers_tag());
    let signature = straight
        .put_manifest("app", &tag, IMAGE, &bare_image("signature"))
        .await;
    assert_eq!(
        through.referrer_digests("app", &set.image.digest).await,
        [signature.adopted_by_suffix(&set.image, ".sig").digest]
    );
    through.head(&set.path()).await.expect_status(404);
    // With something beside them, all are in it.
    through.push_artifact("app", &set.image, SBOM, "sbom").await;
    let got = through
        .manifest("app", &set.image.referrers_tag())
        .await
        .expect_status(200)
        .json();
    let digests: Vec<&Value> = got["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["digest"])
        .collect();
    assert_eq!(digests.len(), 2);
    let adopted = signature.adopted_by_suffix(&set.image, ".sig");
    assert!(digests.contains(&&Value::from(adopted.digest)));
}

/// Some registries refuse (403) a tag that is not there, to whoever may read those that are.
#[tokio::test]
async fn it_stands_behind_a_refusal_of_a_tag_that_is_not_there() {
    let set = Set::new(Program::V2, &[]).await;
    let sbom = set.registry.endpoint().attach("app", &set.image, SBOM, "sbom").await;
    let (tag, denied) = (set.image.referrers_tag(), r#"{"errors":[{"code":"DENIED"}]}"#);
    let json = [("content-type", "application/json")];
    set.link
        .fail(Fault::answer(403, &json, denied), move |seen| seen.path.ends_with(&tag));
    let through = set.refshim.endpoint();
    let got = through
        .manifest("app", &set.image.referrers_tag())
        .await
        .expect_status(200);
    assert_eq!(got.json()["manifests"][0]["digest"], sbom.digest);
    through.head(&set.path()).await.expect_status(200);
    // Where nothing is known, and where the caller may read nothing, the refusal stands.
    let unknown = format!("sha256-{}", "5".repeat(64));
    let is_unknown = unknown.clone();
    set.link.fail(Fault::answer(403, &json, denied), move |seen| {
        seen.path.ends_with(&is_unknown)
    });
    through.manifest("app", &unknown).await.expect_status(403);
    set.link.heal();
    set.link.fail(Fault::answer(403, &json, denied), |_| true);
    let stranger = through.basic("mallory", "m");
    let refused = stranger
        .manifest("app", &set.image.referrers_tag())
        .await
        .expect_status(403);
    assert_eq!(refused.text(), denied);
}
