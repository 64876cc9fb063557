//! Promise: clients that bypass refshim find in the referrers tag whatever was pushed through it.

use crate::support;
use crate::support::content::{IMAGE, INDEX, artifact, index};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Seen, Tools};
use refshim::testing::oci::media_type::OCI_IMAGE_INDEX;
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

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
        Self {
            image: registry.endpoint().push_image("app", "v1", "image").await,
            refshim: Refshim::in_front_of(link.url()).await,
            registry,
            link,
        }
    }

    fn through(&self) -> Endpoint {
        self.refshim.endpoint()
    }

    fn sbom(&self, name: &str) -> Pushed {
        Pushed::of(IMAGE, &artifact(&self.image, SBOM, name))
    }

    async fn push(&self, name: &str) -> Pushed {
        let pushed = self.sbom(name);
        self.through().put_bytes("app", "", &pushed).await.expect_status(201);
        pushed
    }

    /// The entries of the referrers tag as the registry itself has it.
    async fn stored(&self) -> Vec<Value> {
        let straight = self.registry.endpoint();
        let stored = straight
            .manifest("app", &self.image.referrers_tag())
            .await
            .expect_status(200);
        assert_eq!(stored.header("content-type"), Some(INDEX));
        stored.json()["manifests"].as_array().unwrap().clone()
    }

    async fn stored_digests(&self) -> Vec<String> {
        let stored = self.stored().await;
        let mut digests: Vec<String> = stored
            .iter()
            .map(|d| d["digest"].as_str().unwrap().to_owned())
            .collect();
        digests.sort();
        digests
    }

    /// What a client writes that thinks the registry is old.
    async fn client_writes(&self, endpoint: &Endpoint, entries: &[&Pushed]) -> Pushed {
        let list = Pushed::of(OCI_IMAGE_INDEX, &index(entries.iter().map(|entry| entry.descriptor())));
        let reply = endpoint.put_bytes("app", &self.image.referrers_tag(), &list).await;
        let reply = reply.expect_status(201);
        assert_eq!(reply.header("docker-content-digest"), Some(&*list.digest));
        list
    }

    fn writes_tag(&self) -> impl Fn(&Seen) -> bool + Send + use<> {
        let path = format!("/v2/app/manifests/{}", self.image.referrers_tag());
        move |seen| seen.method == "PUT" && seen.path == path
    }
}

fn sorted<'a>(pushed: impl IntoIterator<Item = &'a Pushed>) -> Vec<String> {
    let mut digests: Vec<String> = pushed.into_iter().map(|p| p.digest.clone()).collect();
    digests.sort();
    digests
}

#[tokio::test]
async fn what_is_pushed_at_once_is_all_in_the_tag() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let names: Vec<String> = (0..32).map(|number| number.to_string()).collect();
        let pushed = futures_util::future::join_all(names.iter().map(|name| set.push(name))).await;
        assert_eq!(set.stored_digests().await, sorted(&pushed), "{program:?}");
        // An entry as the specification wants it.
        let entry = json!({
            "mediaType": IMAGE, "digest": pushed[0].digest, "size": pushed[0].size(), "artifactType": SBOM,
            "annotations": {"org.opencontainers.image.title": "0"},
        });
        assert!(set.stored().await.contains(&entry), "{program:?}");
        // Pushed again, nothing doubles.
        set.push("0").await;
        assert_eq!(set.stored_digests().await, sorted(&pushed), "{program:?}");
        assert_eq!(
            set.through().referrer_digests("app", &set.image.digest).await,
            sorted(&pushed)
        );
    }
}

#[tokio::test]
async fn clients_that_bypass_refshim_find_it() {
    let set = Set::new(Program::V2).await;
    let (tools, through) = (Tools::new(), set.through());
    tools.file("sbom.json", "{}");
    let name = through.image("app", "v1");
    tools
        .oras(&["attach", "--plain-http", "--artifact-type", SBOM, &name, "sbom.json"])
        .await
        .ok();
    tools.cosign_sign_bundle(&through.image("app", &set.image.digest)).await;
    let straight = set.registry.endpoint();
    let name = straight.image("app", "v1");
    let found = tools
        .oras(&["discover", "--plain-http", "--format", "json", &name])
        .await
        .ok();
    let found: Value = serde_json::from_str(&found).unwrap();
    let types: Vec<&str> = found["referrers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["artifactType"].as_str().unwrap())
        .collect();
    assert_eq!(types, [SBOM, "application/vnd.dev.sigstore.bundle.v0.3+json"]);
    let by_digest = straight.image("app", &set.image.digest);
    let verify = [
        "verify",
        "--key",
        "cosign.pub",
        "--insecure-ignore-tlog=true",
        &by_digest,
    ];
    tools.cosign(&verify).await.ok();
    let list = ["artifact", "list", "--format", "{{len .Descriptors}}", &name];
    assert_eq!(tools.regctl(straight.authority(), &list).await.ok().trim(), "2");
}

#[tokio::test]
async fn what_is_deleted_leaves_the_tag() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let (one, two) = (set.push("one").await, set.push("two").await);
        let path = format!("/v2/app/manifests/{}", one.digest);
        set.through().delete(&path).await.expect_status(202);
        assert_eq!(set.stored_digests().await, sorted([&two]), "{program:?}");
    }
}

#[tokio::test]
async fn a_clients_own_list_is_merged_and_revives_nothing() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let (kept, gone) = (set.push("kept").await, set.push("gone").await);
        let straight = set.registry.endpoint();
        let path = format!("/v2/app/manifests/{}", gone.digest);
        straight.delete(&path).await.expect_status(202);
        // The client pushed this one past refshim, and knows of nothing else.
        let own = straight.push_artifact("app", &set.image, SBOM, "own").await;
        let list = set.client_writes(&set.through(), &[&own]).await;
        assert_eq!(set.stored_digests().await, sorted([&kept, &own]), "{program:?}");
        // What the client wrote can be read by the digest that it was told.
        let read = set.through().manifest("app", &list.digest).await.expect_status(200);
        assert_eq!(read.body, list.bytes);
        let fresh = Refshim::in_front_of(set.link.url()).await;
        assert_eq!(
            fresh.endpoint().referrer_digests("app", &set.image.digest).await,
            sorted([&kept, &own])
        );
    }
}

/// Between the reading and the writing of the list, a push adds to it.
#[tokio::test]
async fn a_push_in_the_middle_of_a_clients_own_write_stays_listed() {
    let set = Set::new(Program::V2).await;
    let first = set.push("first").await;
    let own = set
        .registry
        .endpoint()
        .push_artifact("app", &set.image, SBOM, "own")
        .await;
    // The merge asks whether what the client left out still exists.
    let asked = format!("/v2/app/manifests/{}", first.digest);
    let gate = set.link.hold(move |seen| seen.method == "HEAD" && seen.path == asked);
    let through = set.through();
    let entries = [&own];
    let client = set.client_writes(&through, &entries);
    let meanwhile = async {
        gate.reached_by(1).await;
        let pushed = set.push("meanwhile").await;
        gate.open();
        pushed
    };
    let (_, meanwhile) = tokio::join!(client, meanwhile);
    assert_eq!(set.stored_digests().await, sorted([&first, &own, &meanwhile]));
}

/// Where the registry has ETags, the write is conditional, and made again when it comes too late.
#[tokio::test]
async fn a_write_that_comes_too_late_starts_again() {
    let set = Set::new(Program::V2).await;
    let first = set.push("first").await;
    set.link.take();
    let straight = set.registry.endpoint();
    let stored = straight.manifest("app", &set.image.referrers_tag()).await;
    let etag = stored.header("etag").expect("2.8.2 has ETags").to_owned();
    let is_conditional = set.writes_tag();
    set.link.fail_times(1, Fault::status(412), move |seen| {
        is_conditional(seen) && seen.headers.get("if-match").is_some_and(|value| *value == etag)
    });
    let second = set.push("second").await;
    support::eventually("both are listed", async || {
        (set.stored_digests().await == sorted([&first, &second])).then_some(())
    })
    .await;
    assert_eq!(set.link.count(set.writes_tag()), 2, "once refused, once done");
}

/// What an ingress answers in the registry's place says nothing of what the registry holds.
#[tokio::test]
async fn only_the_registrys_own_word_takes_an_entry_from_the_list() {
    let set = Set::new(Program::V2).await;
    let (kept, straight) = (set.push("kept").await, set.registry.endpoint());
    let own = straight.push_artifact("app", &set.image, SBOM, "own").await;
    let asks = |method: &'static str| {
        let path = format!("/v2/app/manifests/{}", kept.digest);
        move |seen: &Seen| seen.method == method && seen.path == path
    };
    let ingress = Fault::answer(404, &[("content-type", "text/plain")], "default backend - 404");
    set.link.fail(ingress.clone(), asks("HEAD"));
    set.client_writes(&set.through(), &[&own]).await;
    assert_eq!(set.stored_digests().await, sorted([&kept, &own]));

    // Where nobody can say, the push fails, and before anything is stored.
    set.link.fail(ingress, asks("GET"));
    let other = straight.push_artifact("app", &set.image, SBOM, "other").await;
    let list = Pushed::of(OCI_IMAGE_INDEX, &index([other.descriptor()]));
    let refused = set.through().put_bytes("app", &set.image.referrers_tag(), &list).await;
    assert!(refused.status >= 500, "{refused:?}");
    straight.manifest("app", &list.digest).await.expect_status(404);
    assert_eq!(set.stored_digests().await, sorted([&kept, &own]));
}

/// `cosign copy` puts an image under the tag of its own digest; others put what they like there. It is never merged into nor
/// overwritten, no push fails over it, and its owner may still replace it.
#[tokio::test]
async fn what_is_no_list_of_referrers_stays_as_it_is() {
    for program in Program::ALL {
        let set = Set::new(program).await;
        let (straight, tag) = (set.registry.endpoint(), set.image.referrers_tag());
        let other = straight.push_image("app", "other", "other").await;
        let mut platform = other.descriptor();
        platform["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let mut named = index([other.descriptor()]);
        named["artifactType"] = "application/vnd.acme.bundle".into();
        let of = |manifest: &Value| Pushed::of(INDEX, manifest);
        for own in [set.image.clone(), other.clone(), of(&index([platform])), of(&named)] {
            straight.put_tag("app", &tag, &own).await;
            let pushed = set.push(&own.digest).await;
            let stored = straight.manifest("app", &tag).await.expect_status(200);
            assert_eq!(stored.body, own.bytes, "{program:?}");
            // A deletion leaves it alone, too.
            let listed = set.through().referrer_digests("app", &set.image.digest).await;
            assert!(listed.contains(&pushed.digest), "{program:?} {listed:?}");
            let path = format!("/v2/app/manifests/{}", pushed.digest);
            set.through().delete(&path).await.expect_status(202);
            let stored = straight.manifest("app", &tag).await.expect_status(200);
            assert_eq!(stored.body, own.bytes, "{program:?}");
            // Its owner's own writes pass as they are.
            set.through().put_bytes("app", &tag, &own).await.expect_status(201);
        }
        let listed = straight.push_artifact("app", &set.image, SBOM, "listed").await;
        set.client_writes(&set.through(), &[&listed]).await;
        assert_eq!(set.stored_digests().await, sorted([&listed]), "{program:?}");
    }
}

/// Clients that keep the tag themselves put the whole list again, which 2.8.2 refuses where it names what is gone.
#[tokio::test]
async fn after_a_deletion_clients_that_keep_the_tag_go_on() {
    let set = Set::new(Program::V2).await;
    let plain = Refshim::in_front_of(set.link.url()).await;
    let (tools, straight) = (Tools::new(), set.registry.endpoint());
    tools.file("one.json", "{}");
    // A file a round: oras dates what it attaches by the second, and the same twice in one would be one artifact.
    for (file, content) in [("two.json", "[]"), ("three.json", "3")] {
        tools.file(file, content);
    }
    let name = straight.image("app", "v1");
    let attach = ["attach", "--plain-http", "--artifact-type", SBOM, &name];
    tools.oras(&[&attach[..], &["one.json"]].concat()).await.ok();
    tools
        .cosign_sign_bundle(&straight.image("app", &set.image.digest))
        .await;
    let listed = set.stored_digests().await;
    assert_eq!(listed.len(), 2);
    for (digest, file) in listed.iter().zip(["two.json", "three.json"]) {
        let path = format!("/v2/app/manifests/{digest}");
        plain.endpoint().delete(&path).await.expect_status(202);
        assert!(!set.stored_digests().await.contains(digest));
        tools.oras(&[&attach[..], &[file]].concat()).await.ok();
        tools
            .cosign_sign_bundle(&straight.image("app", &set.image.digest))
            .await;
    }
    // Two attached at first, one of them deleted and two attached more, and again.
    assert_eq!(set.stored_digests().await.len(), 4);
}

/// Where it is no form of `writing.links`, a client's list passes as it is and none is written.
#[tokio::test]
async fn without_it_among_the_forms_nothing_is_kept() {
    let set = Set::new(Program::V2).await;
    let builder = Refshim::builder(set.link.url()).env("REFSHIM_WRITING__LINKS", "proposal-d");
    let plain = builder.start().await;
    let pushed = set.sbom("sbom");
    plain.endpoint().put_bytes("app", "", &pushed).await.expect_status(201);
    let straight = set.registry.endpoint();
    straight
        .manifest("app", &set.image.referrers_tag())
        .await
        .expect_status(404);
    let own = straight.push_artifact("app", &set.image, SBOM, "own").await;
    set.client_writes(&plain.endpoint(), &[&own]).await;
    assert_eq!(set.stored_digests().await, sorted([&own]));
    assert_eq!(
        plain.endpoint().referrer_digests("app", &set.image.digest).await,
        sorted([&pushed, &own])
    );
}

/// An index under a referrers tag that refers to something itself is no mere list: that link is kept like any other's.
#[tokio::test]
async fn an_index_that_refers_to_something_itself_is_linked() {
    let set = Set::new(Program::V2).await;
    let other = set.registry.endpoint().push_image("app", "v2", "other").await;
    let mut manifest = index([]);
    manifest["subject"] = other.descriptor();
    let pushed = Pushed::of(OCI_IMAGE_INDEX, &manifest);
    let tag = set.image.referrers_tag();
    let reply = set.through().put_bytes("app", &tag, &pushed).await.expect_status(201);
    assert_eq!(reply.header("oci-subject"), Some(&*other.digest));
    let cold = Refshim::in_front_of(set.link.url()).await;
    let found = cold.endpoint().referrer_digests("app", &other.digest).await;
    assert_eq!(found, sorted([&pushed]));
}
