//! Promise: what is deleted through refshim is gone at once, with its links; what it linked to, and what else links there, stays.

mod support;

use refshim::oci::media_type::OCI_ARTIFACT_MANIFEST;
use serde_json::{Value, json};
use support::content::{IMAGE, INDEX, artifact, bare_image, empty_descriptor, index};
use support::fake::Fake;
use support::fake::knobs::{Delete, Knobs};
use support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Reply};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const SCAN: &str = "application/vnd.acme.scan.v1+json";

struct Set {
    registry: Registry,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
}

impl Set {
    async fn new(program: Program) -> Self {
        let registry = Registry::start(program).await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        // Nothing here may depend on an answer growing old.
        let builder = Refshim::builder(link.url()).env("REFSHIM_CACHE__FRESH_FOR", "1h");
        let refshim = builder.start().await;
        Self {
            image: refshim.endpoint().push_image("app", "v1", "image").await,
            refshim,
            registry,
            link,
        }
    }

    fn through(&self) -> Endpoint {
        self.refshim.endpoint()
    }

    async fn attach(&self, artifact_type: &str) -> Pushed {
        let through = self.through();
        through
            .push_artifact("app", &self.image, artifact_type, "artifact")
            .await
    }

    async fn attach_sealed(&self, tag: &str) -> Pushed {
        let manifest = json!({
            "mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [empty_descriptor()],
            "subject": self.image.descriptor(),
        });
        let through = self.through();
        through.put_manifest("app", tag, OCI_ARTIFACT_MANIFEST, &manifest).await
    }

    async fn delete(&self, reference: &str) -> Reply {
        self.through().delete(&format!("/v2/app/manifests/{reference}")).await
    }

    async fn listed(&self) -> Vec<String> {
        self.through().referrer_digests("app", &self.image.digest).await
    }

    /// All tags as the registry itself has them, sorted.
    async fn stored_tags(&self) -> Vec<String> {
        tags(&self.registry.endpoint()).await
    }

    async fn is_gone(&self, reference: &str) {
        let path = format!("/v2/app/manifests/{reference}");
        let read = self.through().manifest("app", reference).await.expect_status(404);
        assert_eq!(read.error_code(), "MANIFEST_UNKNOWN");
        self.through().head(&path).await.expect_status(404);
    }
}

async fn tags(endpoint: &Endpoint) -> Vec<String> {
    let listed = endpoint.get("/v2/app/tags/list").await.expect_status(200).json();
    let listed = listed["tags"].as_array().cloned().unwrap_or_default();
    let mut tags: Vec<String> = listed.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    tags.sort();
    tags
}

fn sorted<'a>(pushed: impl IntoIterator<Item = &'a Pushed>) -> Vec<String> {
    let mut digests: Vec<String> = pushed.into_iter().map(|p| p.digest.clone()).collect();
    digests.sort();
    digests
}

#[tokio::test]
async fn a_referrer_by_digest() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let (sbom, scan) = (set.attach(SBOM).await, set.attach(SCAN).await);
        set.through().put_tag("app", "sbom", &sbom).await;
        assert_eq!(set.listed().await, sorted([&sbom, &scan]), "{program:?}");
        // Read, so that it is remembered.
        set.through().manifest("app", &sbom.digest).await.expect_status(200);

        set.delete(&sbom.digest).await.expect_status(202);
        assert_eq!(set.listed().await, sorted([&scan]), "{program:?}");
        let scan_tag = scan.proposal_d_tag(&set.image, "acme.scan");
        assert_eq!(set.stored_tags().await, [&*scan_tag, "v1"], "{program:?}");
        set.is_gone(&sbom.digest).await;
        set.is_gone("sbom").await;
        let again = set.delete(&sbom.digest).await.expect_status(404);
        assert_eq!(again.error_code(), "MANIFEST_UNKNOWN");
        // Pushed again it is as new.
        set.attach(SBOM).await;
        assert_eq!(set.listed().await, sorted([&sbom, &scan]), "{program:?}");
    }
}

/// A tag is a name. Without it the manifest and its links are still there.
#[tokio::test]
async fn a_tag_of_a_referrer() {
    let set = Set::new(Program::V3).await;
    let sbom = set.attach(SBOM).await;
    set.through().put_tag("app", "sbom", &sbom).await;
    assert_eq!(set.listed().await, sorted([&sbom]));
    set.delete("sbom").await.expect_status(202);
    set.is_gone("sbom").await;
    set.through().manifest("app", &sbom.digest).await.expect_status(200);
    assert_eq!(set.listed().await, sorted([&sbom]));

    // Distribution 2.8.2 deletes no tags, and is quoted.
    let set = Set::new(Program::V2).await;
    let sbom = set.attach(SBOM).await;
    set.through().put_tag("app", "sbom", &sbom).await;
    let refused = set.delete("sbom").await.expect_status(400);
    let straight = set.registry.endpoint().delete("/v2/app/manifests/sbom").await;
    assert_eq!(refused.body, straight.body);
    set.through().manifest("app", "sbom").await.expect_status(200);
    assert_eq!(set.listed().await, sorted([&sbom]));
}

#[tokio::test]
async fn a_subject() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let (sbom, sealed) = (set.attach(SBOM).await, set.attach_sealed("").await);
        let link_tags = set.stored_tags().await.into_iter().filter(|tag| tag != "v1");
        let link_tags: Vec<String> = link_tags.collect();
        set.delete(&set.image.digest).await.expect_status(202);
        // The specification lists the referrers of what does not exist.
        assert_eq!(set.listed().await, sorted([&sbom, &sealed]), "{program:?}");
        assert_eq!(set.stored_tags().await, link_tags, "{program:?}");
        set.is_gone("v1").await;
    }
}

/// An artifact may itself have referrers: only its own link goes.
#[tokio::test]
async fn the_middle_of_a_chain() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let sbom = set.attach(SBOM).await;
        let signature = set.through().push_artifact("app", &sbom, SCAN, "signature").await;
        set.delete(&sbom.digest).await.expect_status(202);
        assert_eq!(set.listed().await, [] as [String; 0], "{program:?}");
        let listed = set.through().referrer_digests("app", &sbom.digest).await;
        assert_eq!(listed, sorted([&signature]), "{program:?}");
    }
}

#[tokio::test]
async fn a_manifest_of_several_subjects() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let through = set.through();
        let other = through.push_image("app", "v2", "other").await;
        let sbom = through.put_manifest("app", "", IMAGE, &bare_image("sbom")).await;
        let entry = |subject: &Pushed| sbom.annotated(json!({"org.opencontainers.reference": subject.digest}));
        let holder = index([entry(&set.image), entry(&other)]);
        let holder = through.put_manifest("app", "", INDEX, &holder).await;
        for subject in [&set.image, &other] {
            assert_eq!(through.referrer_digests("app", &subject.digest).await, sorted([&sbom]));
        }
        set.delete(&holder.digest).await.expect_status(202);
        for subject in [&set.image, &other] {
            assert_eq!(
                through.referrers("app", &subject.digest).await,
                [] as [Value; 0],
                "{program:?}"
            );
        }
        assert_eq!(set.stored_tags().await, ["v1", "v2"], "{program:?}");
    }
}

#[tokio::test]
async fn an_envelope() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let (sealed, sbom) = (set.attach_sealed("mine").await, set.attach(SBOM).await);
        assert_eq!(set.listed().await, sorted([&sealed, &sbom]), "{program:?}");
        set.through().manifest("app", &sealed.digest).await.expect_status(200);

        set.delete(&sealed.digest).await.expect_status(202);
        assert_eq!(set.listed().await, sorted([&sbom]), "{program:?}");
        set.is_gone(&sealed.digest).await;
        set.is_gone("mine").await;
        let sbom_tag = sbom.proposal_d_tag(&set.image, "acme.sbom");
        assert_eq!(set.stored_tags().await, [&*sbom_tag, "v1"], "{program:?}");
        set.delete(&sealed.digest).await.expect_status(404);
        set.attach_sealed("").await;
        assert_eq!(set.listed().await, sorted([&sealed, &sbom]), "{program:?}");
    }
}

#[tokio::test]
async fn a_tag_of_an_envelope() {
    let set = Set::new(Program::V3).await;
    let sealed = set.attach_sealed("mine").await;
    set.delete("mine").await.expect_status(202);
    set.is_gone("mine").await;
    let kept = set.through().manifest("app", &sealed.digest).await.expect_status(200);
    assert_eq!(kept.body, sealed.bytes);
    assert_eq!(set.listed().await, sorted([&sealed]));
}

/// GHCR deletes nothing through this API. It says so itself, and everything stays as it was.
#[tokio::test]
async fn a_registry_that_cannot_delete() {
    let fake = Fake::start(Knobs {
        delete: Delete::Unsupported,
        ..Knobs::default()
    })
    .await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let through = refshim.endpoint();
    let sbom = through.push_artifact("app", &image, SBOM, "sbom").await;
    let manifest = json!({
        "mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [], "subject": image.descriptor(),
    });
    let sealed = through.put_manifest("app", "", OCI_ARTIFACT_MANIFEST, &manifest).await;
    let before = tags(&fake.endpoint()).await;
    for reference in [&*sbom.digest, &*sealed.digest, &*image.digest, "v1", &before[0]] {
        let path = format!("/v2/app/manifests/{reference}");
        let refused = through.delete(&path).await.expect_status(405);
        assert_eq!(refused.body, fake.endpoint().delete(&path).await.body, "{reference}");
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, sorted([&sbom, &sealed]), "{reference}");
        through.manifest("app", reference).await.expect_status(200);
    }
    assert_eq!(tags(&fake.endpoint()).await, before);
}

/// Some registries delete nothing that a tag still names; the link tags are refshim's own, so they go first.
#[tokio::test]
async fn a_registry_that_keeps_what_is_tagged() {
    let refusal = r#"{"errors":[{"code":"DENIED","message":"a tag refers to it"}]}"#;
    for status in [400, 403, 409] {
        let set = Set::new(Program::V3).await;
        let (sbom, scan) = (set.attach(SBOM).await, set.attach(SCAN).await);
        let before = set.stored_tags().await;
        let is_sbom = |sbom: &Pushed| {
            let path = format!("/v2/app/manifests/{}", sbom.digest);
            move |seen: &support::Seen| seen.method == "DELETE" && seen.path == path
        };
        // It has another tag, or another reason: the link tags come back.
        set.link.fail(Fault::answer(status, &[], refusal), is_sbom(&sbom));
        let refused = set.delete(&sbom.digest).await.expect_status(status);
        assert_eq!(refused.text(), refusal);
        assert_eq!(set.stored_tags().await, before, "{status}");
        assert_eq!(set.listed().await, sorted([&sbom, &scan]), "{status}");

        set.link.heal();
        set.link
            .fail_times(1, Fault::answer(status, &[], refusal), is_sbom(&sbom));
        set.delete(&sbom.digest).await.expect_status(202);
        assert_eq!(set.listed().await, sorted([&scan]), "{status}");
        set.is_gone(&sbom.digest).await;

        // An envelope's tags are refshim's own, too.
        let sealed = set.attach_sealed("").await;
        let before = set.stored_tags().await;
        set.link.fail(Fault::answer(status, &[], refusal), |seen| {
            seen.method == "DELETE" && seen.path.contains("/sha256:")
        });
        let refused = set.delete(&sealed.digest).await.expect_status(status);
        assert_eq!(refused.text(), refusal);
        assert_eq!(set.stored_tags().await, before, "{status}");
        assert_eq!(set.listed().await, sorted([&scan, &sealed]), "{status}");
        set.link.heal();
        set.link
            .fail_times(1, Fault::answer(status, &[], refusal), |seen| seen.method == "DELETE");
        set.delete(&sealed.digest).await.expect_status(202);
        assert_eq!(set.listed().await, sorted([&scan]), "{status}");
        set.is_gone(&sealed.digest).await;
    }
}

/// A refusal about who asks is relayed, and changes nothing.
#[tokio::test]
async fn callers_who_may_not() {
    for program in Program::ALL {
        let registry = Registry::builder(program).users(&[("alice", "wonder")]).start().await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let alice = refshim.endpoint().basic("alice", "wonder");
        let image = alice.push_image("app", "v1", "image").await;
        let sbom = alice.push_artifact("app", &image, SBOM, "sbom").await;
        let before = tags(&registry.endpoint()).await;
        for stranger in [refshim.endpoint(), refshim.endpoint().basic("alice", "wrong")] {
            let path = format!("/v2/app/manifests/{}", sbom.digest);
            let refused = stranger.delete(&path).await.expect_status(401);
            assert!(refused.header("www-authenticate").is_some());
            let pushed = Pushed::of(IMAGE, &artifact(&image, SCAN, "scan"));
            let refused = stranger.put_bytes("app", "", &pushed).await.expect_status(401);
            assert!(refused.header("www-authenticate").is_some());
        }
        assert_eq!(tags(&registry.endpoint()).await, before, "{program:?}");
        assert_eq!(alice.referrer_digests("app", &image.digest).await, sorted([&sbom]));
    }
}

/// When the registry fails on the way, the answer is an error or it is done; a second attempt ends well either way.
#[tokio::test]
async fn a_delete_that_fails_can_be_repeated() {
    let set = Set::new(Program::V3).await;
    for (sealed, fault) in [
        (false, Fault::status(500)),
        (false, Fault::Close),
        (true, Fault::status(500)),
        (true, Fault::Close),
    ] {
        let referrer = if sealed {
            set.attach_sealed("").await
        } else {
            set.attach(SBOM).await
        };
        set.link.fail(fault.clone(), |seen| seen.method == "DELETE");
        let failed = set.delete(&referrer.digest).await;
        set.link.heal();
        assert!(failed.status >= 500, "{failed:?}");
        assert_eq!(set.listed().await, sorted([&referrer]));

        // Done, but the answer is lost.
        set.link.fail_times(1, Fault::Lose, |seen| seen.method == "DELETE");
        let lost = set.delete(&referrer.digest).await;
        assert!(lost.status >= 500, "{lost:?}");
        set.link.heal();
        let again = set.delete(&referrer.digest).await;
        assert!(matches!(again.status, 202 | 404), "{again:?}");
        assert_eq!(set.listed().await, [] as [String; 0]);
        assert_eq!(set.stored_tags().await, ["v1"]);
    }
}
