//! Promise: what is deleted through refshim is gone at once, with its links; what it linked to, and what else links there, stays.

use crate::support;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::content::{IMAGE, INDEX, artifact, bare_image, empty_descriptor, index, is_referrers_tag};
use crate::support::fake::knobs::{Delete, Knobs};
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Reply, Seen};
use refshim::testing::oci::media_type::OCI_ARTIFACT_MANIFEST;
use serde_json::{Value, json};
use tempfile::TempDir;

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

    /// Deletes, and kills refshim after that request of the deletion reached the registry. Whether there are so many.
    async fn dies_at(&mut self, request: usize, artifact: &Pushed) -> bool {
        let passed = AtomicUsize::new(0);
        let counts = move |_: &Seen| passed.fetch_add(1, Ordering::Relaxed) >= request;
        let gate = self.link.hold_answers(counts);
        let (through, path) = (self.through(), format!("/v2/app/manifests/{}", artifact.digest));
        let mut deleting = tokio::spawn(async move {
            let sent = through.try_send(http::Method::DELETE, &path, &[], Vec::new());
            sent.await.is_ok()
        });
        let died = tokio::select! {
            () = gate.reached_by(1) => true,
            ended = &mut deleting => {
                assert!(ended.unwrap(), "nobody killed it");
                false
            }
        };
        if died {
            self.refshim.restart().await;
        }
        self.link.heal();
        gate.open();
        died
    }

    /// All tags as the registry itself has them, sorted, but referrers tags.
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

/// Sorted. Referrers tags are left out: they stay, without the entries of what was deleted (see `referrers_tag`).
async fn tags(endpoint: &Endpoint) -> Vec<String> {
    let listed = endpoint.get("/v2/app/tags/list").await.expect_status(200).json();
    let listed = listed["tags"].as_array().cloned().unwrap_or_default();
    let mut tags: Vec<String> = listed.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    tags.retain(|tag| !is_referrers_tag(tag));
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
            let adopted = sbom.adopted(subject, None);
            assert_eq!(
                through.referrer_digests("app", &subject.digest).await,
                sorted([&adopted])
            );
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

/// Some registries delete nothing that a tag still names, and the link tags are refshim's own. Without them the artifact would be lost
/// where the registry refuses again, or refshim dies: so the refusal is relayed, with what to do, and nothing changes.
#[tokio::test]
async fn what_the_registry_refuses_to_delete_keeps_its_links() {
    let refusal = r#"{"errors":[{"code":"DENIED","message":"a tag refers to it"}]}"#;
    for status in [400, 403, 409, 412] {
        let mut set = Set::new(Program::V3).await;
        let (sbom, sealed) = (set.attach(SBOM).await, set.attach_sealed("").await);
        let before = set.stored_tags().await;
        set.link.fail(Fault::answer(status, &[], refusal), |seen| {
            seen.method == "DELETE" && seen.path.contains("/sha256:")
        });
        set.link.take();
        for doomed in [&sbom, &sealed] {
            let refused = set.delete(&doomed.digest).await.expect_status(status);
            assert_eq!(refused.text(), refusal);
            let warning = refused.header("warning").expect("a warning that says what to do");
            assert!(
                warning.starts_with("299 - ") && warning.contains(&set.image.referrers_tag()),
                "{warning}"
            );
        }
        let written: Vec<String> = set.link.take().into_iter().filter(|line| is_write(line)).collect();
        assert_eq!(written.len(), 2, "one attempt each: {written:?}");
        assert_eq!(set.stored_tags().await, before, "{status}");
        assert_eq!(set.listed().await, sorted([&sbom, &sealed]), "{status}");
        // Nor does a crash at any moment leave anything behind: there was no moment.
        set.refshim.restart().await;
        assert_eq!(set.listed().await, sorted([&sbom, &sealed]), "{status}");
    }
}

fn is_write(line: &str) -> bool {
    !line.starts_with("GET ") && !line.starts_with("HEAD ")
}

/// Whichever request of a deletion is the last one before refshim dies, the artifact is whole and found, or gone; and repeating
/// the deletion ends it.
#[tokio::test]
async fn a_deletion_that_dies_at_any_request_leaves_all_or_nothing() {
    for (program, sealed) in [(Program::V3, false), (Program::V3, true), (Program::V2, true)] {
        let mut set = Set::new(program).await;
        for request in 0.. {
            let artifact = match sealed {
                true => set.attach_sealed("").await,
                false => set.attach(SBOM).await,
            };
            if !set.dies_at(request, &artifact).await {
                assert!(request > 2, "{program:?} {sealed}: {request} requests only");
                break;
            }
            let read = set.through().manifest("app", &artifact.digest).await;
            let listed = set.listed().await;
            let context = format!("{program:?} {sealed} {request}");
            match read.status {
                200 => assert_eq!(listed, sorted([&artifact]), "{context}"),
                // 2.8.2 fails over a blob that is no manifest.
                404 | 500 => assert_eq!(listed, [] as [String; 0], "{context}"),
                other => panic!("{context}: {other}"),
            }
            let again = set.delete(&artifact.digest).await;
            assert!(matches!(again.status, 202 | 404), "{context}: {again:?}");
            assert_eq!(set.listed().await, [] as [String; 0], "{context}");
            set.is_gone(&artifact.digest).await;
        }
    }
}

/// Registries learn: what an envelope keeps may be stored as such by now. Both go, and until both have gone it is found.
#[tokio::test]
async fn what_is_stored_in_an_envelope_and_as_such() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let manifest = json!({
        "mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [], "subject": image.descriptor(),
    });
    let through = refshim.endpoint();
    let sealed = through.put_manifest("app", "", OCI_ARTIFACT_MANIFEST, &manifest).await;
    fake.turn(|knobs| knobs.pushes.takes_any_type = true);
    fake.endpoint().put_bytes("app", "", &sealed).await.expect_status(201);
    let path = format!("/v2/app/manifests/{}", sealed.digest);
    let listed_afresh = async || {
        let fresh = Refshim::in_front_of(&fake.url()).await;
        fresh.endpoint().referrer_digests("app", &image.digest).await
    };
    let own = path.clone();
    fake.trouble(
        support::fake::Trouble::oci(403, "DENIED", "not this one"),
        move |seen| seen.method == "DELETE" && seen.path == own,
    );
    through.delete(&path).await.expect_status(403);
    assert_eq!(listed_afresh().await, sorted([&sealed]));
    fake.heal();
    through.delete(&path).await.expect_status(202);
    assert_eq!(listed_afresh().await, [] as [String; 0]);
    through.delete(&path).await.expect_status(404);
}

/// A registry whose tags outlive the manifest, behind a link; two replicas of refshim, one of which goes through that link.
struct Outliving {
    fake: Fake,
    link: CountingProxy,
    one: Refshim,
    other: Refshim,
    image: Pushed,
}

impl Outliving {
    async fn new() -> Self {
        let fake = Fake::start(Knobs {
            delete: Delete::DigestAlone,
            ..Knobs::default()
        })
        .await;
        let link = CountingProxy::in_front_of(&fake.url()).await;
        Self {
            image: fake.image("app", "v1", "image"),
            one: Refshim::in_front_of(link.url()).await,
            other: Refshim::in_front_of(&fake.url()).await,
            link,
            fake,
        }
    }

    /// Deletes through one replica; `meanwhile` is done while the first request that `matches` waits on its way to the registry.
    async fn delete_while(
        &self,
        sbom: &Pushed,
        matches: impl Fn(&Seen) -> bool + Send + 'static,
        meanwhile: impl Future<Output = ()>,
    ) {
        let gate = self.link.hold(matches);
        let path = format!("/v2/app/manifests/{}", sbom.digest);
        let through = self.one.endpoint();
        let deletion = through.delete(&path);
        let meanwhile = async {
            gate.reached_by(1).await;
            meanwhile.await;
            self.link.heal();
            gate.open();
        };
        let (deleted, ()) = tokio::join!(deletion, meanwhile);
        deleted.expect_status(202);
    }

    /// What a replica lists that knows nothing yet.
    async fn listed_afresh(&self) -> Vec<String> {
        let fresh = Refshim::in_front_of(&self.fake.url()).await;
        fresh.endpoint().referrer_digests("app", &self.image.digest).await
    }
}

#[tokio::test]
async fn link_tags_that_outlive_their_manifest_go() {
    let set = Outliving::new().await;
    let through = set.one.endpoint();
    let sbom = through.push_artifact("app", &set.image, SBOM, "sbom").await;
    let path = format!("/v2/app/manifests/{}", sbom.digest);
    through.delete(&path).await.expect_status(202);
    assert_eq!(tags(&set.fake.endpoint()).await, ["v1"]);
    assert_eq!(set.listed_afresh().await, [] as [String; 0]);
}

/// The registry lists a link tag on, and gives nothing by it. What is remembered of the artifact (on disk, or from before more writes than
/// are remembered) does not bring it back.
#[tokio::test]
async fn a_link_tag_that_is_listed_on_brings_nothing_back() {
    const WRITES: usize = 130;
    let folder = TempDir::new().unwrap();
    for (dir, writes) in [(Some(folder.path().display().to_string()), 0), (None, WRITES)] {
        let fake = Fake::start(Knobs {
            delete: Delete::DigestAlone,
            ..Knobs::default()
        })
        .await;
        let builder = Refshim::builder(&fake.url()).env("REFSHIM_LINKS__DEPTH", "names");
        let builder = dir
            .iter()
            .fold(builder, |builder, dir| builder.env("REFSHIM_CACHE__DIR", dir));
        let (refshim, image) = (builder.start().await, fake.image("app", "v1", "image"));
        let through = refshim.endpoint();
        let sbom = through.push_artifact("app", &image, SBOM, "sbom").await;
        assert_eq!(through.referrer_digests("app", &image.digest).await, sorted([&sbom]));
        let tag = sbom.proposal_d_tag(&image, "acme.sbom");
        let gone = Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown");
        let at = tag.clone();
        fake.trouble(gone, move |seen| seen.path.ends_with(&at));
        let path = format!("/v2/app/manifests/{}", sbom.digest);
        through.delete(&path).await.expect_status(202);
        for number in 0..writes {
            through.push_image("app", &format!("t{number}"), "image").await;
        }
        assert!(tags(&fake.endpoint()).await.contains(&tag));
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [] as [&str; 0], "{dir:?}, {writes} writes");
    }
}

/// Pushed again while the clean-up is at work, acknowledged by the same process or another: its link stays.
#[tokio::test]
async fn what_is_pushed_again_meanwhile_stays_linked() {
    let set = Outliving::new().await;
    let sbom = set.one.endpoint().push_artifact("app", &set.image, SBOM, "sbom").await;
    let tag = format!("/v2/app/manifests/{}", sbom.proposal_d_tag(&set.image, "acme.sbom"));
    let push = async |replica: &Refshim| {
        let pushed = replica.endpoint().put_bytes("app", "", &sbom).await;
        pushed.expect_status(201);
    };
    for method in ["HEAD", "DELETE"] {
        let at = tag.clone();
        let cleans = move |seen: &Seen| seen.method == method && seen.path == at;
        set.delete_while(&sbom, cleans, push(&set.other)).await;
        assert_eq!(
            set.listed_afresh().await,
            sorted([&sbom]),
            "another replica, before {method}"
        );
    }
    let at = tag.clone();
    let looks = move |seen: &Seen| seen.method == "HEAD" && seen.path == at;
    set.delete_while(&sbom, looks, push(&set.one)).await;
    assert_eq!(set.listed_afresh().await, sorted([&sbom]), "the same process");
}

/// A DELETE of a link tag that the registry carries out late, after somebody pushed the artifact again, is made good.
#[tokio::test]
async fn what_a_late_deletion_takes_comes_back() {
    let set = Outliving::new().await;
    let sbom = set.one.endpoint().push_artifact("app", &set.image, SBOM, "sbom").await;
    let tag = sbom.proposal_d_tag(&set.image, "acme.sbom");
    let at = format!("/v2/app/manifests/{tag}");
    let path = format!("/v2/app/manifests/{}", sbom.digest);
    set.link.fail(Fault::Close, {
        let at = at.clone();
        move |seen| seen.method == "DELETE" && seen.path == at
    });
    set.one.endpoint().delete(&path).await.expect_status(202);
    set.other
        .endpoint()
        .put_bytes("app", "", &sbom)
        .await
        .expect_status(201);
    set.fake.endpoint().delete(&at).await.expect_status(202);
    assert!(!tags(&set.fake.endpoint()).await.contains(&tag));
    support::eventually("the link is put back", async || {
        tags(&set.fake.endpoint()).await.contains(&tag).then_some(())
    })
    .await;
    assert_eq!(set.listed_afresh().await, sorted([&sbom]));
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
