//! Promise: `refshim gc` finds link tags whose subject or target is gone, deletes them only when told to, never touches anything else,
//! and stops where it could not see everything; its keep list holds every digest that tagged images need.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::cli::refshim;
use crate::support::content::{self, IMAGE, INDEX};
use crate::support::fake::knobs::{Knobs, Link, TagPages};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Tools};

const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

async fn tags(endpoint: &Endpoint) -> BTreeSet<String> {
    let reply = endpoint.get("/v2/app/tags/list").await.expect_status(200).json();
    let names = reply["tags"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn set<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect()
}

/// Pushes a manifest without a subject under `tag`.
async fn signature(endpoint: &Endpoint, tag: &str) -> Pushed {
    endpoint.push_image("app", tag, &format!("signature under {tag}")).await
}

async fn delete(endpoint: &Endpoint, manifest: &Pushed) {
    let path = format!("/v2/app/manifests/{}", manifest.digest);
    endpoint.delete(&path).await.expect_status(202);
}

/// One image that is alive and one that is gone, both linked in every way.
struct Repository {
    live_tags: BTreeSet<String>,
    dead_tags: BTreeSet<String>,
}

impl Repository {
    async fn fill(endpoint: &Endpoint) -> Self {
        let mut filled = Self {
            live_tags: BTreeSet::new(),
            dead_tags: BTreeSet::new(),
        };
        let live = endpoint.push_image("app", "v1", "live").await;
        let gone = endpoint.push_image("app", "v0", "gone").await;
        for (image, tags) in [(&live, &mut filled.live_tags), (&gone, &mut filled.dead_tags)] {
            let cosign = format!("{}.sig", image.referrers_tag());
            signature(endpoint, &cosign).await;
            let sbom = endpoint
                .push_artifact("app", image, "application/spdx+json", image.hex())
                .await;
            let proposal_d = sbom.proposal_d_tag(image, "sbom");
            endpoint.put_tag("app", &proposal_d, &sbom).await;
            let listed = endpoint.push_artifact("app", image, "application/x", image.hex()).await;
            let index = content::index([listed.descriptor()]);
            endpoint
                .put_manifest("app", &image.referrers_tag(), INDEX, &index)
                .await;
            tags.extend([cosign, proposal_d, image.referrers_tag()]);
        }
        delete(endpoint, &gone).await;
        filled.live_tags.insert("v1".into());
        // What merely looks alike, and what nobody's subject is.
        for own in ["sha256-abc", &format!("{}.zip", gone.referrers_tag()), "latest"] {
            endpoint.push_image("app", own, own).await;
            filled.live_tags.insert(own.to_owned());
        }
        filled
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_is_dead_and_touches_nothing() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        let filled = Repository::fill(&endpoint).await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let target = format!("{}/app", Endpoint::new(link.url()).authority());
        for arguments in [&["gc", &target][..], &["gc", &target, "--dry-run"]] {
            let said = refshim(arguments).await.ok();
            assert!(
                said.contains("3 of 6 link tags are dead; nothing was deleted"),
                "{program:?}: {said}"
            );
            let mentioned: BTreeSet<String> = tags(&endpoint)
                .await
                .into_iter()
                .filter(|tag| said.contains(&format!("\n{tag}\n")))
                .collect();
            assert_eq!(mentioned, filled.dead_tags, "{program:?}: {said}");
            assert!(said.contains("is gone"), "{said}");
        }
        let json = refshim(&["gc", &target, "--output", "json"]).await.json();
        assert_eq!(json["dead"][0]["gone"]["kind"], "subject");
        assert_eq!(json["dead"][0]["outcome"], Value::Null);
        assert!(
            link.requests()
                .iter()
                .all(|seen| ["GET", "HEAD"].contains(&seen.method.as_str()))
        );
    }
}

#[tokio::test]
async fn what_is_dead_goes_and_nothing_else_does() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        let filled = Repository::fill(&endpoint).await;
        let target = format!("{}/app", registry.authority());
        let before = tags(&endpoint).await;
        assert_eq!(before, &filled.live_tags | &filled.dead_tags);

        let report = refshim(&["gc", &target, "--delete", "--output", "json"]).await.json();
        let outcomes: BTreeSet<&str> = report["dead"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dead| dead["outcome"].as_str().unwrap())
            .collect();
        let expected = match program {
            // It deletes no tag alone.
            Program::V2 => "deleted-with-manifest",
            Program::V3 => "deleted",
        };
        assert_eq!(outcomes, [expected].into(), "{report}");
        assert_eq!(tags(&endpoint).await, filled.live_tags, "{program:?}");
        for tag in &filled.live_tags {
            endpoint.manifest("app", tag).await.expect_status(200);
        }
        let again = refshim(&["gc", &target, "--delete"]).await.ok();
        assert!(again.contains("0 of 3 link tags are dead"), "{again}");
    }
}

/// Clients that keep a referrers tag put the whole list again, which 2.8.2 refuses where it names what is gone.
#[tokio::test]
async fn lists_are_rid_of_what_is_gone() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        let image = endpoint.push_image("app", "v1", "live").await;
        let kept = endpoint.push_artifact("app", &image, "application/x", "kept").await;
        let gone = endpoint.push_artifact("app", &image, "application/x", "gone").await;
        let list = |entries: &[&Pushed]| content::index(entries.iter().map(|entry| entry.descriptor()));
        let tag = image.referrers_tag();
        endpoint.put_manifest("app", &tag, INDEX, &list(&[&kept, &gone])).await;
        delete(&endpoint, &gone).await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let target = format!("{}/app", Endpoint::new(link.url()).authority());

        let said = refshim(&["gc", &target]).await.ok();
        assert!(
            said.contains("0 of 1 link tags are dead, 1 list something that is gone; nothing was deleted"),
            "{said}"
        );
        assert!(
            said.contains(&format!("\n{tag}\n  lists {}, gone\n", gone.digest)),
            "{said}"
        );
        // What an ingress says of an entry is no word of the registry's: nothing is written.
        let path = format!("/v2/app/manifests/{}", gone.digest);
        let ingress = Fault::answer(404, &[("content-type", "text/plain")], "default backend - 404");
        link.fail(ingress, move |seen| seen.path == path);
        let ended = refshim(&["gc", &target, "--delete"]).await;
        assert!(ended.stderr.contains("404"), "{ended:?}");
        ended.refused(1);
        link.heal();
        assert!(link.requests().iter().all(|seen| seen.method != "PUT"));

        let report = refshim(&["gc", &target, "--delete", "--output", "json"]).await.json();
        assert_eq!(report["stale"][0]["tag"], tag);
        assert_eq!(report["stale"][0]["entries"], json!([gone.digest]));
        assert_eq!(report["stale"][0]["outcome"], "mended", "{report}");
        let stored = endpoint.manifest("app", &tag).await.expect_status(200).json();
        assert_eq!(stored["manifests"], json!([kept.descriptor()]), "{program:?}");
        let again = refshim(&["gc", &target]).await.ok();
        assert!(again.contains("0 of 1 link tags are dead\n"), "{again}");
    }
}

/// A 404 to a DELETE may be an ingress' as well: what is still there is said to be.
#[tokio::test]
async fn a_deletion_that_an_ingress_answers_is_none() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let filled = Repository::fill(&endpoint).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let ingress = Fault::answer(404, &[("content-type", "text/plain")], "default backend - 404");
    link.fail(ingress, |seen| seen.method == "DELETE");
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    let ended = refshim(&["gc", &target, "--delete"]).await;
    assert!(ended.stdout.contains("default backend - 404"), "{ended:?}");
    assert!(ended.refused(1).contains("3 dead link tags could not be deleted"));
    assert_eq!(tags(&endpoint).await, &filled.live_tags | &filled.dead_tags);
}

#[tokio::test]
async fn where_no_tag_can_be_deleted_alone_a_shared_manifest_stays() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let live = endpoint.push_image("app", "v1", "live").await;
    let gone = endpoint.push_image("app", "v0", "gone").await;
    let dead_tag = |suffix: &str| format!("{}.{suffix}", gone.referrers_tag());
    // Also an ordinary tag's, also a live link's, also part of a live image.
    let ordinary = signature(&endpoint, &dead_tag("sig")).await;
    endpoint.put_tag("app", "mine", &ordinary).await;
    let shared = signature(&endpoint, &dead_tag("att")).await;
    endpoint
        .put_tag("app", &format!("{}.att", live.referrers_tag()), &shared)
        .await;
    let child = signature(&endpoint, &dead_tag("sbom")).await;
    endpoint
        .put_manifest("app", "multi", INDEX, &content::index([child.descriptor()]))
        .await;
    // Its subject is gone by this tag and alive by its own bytes.
    let two = endpoint.push_artifact("app", &live, "application/x", "two").await;
    endpoint.put_tag("app", &two.proposal_d_tag(&gone, "x"), &two).await;
    delete(&endpoint, &gone).await;
    let before = tags(&endpoint).await;

    let target = format!("{}/app", registry.authority());
    let ended = refshim(&["gc", &target, "--delete"]).await;
    for kept in [
        "the tag mine points at",
        &format!("the tag {}.att", live.referrers_tag()),
        "a tagged image needs it",
        &format!("also refers to {}", live.digest),
    ] {
        assert!(ended.stdout.contains(kept), "{kept}: {ended:?}");
    }
    assert!(ended.refused(1).contains("4 dead link tags could not be deleted"));
    assert_eq!(tags(&endpoint).await, before);
}

#[tokio::test]
async fn a_subject_is_alive_while_the_registry_has_it_tagged_or_not() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        // The platforms of an index have no tag of their own.
        endpoint.push_blob("app", "{}").await;
        let platform = endpoint
            .put_manifest("app", "", IMAGE, &content::bare_image("amd64"))
            .await;
        let mut entry = platform.descriptor();
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let multi = endpoint
            .put_manifest("app", "v1", INDEX, &content::index([entry]))
            .await;
        for image in [&platform, &multi] {
            signature(&endpoint, &format!("{}.sig", image.referrers_tag())).await;
        }
        let target = format!("{}/app", registry.authority());
        let said = refshim(&["gc", &target]).await.ok();
        assert!(said.contains("0 of 2 link tags are dead"), "{program:?}: {said}");
    }
}

#[tokio::test]
async fn a_tag_without_a_manifest_is_dead() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let live = endpoint.push_image("app", "v1", "live").await;
    let tag = format!("{}.sig", live.referrers_tag());
    let nothing = ["0", "1"].map(|digit| format!("sha256:{}", digit.repeat(64)));
    let names = [tag.clone(), "mine".to_owned()];
    registry.write_tags("app", names.into_iter().zip(nothing.iter().map(String::as_str)));
    let target = format!("{}/app", registry.authority());
    let report = refshim(&["gc", &target, "--delete", "--output", "json"]).await.json();
    assert_eq!(report["dead"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        (&report["dead"][0]["tag"], &report["dead"][0]["gone"]["kind"]),
        (&json!(tag), &json!("target"))
    );
    assert_eq!(tags(&endpoint).await, set(["mine", "v1"]));
}

#[tokio::test]
async fn envelopes_go_with_their_subject() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let (endpoint, proxy) = (registry.endpoint(), Refshim::in_front_of(&registry.url()).await);
        let live = endpoint.push_image("app", "v1", "live").await;
        let gone = endpoint.push_image("app", "v0", "gone").await;
        let mut sealed = Vec::new();
        for image in [&live, &gone] {
            let artifact = json!({"mediaType": OCI_ARTIFACT, "artifactType": "application/x", "blobs": [], "subject": image.descriptor()});
            sealed.push(proxy.endpoint().put_manifest("app", "", OCI_ARTIFACT, &artifact).await);
        }
        let all = tags(&endpoint).await;
        let live_tags: BTreeSet<String> = all
            .iter()
            .filter(|tag| tag.contains(live.hex()) || tag.contains(sealed[0].hex()))
            .cloned()
            .collect();
        assert_eq!((all.len(), live_tags.len()), (6, 2), "{all:?}");
        delete(&endpoint, &gone).await;

        let target = format!("{}/app", registry.authority());
        refshim(&["gc", &target, "--delete"]).await.ok();
        assert_eq!(tags(&endpoint).await, &live_tags | &set(["v1"]), "{program:?}");
        let listed = proxy.endpoint().referrer_digests("app", &live.digest).await;
        assert_eq!(listed, [sealed[0].digest.clone()]);
    }
}

#[tokio::test]
async fn a_scan_that_is_not_whole_ends_before_anything_is_deleted() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let filled = Repository::fill(&endpoint).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    let before = tags(&endpoint).await;
    let subject = filled
        .dead_tags
        .iter()
        .find(|tag| !tag.contains('.'))
        .unwrap()
        .replace("sha256-", "sha256:");
    let refusal = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    // One live tag, the listing, and the question whether a subject exists.
    for place in ["/manifests/v1", "/tags/list", &format!("/manifests/{subject}")] {
        for fault in [
            Fault::answer(500, &[], "out of order"),
            Fault::answer(403, &[("content-type", "application/json")], refusal),
            // A load balancer's: it says nothing of what the registry holds.
            Fault::answer(404, &[("content-type", "text/html")], "<html>"),
            Fault::answer(404, &[], ""),
        ] {
            let path = place.to_owned();
            link.fail(fault, move |seen| seen.path.contains(&path));
            for arguments in [&["gc", &target, "--delete"][..], &["gc", &target]] {
                let ended = refshim(arguments).await;
                assert_eq!(ended.stdout, "", "{place}");
                assert!(ended.refused(1).contains(&target), "{place}");
            }
            link.heal();
        }
    }
    assert_eq!(tags(&endpoint).await, before);
    assert_eq!(link.count(|seen| seen.method == http::Method::DELETE), 0);
    link.fail(Fault::answer(500, &[], ""), |seen| seen.path.contains("/manifests/v1"));
    let ended = refshim(&["gc", &target, "--keep-list"]).await;
    assert_eq!(ended.stdout, "");
    ended.refused(1);
}

/// go-containerregistry's registry gives exactly as many names as were asked for, and no `Link`.
#[tokio::test]
async fn tags_that_no_link_leads_to_are_kept_too() {
    let fake = Fake::start(profiles::tags(TagPages {
        link: Link::None,
        ..TagPages::default()
    }))
    .await;
    let other = fake.image("app", "a", "other");
    for number in 0..1000 {
        fake.put_pushed("app", &format!("b{number:04}"), &other);
    }
    let image = fake.image("app", "zz-release", "release");
    let signed = fake.tagged_artifact("app", &image, "application/spdx+json", "sbom");
    let said = refshim(&["gc", &format!("{}/app", fake.endpoint().authority()), "--keep-list"]).await;
    let said = said.ok();
    let kept = set(said.lines());
    for needed in [&other, &image, &signed] {
        assert!(kept.contains(&needed.digest), "{kept:?}");
    }
}

#[tokio::test]
async fn what_a_tagged_index_lists_is_not_taken_for_gone() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "", "platform");
    fake.put("app", "v1", INDEX, &content::index([image.descriptor()]));
    let signature = format!("{}.sig", image.referrers_tag());
    fake.image("app", &signature, "signature");
    let absent = || Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown");
    let path = format!("/v2/app/manifests/{}", image.digest);
    let target = format!("{}/app", fake.endpoint().authority());
    let asked = path.clone();
    fake.trouble_times(1, absent(), move |seen| seen.path == asked);
    let listed = refshim(&["gc", &target, "--keep-list"]).await.ok();
    assert!(listed.contains(&image.digest), "a registry that lags: {listed}");
    fake.trouble(absent(), move |seen| seen.path == path);
    let listed = refshim(&["gc", &target, "--keep-list"]).await;
    assert!(!listed.stdout.contains(&image.digest), "{listed:?}");
    refshim(&["gc", &target, "--delete"]).await.ok();
    assert_eq!(tags(&fake.endpoint()).await, set(["v1", &signature]));
}

/// `crane copy --platform` and `skopeo copy` leave the other platforms of an index where they were.
#[tokio::test]
async fn a_keep_list_of_a_sparse_index_is_what_is_there_and_says_what_is_not() {
    let fake = Fake::start(Knobs::default()).await;
    let here = fake.image("app", "", "here");
    let absent = ["one", "two"].map(|name| Pushed::of(IMAGE, &content::bare_image(name)));
    let listed = [&here, &absent[0], &absent[1]].map(Pushed::descriptor);
    let sparse = fake.put("app", "v1", INDEX, &content::index(listed));
    // What refers to a platform that is elsewhere is kept.
    let signature = fake.image("app", &format!("{}.sig", absent[0].referrers_tag()), "signature");
    let target = format!("{}/app", fake.endpoint().authority());
    let said = refshim(&["gc", &target, "--keep-list"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        set(said.stdout.lines()),
        set([&sparse.digest, &here.digest, &signature.digest])
    );
    assert_eq!(said.stderr.lines().count(), 2, "{said:?}");
    for absent in &absent {
        assert!(said.stderr.contains(&absent.digest), "{said:?}");
    }
    let json = refshim(&["gc", &target, "--keep-list", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let named = json["absent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|digest| digest.as_str().unwrap());
    assert_eq!(set(named), set(absent.iter().map(|absent| &absent.digest)));
    // What an index needs that is elsewhere is not known.
    let nested = Pushed::of(INDEX, &content::index([absent[0].descriptor()]));
    let nesting = content::index([nested.descriptor()]);
    let nesting = fake.put("app", "v2", INDEX, &nesting);
    let refused = refshim(&["gc", &target, "--keep-list"]).await.refused(1);
    assert!(refused.contains(&nested.digest), "{refused}");
    let path = format!("/v2/app/manifests/{}", nesting.digest);
    fake.endpoint().delete(&path).await.expect_status(202);
    // Whatever else is not an answer of the registry's that it does not hold it.
    for trouble in [
        Trouble::oci(404, "UNKNOWN", "unknown"),
        Trouble::html(404),
        Trouble::oci(403, "DENIED", "denied"),
        Trouble::oci(500, "UNKNOWN", "unknown error"),
    ] {
        let path = format!("/v2/app/manifests/{}", absent[1].digest);
        fake.trouble(trouble, move |seen| seen.path == path);
        let ended = refshim(&["gc", &target, "--keep-list"]).await;
        assert_eq!(ended.stdout, "");
        ended.refused(1);
        fake.heal();
    }
}

#[tokio::test]
async fn a_keep_list_is_made_only_where_every_listed_tag_has_its_manifest() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "kept");
    let absent = || Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown");
    let target = format!("{}/app", fake.endpoint().authority());
    fake.trouble_times(1, absent(), |seen| seen.path.ends_with("/manifests/v1"));
    let listed = refshim(&["gc", &target, "--keep-list"]).await.ok();
    assert!(listed.contains(&image.digest), "a registry that lags: {listed}");
    fake.trouble(absent(), |seen| seen.path.ends_with("/manifests/v1"));
    let refused = refshim(&["gc", &target, "--keep-list"]).await.refused(1);
    assert!(refused.contains("the tag v1"), "{refused}");
}

#[tokio::test]
async fn what_came_back_to_life_meanwhile_stays() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let gone = endpoint.push_image("app", "v0", "gone").await;
    let tag = format!("{}.sig", gone.referrers_tag());
    signature(&endpoint, &tag).await;
    delete(&endpoint, &gone).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    // The last look before the deletion is a HEAD of the tag: the image returns just then.
    let head = tag.clone();
    let gate = link.hold(move |seen| seen.method == http::Method::HEAD && seen.path.ends_with(&head));
    // Nothing but the link is there.
    let arguments = ["gc", "--delete", "--subjects-in", "app", "--output", "json"];
    let run = tokio::spawn(async move { refshim(&[&arguments[..], &[&target]].concat()).await.json() });
    gate.reached_by(1).await;
    endpoint.put_tag("app", "v0", &gone).await;
    gate.open();
    let report = run.await.unwrap();
    assert_eq!(report["dead"][0]["outcome"], "alive-again", "{report}");
    assert_eq!(tags(&endpoint).await, set([tag.as_str(), "v0"]));
}

#[tokio::test]
async fn a_manifest_that_got_a_tag_meanwhile_stays() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let gone = endpoint.push_image("app", "v0", "gone").await;
    let dead = signature(&endpoint, &format!("{}.sig", gone.referrers_tag())).await;
    delete(&endpoint, &gone).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    let gate = link.hold(|seen| seen.method == http::Method::DELETE);
    // Nothing but the link is there.
    let arguments = ["gc", "--delete", "--subjects-in", "app"];
    let run = tokio::spawn(async move { refshim(&[&arguments[..], &[&target]].concat()).await });
    gate.reached_by(1).await;
    endpoint.put_tag("app", "mine", &dead).await;
    gate.open();
    let ended = run.await.unwrap();
    assert!(ended.stdout.contains("the new tag mine"), "{ended:?}");
    ended.refused(1);
    endpoint.manifest("app", "mine").await.expect_status(200);
}

#[tokio::test]
async fn a_refusal_to_delete_is_told_and_exits_with_one() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let filled = Repository::fill(&endpoint).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    // As GHCR.
    link.fail(
        Fault::answer(405, &[], r#"{"errors":[{"code":"UNSUPPORTED"}]}"#),
        |seen| seen.method == http::Method::DELETE,
    );
    let ended = refshim(&["gc", &target, "--delete"]).await;
    assert!(
        ended.stdout.contains("not deletable: the registry refused (HTTP 405"),
        "{ended:?}"
    );
    assert!(ended.refused(1).contains("3 dead link tags could not be deleted"));
    assert_eq!(tags(&endpoint).await, &filled.live_tags | &filled.dead_tags);
}

#[tokio::test]
async fn a_refshim_that_hides_tags_is_no_place_to_tidy_up() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let filled = Repository::fill(&endpoint).await;
    let hiding = Refshim::in_front_of(&registry.url()).await;
    for flag in ["--dry-run", "--delete", "--keep-list"] {
        let ended = refshim(&["gc", &format!("{}/app", hiding.endpoint().authority()), flag]).await;
        assert!(ended.refused(1).contains("hides link tags"), "{flag}");
    }
    let open = Refshim::builder(&registry.url())
        .config("[tags]\nhide = ['none']\n")
        .start()
        .await;
    let said = refshim(&["gc", &format!("{}/app", open.endpoint().authority()), "--delete"])
        .await
        .ok();
    assert!(said.contains("3 of 6"), "{said}");
    assert_eq!(tags(&endpoint).await, filled.live_tags);
}

#[tokio::test]
async fn the_keep_list_is_all_that_tagged_images_need() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        endpoint.push_blob("app", "{}").await;
        let untagged = |name: &'static str| {
            let endpoint = endpoint.clone();
            async move {
                endpoint
                    .put_manifest("app", "", IMAGE, &content::bare_image(name))
                    .await
            }
        };
        let (amd64, arm64) = (untagged("amd64").await, untagged("arm64").await);
        let inner = endpoint
            .put_manifest("app", "", INDEX, &content::index([arm64.descriptor()]))
            .await;
        let multi = content::index([amd64.descriptor(), inner.descriptor()]);
        let multi = endpoint.put_manifest("app", "v1", INDEX, &multi).await;
        // A signature under cosign's tag, an SBOM in the referrers tag, and a signature of that SBOM.
        let signed = signature(&endpoint, &format!("{}.sig", arm64.referrers_tag())).await;
        let sbom = endpoint
            .push_artifact("app", &multi, "application/spdx+json", "sbom")
            .await;
        let list = endpoint
            .put_manifest(
                "app",
                &multi.referrers_tag(),
                INDEX,
                &content::index([sbom.descriptor()]),
            )
            .await;
        let of_sbom = endpoint
            .push_artifact("app", &sbom, "application/x.sig", "of the sbom")
            .await;
        endpoint
            .put_tag("app", &of_sbom.proposal_d_tag(&sbom, "sig"), &of_sbom)
            .await;
        // Kept in an envelope.
        let proxy = Refshim::in_front_of(&registry.url()).await;
        let artifact = json!({"mediaType": OCI_ARTIFACT, "artifactType": "application/x", "blobs": [], "subject": amd64.descriptor()});
        let artifact = proxy.endpoint().put_manifest("app", "", OCI_ARTIFACT, &artifact).await;
        let tag = artifact.proposal_d_tag(&artifact, "envelope");
        let envelope = endpoint.manifest("app", &tag).await.expect_status(200);
        let envelope = envelope.header("docker-content-digest").unwrap().to_owned();
        // Needed by nobody: an untagged leftover, and what belongs to it.
        let leftover = untagged("leftover").await;
        signature(&endpoint, &format!("{}.sig", leftover.referrers_tag())).await;

        let said = refshim(&["gc", &format!("{}/app", registry.authority()), "--keep-list"])
            .await
            .ok();
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let wanted = [
            &multi, &amd64, &arm64, &inner, &signed, &sbom, &list, &of_sbom, &artifact,
        ];
        let wanted = &set(wanted.map(|manifest| &manifest.digest)) | &set([envelope]);
        assert_eq!(
            lines,
            wanted.iter().cloned().collect::<Vec<_>>(),
            "{program:?}: sorted, each once"
        );
    }
}

/// A BuildKit cache is an index of layers: blobs, at which Distribution 2.8 fails when it is asked for them as manifests.
#[tokio::test]
async fn the_keep_list_holds_the_layers_of_a_build_cache() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let image = endpoint.push_image("app", "v1", "image").await;
    let mut expected = set([image.digest]);
    let mut layers = Vec::new();
    for media_type in ["application/vnd.oci.image.layer.v1.tar+gzip", ""] {
        let digest = endpoint.push_blob("app", media_type.to_owned()).await.to_string();
        layers.push(json!({"mediaType": media_type, "digest": digest, "size": media_type.len()}));
        expected.insert(digest);
    }
    let cache = endpoint
        .put_manifest("app", "buildcache", INDEX, &content::index(layers))
        .await;
    expected.insert(cache.digest);
    let name = format!("{}/app", registry.authority());
    let listed = refshim(&["gc", &name, "--keep-list"]).await.ok();
    assert_eq!(set(listed.lines()), expected);
    refshim(&["tree", &format!("{name}:buildcache")]).await.ok();
}

/// What went wrong for users of cleanup tools: signatures look untagged, or their tags look like nobody's.
/// A kind of manifest that refshim does not know may keep images all the same.
#[tokio::test]
async fn the_keep_list_holds_what_a_manifest_of_an_unknown_kind_lists() {
    const OF_TOMORROW: &str = "application/vnd.example.index.v9+json";
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "", "image");
    let kind = json!({"mediaType": OF_TOMORROW, "manifests": [image.descriptor()]});
    let tagged = fake.put("app", "v1", OF_TOMORROW, &kind);
    let target = format!("{}/app", fake.endpoint().authority());
    let listed = refshim(&["gc", &target, "--keep-list"]).await.ok();
    let listed: BTreeSet<String> = set(listed.lines());
    assert_eq!(listed, set([&image.digest, &tagged.digest]));
}

#[tokio::test]
async fn a_cleanup_that_heeds_the_keep_list_leaves_signatures_that_verify() {
    let (registry, tools) = (Registry::v3().await, Tools::new());
    let endpoint = registry.endpoint();
    let image = endpoint.push_image("app", "v1", "one").await;
    let name = endpoint.image("app", &image.digest);
    tools.cosign_sign_by_tag(&name).await;
    tools.cosign_sign_bundle(&name).await;
    let leftover = endpoint
        .put_manifest("app", "", IMAGE, &content::bare_image("leftover"))
        .await;

    let kept = refshim(&["gc", &format!("{}/app", registry.authority()), "--keep-list"])
        .await
        .ok();
    let kept: BTreeSet<&str> = kept.lines().collect();
    let mut all: BTreeSet<String> = set([&leftover.digest]);
    for tag in tags(&endpoint).await {
        let manifest = endpoint.manifest("app", &tag).await;
        all.insert(manifest.header("docker-content-digest").unwrap().to_owned());
        let listed = manifest.json()["manifests"].as_array().cloned().unwrap_or_default();
        all.extend(listed.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
    }
    assert!(all.len() >= 5, "image, leftover, signature, list, bundle: {all:?}");
    for digest in all.iter().filter(|digest| !kept.contains(digest.as_str())) {
        endpoint
            .delete(&format!("/v2/app/manifests/{digest}"))
            .await
            .expect_status(202);
    }
    endpoint.manifest("app", &leftover.digest).await.expect_status(404);
    for layout in ["--new-bundle-format=true", "--new-bundle-format=false"] {
        let arguments = [
            "verify",
            "--key",
            "cosign.pub",
            "--insecure-ignore-tlog=true",
            layout,
            &name,
        ];
        tools.cosign(&arguments).await.ok();
    }
}

#[tokio::test]
async fn it_is_asked_about_repositories_only() {
    let registry = Registry::v2().await;
    let target = format!("{}/app", registry.authority());
    assert!(
        refshim(&["gc", &format!("{target}:v1")])
            .await
            .refused(2)
            .contains("name the repository")
    );
    assert!(
        refshim(&["gc", &target, "--delete", "--dry-run"])
            .await
            .refused(2)
            .contains("--dry-run")
    );
    assert!(
        refshim(&["gc", &target, "--delete", "--keep-list"])
            .await
            .refused(2)
            .contains("--keep-list")
    );
    assert!(
        refshim(&["gc", &target])
            .await
            .refused(1)
            .contains("does not know the repository")
    );
}

/// As refshim links by default: a tag for each artifact, and one list of them.
#[tokio::test]
async fn both_forms_of_a_gone_subjects_links_go() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let straight = registry.endpoint();
        let proxy = Refshim::in_front_of(&registry.url()).await;
        let image = straight.push_image("app", "v1", "image").await;
        let kept = straight.push_image("app", "v2", "kept").await;
        for subject in [&image, &kept] {
            for name in ["one", "two"] {
                let kind = "application/spdx+json";
                proxy.endpoint().push_artifact("app", subject, kind, name).await;
            }
        }
        let path = format!("/v2/app/manifests/{}", image.digest);
        straight.delete(&path).await.expect_status(202);
        let target = format!("{}/app", registry.authority());
        let report = refshim(&["gc", &target, "--delete", "--output", "json"]).await.json();
        assert_eq!(report["dead"].as_array().map(Vec::len), Some(3), "{program:?} {report}");
        let listed = straight.get("/v2/app/tags/list").await.json();
        let left = listed["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap());
        let left: Vec<&str> = left.collect();
        assert!(
            !left.iter().any(|tag| tag.contains(image.hex())),
            "{program:?} {left:?}"
        );
        let of_kept = left.iter().filter(|tag| tag.contains(kept.hex())).count();
        assert_eq!(of_kept, 3, "{program:?} {left:?}");
    }
}
