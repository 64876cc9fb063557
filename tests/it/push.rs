//! Promise: an acknowledged push is never undiscoverable, whatever fails on the way.

use crate::support;
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, empty_descriptor, index};
use crate::support::fake::knobs::{Knobs, Pushes};
use crate::support::fake::{Fake, profiles};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Reply, Seen, Tools};
use refshim::testing::oci::media_type::OCI_ARTIFACT_MANIFEST;
use refshim::testing::oci::{Digest, envelope};
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
/// The short type that [`SBOM`] has in a link tag.
const KIND: &str = "acme.sbom";

/// An image in a registry behind a link that breaks on demand, and refshim in front of both.
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
        Self {
            image: registry.endpoint().push_image("app", "v1", "image").await,
            refshim: builder.start().await,
            registry,
            link,
        }
    }

    fn through(&self) -> Endpoint {
        self.refshim.endpoint()
    }

    async fn push(&self, manifest: &Pushed) -> Reply {
        self.through().put_bytes("app", "", manifest).await
    }

    async fn listed(&self) -> Vec<String> {
        self.through().referrer_digests("app", &self.image.digest).await
    }

    /// All tags as the registry itself has them, sorted.
    async fn stored_tags(&self) -> Vec<String> {
        tags(&self.registry.endpoint()).await
    }

    fn sbom(&self, name: &str) -> Pushed {
        Pushed::of(IMAGE, &artifact(&self.image, SBOM, name))
    }

    /// What 2.8.2 and 3 refuse, so that it needs an envelope.
    fn sealed(&self, name: &str) -> Pushed {
        let manifest = json!({
            "mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [empty_descriptor()],
            "subject": self.image.descriptor(), "annotations": {"name": name},
        });
        Pushed::of(OCI_ARTIFACT_MANIFEST, &manifest)
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

fn is_put_of(seen: &Seen, reference: &str) -> bool {
    seen.method == "PUT" && seen.path.contains(&format!("/manifests/{reference}"))
}

/// The requests that make up a push of a manifest, by name.
type Step = (&'static str, fn(&Seen) -> bool);

/// Of a manifest that the registry takes.
const STEPS: [Step; 2] = [
    ("the manifest", |seen| is_put_of(seen, "sha256:")),
    ("its link tag", |seen| is_put_of(seen, "sha256-")),
];

/// Of one that needs an envelope.
const SEALED_STEPS: [Step; 6] = [
    ("the manifest", |seen| is_put_of(seen, "sha256:")),
    ("the blob is looked for", |seen| {
        seen.method == "HEAD" && seen.path.contains("/blobs/")
    }),
    ("an upload", |seen| {
        seen.method == "POST" && seen.path.contains("/blobs/")
    }),
    ("the blob", |seen| seen.method == "PUT" && seen.path.contains("/blobs/")),
    ("the envelope's own tag", |seen| {
        is_put_of(seen, "sha256-") && seen.path.ends_with(".envelope")
    }),
    ("its link tag", |seen| {
        is_put_of(seen, "sha256-") && !seen.path.ends_with(".envelope")
    }),
];

/// What may happen to a request. The last reaches the registry, but its answer is lost.
fn faults() -> Vec<(&'static str, Fault)> {
    let denied = r#"{"errors":[{"code":"DENIED","message":"quota"}]}"#;
    vec![
        ("500", Fault::status(500)),
        ("503", Fault::status(503)),
        ("429", Fault::answer(429, &[("retry-after", "60")], "slow down")),
        (
            "403",
            Fault::answer(403, &[("content-type", "application/json")], denied),
        ),
        ("closed", Fault::Close),
        ("lost", Fault::Lose),
    ]
}

/// Pushes while the step fails, then again: never acknowledged without being listed, and healed by the repetition.
async fn fails_and_heals(set: &Set, acknowledged: &mut Vec<Pushed>, pushed: Pushed, step: Step, fault: Fault) {
    let case = format!("{} of {}", step.0, pushed.media_type);
    set.link.fail(fault, step.1);
    let reply = set.push(&pushed).await;
    set.link.heal();
    assert_ne!(
        reply.header("oci-subject"),
        Some(&*set.image.digest),
        "{case}: {reply:?}"
    );
    assert!(reply.status >= 400, "{case}: {reply:?}");
    let listed = set.listed().await;
    for earlier in acknowledged.iter() {
        assert!(listed.contains(&earlier.digest), "{case}");
    }

    let again = set.push(&pushed).await.expect_status(201);
    assert_eq!(again.header("oci-subject"), Some(&*set.image.digest), "{case}");
    assert_eq!(again.header("docker-content-digest"), Some(&*pushed.digest), "{case}");
    acknowledged.push(pushed);
    assert_eq!(set.listed().await, sorted(acknowledged.iter()), "{case}");
}

#[tokio::test]
async fn any_step_may_fail_and_a_repeated_push_heals() {
    for program in Program::ALL {
        let (set, mut acknowledged) = (Set::new(program).await, Vec::new());
        for step in STEPS {
            for (name, fault) in faults() {
                let pushed = set.sbom(&format!("{} {name}", step.0));
                fails_and_heals(&set, &mut acknowledged, pushed, step, fault).await;
            }
        }
    }
}

#[tokio::test]
async fn any_step_of_an_envelope_may_fail_and_a_repeated_push_heals() {
    let (set, mut acknowledged) = (Set::new(Program::V2).await, Vec::new());
    for step in SEALED_STEPS {
        for (name, fault) in faults() {
            // Where it may not be looked for it is simply written.
            if step.0 == "the blob is looked for" && name == "403" {
                continue;
            }
            let pushed = set.sealed(&format!("{} {name}", step.0));
            fails_and_heals(&set, &mut acknowledged, pushed, step, fault).await;
        }
    }
}

/// The caller is told what is wrong in words of the protocol, and that pushing again is the cure.
#[tokio::test]
async fn a_push_whose_link_is_not_written_says_so() {
    let set = Set::new(Program::V2).await;
    let (pushed, step) = (set.sbom("sbom"), STEPS[1]);
    for (fault, status, code) in [
        (Fault::status(500), 502, "UNAVAILABLE"),
        (Fault::Close, 502, "UNAVAILABLE"),
        (Fault::answer(429, &[("retry-after", "7")], ""), 429, "TOOMANYREQUESTS"),
        (Fault::status(403), 403, "DENIED"),
    ] {
        set.link.fail(fault, step.1);
        let reply = set.push(&pushed).await.expect_status(status);
        set.link.heal();
        assert_eq!(reply.error_code(), code, "{reply:?}");
        assert!(reply.text().contains("push it again"), "{reply:?}");
        assert_eq!(reply.header("retry-after"), (status == 429).then_some("7"));
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_link_is_durable() {
    let set = Set::new(Program::V2).await;
    let pushed = set.sbom("sbom");
    let gate = set.link.hold(STEPS[1].1);
    let (through, bytes) = (set.through(), pushed.clone());
    let push = tokio::spawn(async move { through.put_bytes("app", "", &bytes).await });
    gate.reached_by(1).await;
    // The manifest itself is stored by now, and an answer would have had the time of this exchange to arrive.
    set.registry
        .endpoint()
        .manifest("app", &pushed.digest)
        .await
        .expect_status(200);
    assert!(!push.is_finished());
    gate.open();
    push.await.unwrap().expect_status(201);
    assert_eq!(set.listed().await, [pushed.digest]);
}

#[tokio::test]
async fn a_manifest_may_name_several_subjects() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let through = set.through();
        let other = through.push_image("app", "v2", "other").await;
        let sbom = through.put_manifest("app", "", IMAGE, &bare_image("sbom")).await;
        let scan = through.put_manifest("app", "", IMAGE, &bare_image("scan")).await;
        // One index: an entry for each image (Proposals D and F), and a subject of its own.
        let mut manifest = index([
            sbom.annotated(
                json!({"org.opencontainers.reference": set.image.digest, "org.opencontainers.reference.type": "sbom"}),
            ),
            scan.annotated(json!({"org.opencontainers.reference.digest": other.digest})),
        ]);
        manifest["subject"] = set.image.descriptor();
        let holder = Pushed::of(INDEX, &manifest);
        let reply = set.push(&holder).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*set.image.digest));
        let listed = sbom.listed(&set.image, None);
        assert_eq!(set.listed().await, sorted([&holder, &listed]), "{program:?}");
        let listed = scan.listed(&other, None);
        assert_eq!(through.referrer_digests("app", &other.digest).await, [listed.digest]);
        let links = [&set.image, &other].map(|subject| holder.proposal_d_tag(subject, "artifact"));
        for link in &links {
            let stored = set.registry.endpoint().manifest("app", link).await.expect_status(200);
            assert_eq!(stored.body, holder.bytes, "{program:?}");
        }
        // And the referrers tag of the subject that the holder names itself.
        assert_eq!(set.stored_tags().await.len(), 3 + links.len());

        // Without a subject of its own nothing is promised, and everything is found all the same, by cold caches too.
        let third = through.push_image("app", "v3", "third").await;
        let entry = sbom.annotated(json!({"org.opencontainers.reference": third.digest}));
        let reply = set.push(&Pushed::of(INDEX, &index([entry]))).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), None);
        let fresh = Refshim::in_front_of(&set.registry.url()).await;
        let listed = sbom.listed(&third, None).digest;
        for endpoint in [through, fresh.endpoint()] {
            assert_eq!(
                endpoint.referrer_digests("app", &third.digest).await,
                std::slice::from_ref(&listed)
            );
        }
    }
}

#[tokio::test]
async fn by_digest_by_tag_and_by_its_own_link_tag() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let pushed = set.sbom("sbom");
        let link = pushed.proposal_d_tag(&set.image, KIND);
        for reference in [&*link, "", "mine", "mine-too", "mine"] {
            let reply = set
                .through()
                .put_bytes("app", reference, &pushed)
                .await
                .expect_status(201);
            assert_eq!(reply.header("oci-subject"), Some(&*set.image.digest), "{reference}");
            assert_eq!(
                reply.header("docker-content-digest"),
                Some(&*pushed.digest),
                "{reference}"
            );
            assert_eq!(set.listed().await, std::slice::from_ref(&pushed.digest), "{reference}");
        }
        assert_eq!(
            set.stored_tags().await,
            ["mine", "mine-too", &*set.image.referrers_tag(), &*link, "v1"],
            "{program:?}"
        );
        // Its own link tag needs no second one: not the same, nor one of another type.
        for kind in [KIND, "sbom"] {
            let pushed = set.sbom(kind);
            set.link.take();
            let reference = pushed.proposal_d_tag(&set.image, kind);
            set.through()
                .put_bytes("app", &reference, &pushed)
                .await
                .expect_status(201);
            let list = format!("/v2/app/manifests/{}", set.image.referrers_tag());
            let puts = set.link.count(|seen| seen.method == "PUT" && seen.path != list);
            assert_eq!(puts, 1, "{kind}: {:?}", set.link.take());
            assert!(set.listed().await.contains(&pushed.digest));
        }
    }
}

#[tokio::test]
async fn a_subject_may_come_later() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let image = Pushed::of(IMAGE, &bare_image("later"));
        let pushed = Pushed::of(IMAGE, &artifact(&image, SBOM, "early"));
        let reply = set.push(&pushed).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*image.digest), "{program:?}");
        let listed = async || set.through().referrer_digests("app", &image.digest).await;
        assert_eq!(listed().await, std::slice::from_ref(&pushed.digest));
        set.through().put_tag("app", "v2", &image).await;
        assert_eq!(listed().await, [pushed.digest]);
    }
}

#[tokio::test]
async fn a_manifest_over_the_limit_is_refused_and_nothing_is_written() {
    let set = Set::new(Program::V2).await;
    let mut manifest = artifact(&set.image, SBOM, "large");
    manifest["annotations"]["large"] = "x".repeat(4 << 20).into();
    let large = Pushed::of(IMAGE, &manifest);
    set.link.take();
    let reply = set.push(&large).await.expect_status(413);
    assert_eq!(reply.error_code(), "MANIFEST_INVALID");
    assert_eq!(set.link.take(), [] as [String; 0]);
    assert_eq!(set.listed().await, [] as [String; 0]);
    assert_eq!(set.stored_tags().await, ["v1"]);

    // Just below it, everything is as with small ones.
    let room = (4 << 20) - Pushed::of(IMAGE, &artifact(&set.image, SBOM, "")).size() - r#","large":"""#.len();
    let mut manifest = artifact(&set.image, SBOM, "");
    manifest["annotations"]["large"] = "x".repeat(room).into();
    let largest = Pushed::of(IMAGE, &manifest);
    assert_eq!(largest.size(), 4 << 20);
    set.push(&largest).await.expect_status(201);
    assert_eq!(set.listed().await, [largest.digest]);
}

#[tokio::test]
async fn the_list_right_after_a_push_has_it() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let mut pushed: Vec<Pushed> = Vec::new();
        for number in 0..10 {
            assert_eq!(set.listed().await, sorted(&pushed), "{program:?}");
            pushed.push(set.sbom(&number.to_string()));
            set.push(&pushed[number]).await.expect_status(201);
        }
        assert_eq!(set.listed().await, sorted(&pushed), "{program:?}");
    }
}

/// A scan that began before the push ends after it: what it found is old, and may not be what is remembered.
#[tokio::test]
async fn a_scan_that_a_push_overtakes_is_not_remembered() {
    let set = Set::new(Program::V2).await;
    let gate = support::Gate::closed();
    set.link
        .fail_times(1, Fault::Hold(gate.clone()), |seen| seen.path.contains("/tags/list"));
    let (through, digest) = (set.through(), set.image.digest.clone());
    let early = tokio::spawn(async move { through.referrer_digests("app", &digest).await });
    gate.reached_by(1).await;
    let pushed = set.sbom("sbom");
    set.push(&pushed).await.expect_status(201);
    assert_eq!(set.listed().await, std::slice::from_ref(&pushed.digest));
    gate.open();
    early.await.unwrap();
    assert_eq!(set.listed().await, [pushed.digest]);
}

#[tokio::test]
async fn a_locked_link_tag_is_no_obstacle_unless_it_holds_something_else() {
    let knobs = Knobs {
        pushes: Pushes {
            immutable_tags: true,
            ..Pushes::default()
        },
        ..profiles::distribution_3_0_0()
    };
    let fake = Fake::start(knobs).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let through = refshim.endpoint();
    let same = Pushed::of(IMAGE, &artifact(&image, SBOM, "same"));
    fake.put_pushed("app", &same.proposal_d_tag(&image, KIND), &same);
    fake.put_pushed("app", "mine", &same);
    for reference in ["", "mine"] {
        let reply = through.put_bytes("app", reference, &same).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*image.digest), "{reference}");
        assert_eq!(reply.header("docker-content-digest"), Some(&*same.digest));
    }

    let other = Pushed::of(IMAGE, &artifact(&image, SBOM, "other"));
    let link = other.proposal_d_tag(&image, KIND);
    fake.put_pushed("app", &link, &same);
    let reply = through.put_bytes("app", "", &other).await.expect_status(400);
    assert_eq!(reply.header("oci-subject"), None);
    reply.error_code();
    assert!(
        reply.text().contains(&link) && reply.text().contains("immutable"),
        "{reply:?}"
    );
    assert_eq!(through.referrer_digests("app", &image.digest).await, [same.digest]);
}

/// A list of the registry's own that works needs no link tags beside it; one that was never seen to work does.
#[tokio::test]
async fn where_the_registry_lists_by_itself_nothing_is_added() {
    let knobs = profiles::keeping_links();
    let fake = Fake::start(knobs).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    let first = through.push_artifact("app", &image, SBOM, "first").await;
    assert_eq!(tags(&fake.endpoint()).await, ["v1"]);
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&first.digest)
    );
    // It no longer says that it took note: then it may not have.
    fake.turn(|knobs| knobs.pushes.says_subject = false);
    let second = Pushed::of(IMAGE, &artifact(&image, SBOM, "second"));
    let reply = through.put_bytes("app", "", &second).await.expect_status(201);
    assert_eq!(reply.header("oci-subject"), Some(&*image.digest));
    assert_eq!(
        tags(&fake.endpoint()).await,
        [
            image.referrers_tag(),
            second.proposal_d_tag(&image, KIND),
            "v1".to_owned()
        ]
    );
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        sorted([&first, &second])
    );
}

/// Straight to 2.8.2, 6 to 8 of them are left.
#[tokio::test]
async fn of_thirty_two_attached_at_once_all_are_listed() {
    let registry = Registry::v2().await;
    let builder = Refshim::builder(&registry.url()).env("REFSHIM_WRITING__LINKS", "proposal-d");
    let mut refshim = builder.start().await;
    let through = refshim.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    let (tools, name) = (Tools::new(), through.image("app", "v1"));
    let attached = futures_util::future::join_all((0..32).map(|number| {
        let (file, tools, name) = (format!("sbom-{number}"), &tools, &name);
        tools.file(&file, &file);
        async move {
            let arguments = [
                "attach",
                "--plain-http",
                "--artifact-type",
                SBOM,
                "--format",
                "json",
                name,
                &file,
            ];
            tools.oras(&arguments).await.ok()
        }
    }));
    let mut expected: Vec<String> = attached.await.iter().map(|printed| digest_in(printed)).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(expected.len(), 32);
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
    refshim.restart().await;
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
    let discovered = tools
        .oras(&["discover", "--plain-http", "--format", "json", &name])
        .await
        .ok();
    let discovered: Value = serde_json::from_str(&discovered).unwrap();
    assert_eq!(discovered["referrers"].as_array().map(Vec::len), Some(32));
    assert!(
        !tags(&registry.endpoint()).await.contains(&image.referrers_tag()),
        "oras writes no list of its own"
    );
}

fn digest_in(printed: &str) -> String {
    let json: Value = serde_json::from_str(printed).unwrap();
    json["digest"].as_str().unwrap().to_owned()
}

/// A registry that takes no pushes at all says so itself, also about what would need an envelope.
#[tokio::test]
async fn a_registry_that_takes_nothing_is_quoted() {
    let set = Set::new(Program::V2).await;
    let refusal = r#"{"errors":[{"code":"UNSUPPORTED","message":"read-only mirror"}]}"#;
    let json = [("content-type", "application/json")];
    set.link.fail(Fault::answer(405, &json, refusal), |seen| {
        seen.method == "PUT" || seen.method == "POST"
    });
    for pushed in [
        set.sbom("sbom"),
        set.sealed("sealed"),
        Pushed::of(IMAGE, &bare_image("image")),
    ] {
        let reply = set.push(&pushed).await.expect_status(405);
        assert_eq!((reply.text().as_str(), reply.header("oci-subject")), (refusal, None));
    }
}

/// The bytes of an envelope are made of the manifest alone: whoever seals it writes the same.
#[tokio::test]
async fn two_replicas_seal_alike() {
    let set = Set::new(Program::V2).await;
    let replica = Refshim::in_front_of(set.link.url()).await;
    let sealed = set.sealed("sealed");
    set.through().push_blob("app", "{}").await;
    let (one, two) = (set.push(&sealed), replica.endpoint());
    let (one, two) = tokio::join!(one, two.put_bytes("app", "", &sealed));
    for reply in [one, two] {
        reply.expect_status(201);
    }
    let own = Digest::parse(&sealed.digest).unwrap();
    let tag = refshim::testing::oci::tag_scheme::envelope_tag(&own).unwrap();
    let stored = set
        .registry
        .endpoint()
        .manifest("app", tag.as_str())
        .await
        .expect_status(200);
    assert_eq!(stored.json()["annotations"][envelope::ANNOTATION_DIGEST], sealed.digest);
    for endpoint in [set.through(), replica.endpoint()] {
        assert_eq!(
            endpoint.referrer_digests("app", &set.image.digest).await,
            std::slice::from_ref(&sealed.digest)
        );
    }
}
