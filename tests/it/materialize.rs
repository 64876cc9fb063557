//! Promise: `refshim materialize` writes what was found in one dialect down in another, as a dry run unless told otherwise, and a
//! second run has nothing to do. It is the way off cosign tags, and onto registries with or without refshim.

use serde_json::{Value, json};

use crate::support::cli::refshim;
use crate::support::content::{self, EMPTY, IMAGE, INDEX};
use crate::support::fake::Fake;
use crate::support::fake::knobs::{Delete, Knobs};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, Tools};

const COSIGN_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// Pushes an image and, under cosign's tag, a signature that names no subject. Returned is its adopted form, which is written.
async fn signed(endpoint: &Endpoint, repository: &str, tag: &str) -> (Pushed, Pushed) {
    let image = endpoint.push_image(repository, tag, tag).await;
    let mut signature = content::bare_image(&format!("signature of {tag}"));
    // As cosign writes it: the config claims to be an image's.
    signature["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let cosign_tag = format!("{}.sig", image.referrers_tag());
    let signature = endpoint.put_manifest(repository, &cosign_tag, IMAGE, &signature).await;
    let listed = signature.adopted_by_suffix(&image, ".sig");
    (image, listed)
}

async fn tags(endpoint: &Endpoint, repository: &str) -> Vec<String> {
    let reply = endpoint.get(&format!("/v2/{repository}/tags/list")).await;
    let listed = reply.expect_status(200).json();
    let names = listed["tags"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// `refshim materialize TARGET --as DIALECT --apply`, which must succeed, and the same again, which must have nothing to do.
async fn apply(target: &str, dialect: &str) -> Value {
    let arguments = ["materialize", target, "--as", dialect, "--apply", "--output", "json"];
    let first = refshim(&arguments).await.json();
    assert!(!writes(&first).is_empty(), "{first}");
    assert!(writes(&first).iter().all(|write| write["done"] == true), "{first}");
    let second = refshim(&arguments).await.json();
    assert_eq!(writes(&second), Vec::<Value>::new());
    first
}

fn writes(report: &Value) -> Vec<Value> {
    let subjects = report["subjects"].as_array().unwrap().iter();
    subjects
        .flat_map(|subject| subject["writes"].as_array().unwrap().clone())
        .collect()
}

#[tokio::test]
async fn cosign_tags_become_proposal_d_tags_of_their_adopted_forms() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        let (one, signature) = signed(&endpoint, "app", "v1").await;
        let (two, other) = signed(&endpoint, "app", "v2").await;
        let target = format!("{}/app", registry.authority());
        let before = tags(&endpoint, "app").await;

        let dry = refshim(&["materialize", &target, "--as", "proposal-d"]).await.ok();
        let wanted = [signature.proposal_d_tag(&one, "sig"), other.proposal_d_tag(&two, "sig")];
        assert!(wanted.iter().all(|tag| dry.contains(tag)), "{dry}");
        assert!(dry.contains("nothing was written"), "{dry}");
        assert_eq!(
            tags(&endpoint, "app").await,
            before,
            "{program:?}: a dry run writes nothing"
        );

        apply(&target, "proposal-d").await;
        for (tag, manifest) in wanted.iter().zip([&signature, &other]) {
            let stored = endpoint.manifest("app", tag).await.expect_status(200);
            assert_eq!(stored.body, manifest.bytes, "{program:?}");
            assert_eq!(stored.header("content-type"), Some(IMAGE));
        }
        assert_eq!(
            tags(&endpoint, "app").await.len(),
            before.len() + 2,
            "what was there stays"
        );
    }
}

#[tokio::test]
async fn every_dialect_becomes_one_referrers_tag() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        let (image, signature) = signed(&endpoint, "app", "v1").await;
        let sbom = endpoint
            .push_artifact("app", &image, "application/spdx+json", "sbom")
            .await;
        endpoint
            .put_tag("app", &sbom.proposal_d_tag(&image, "sbom"), &sbom)
            .await;
        // Named by nothing but an ordinary tag.
        let scan = content::artifact(&image, "application/x.scan", "scan");
        let scan = endpoint.put_manifest("app", "scan-of-v1", IMAGE, &scan).await;

        let report = apply(&format!("{}/app", registry.authority()), "referrers-tag").await;
        assert_eq!(writes(&report)[0]["tag"], image.referrers_tag());

        let index = endpoint
            .manifest("app", &image.referrers_tag())
            .await
            .expect_status(200);
        assert_eq!(index.header("content-type"), Some(INDEX));
        let index = index.json();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 3, "{index}");
        for (manifest, artifact_type) in [
            (&signature, COSIGN_SIGNATURE),
            (&sbom, "application/spdx+json"),
            (&scan, "application/x.scan"),
        ] {
            let entries = index["manifests"].as_array().unwrap();
            let entry = entries.iter().find(|entry| entry["digest"] == manifest.digest.as_str());
            let entry = entry.unwrap_or_else(|| panic!("{program:?}: {} is missing", manifest.digest));
            assert_eq!(entry["artifactType"], artifact_type);
            assert_eq!(
                (&entry["mediaType"], &entry["size"]),
                (&json!(IMAGE), &json!(manifest.size()))
            );
            assert!(entry["annotations"].is_object(), "annotations are pulled up: {entry}");
        }
    }
}

#[tokio::test]
async fn a_stored_index_keeps_its_entries_and_loses_its_lies() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let (image, signature) = signed(&endpoint, "app", "v1").await;
    let sbom = endpoint
        .push_artifact("app", &image, "application/spdx+json", "sbom")
        .await;
    let other = endpoint.push_image("app", "other", "other").await;
    // An entry that names another subject: not listed, but somebody's.
    let foreign = endpoint.push_artifact("app", &other, "application/x", "foreign").await;
    let mut lie = sbom.descriptor();
    lie["artifactType"] = EMPTY.into();
    let mut index = content::index([lie, foreign.descriptor()]);
    index["annotations"] = json!({"by": "them"});
    endpoint
        .put_manifest("app", &image.referrers_tag(), INDEX, &index)
        .await;

    apply(&format!("{}/app:v1", registry.authority()), "referrers-tag").await;
    let index = endpoint.manifest("app", &image.referrers_tag()).await.json();
    let found: Vec<(&Value, &Value)> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["digest"], &entry["artifactType"]))
        .collect();
    assert_eq!(
        found,
        [
            (&json!(sbom.digest), &json!("application/spdx+json")),
            (&json!(foreign.digest), &json!("application/x")),
            (&json!(signature.digest), &json!(COSIGN_SIGNATURE)),
        ]
    );
    assert_eq!(index["annotations"], json!({"by": "them"}));
}

#[tokio::test]
async fn one_reference_is_that_subject_only() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let (one, signature) = signed(&endpoint, "app", "v1").await;
    let (two, _) = signed(&endpoint, "app", "v2").await;
    apply(&format!("{}/app@{}", registry.authority(), one.digest), "proposal-d").await;
    let tags = tags(&endpoint, "app").await;
    assert!(tags.contains(&signature.proposal_d_tag(&one, "sig")));
    assert!(
        !tags
            .iter()
            .any(|tag| tag.starts_with(&format!("{}.", two.referrers_tag()))
                && !tag.ends_with(&format!("{}.sig", two.hex())))
    );
}

#[tokio::test]
async fn a_users_own_tag_is_never_overwritten() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let (image, _) = signed(&endpoint, "app", "v1").await;
    let own = endpoint
        .push_image("app", &image.referrers_tag(), "somebody's own")
        .await;
    let target = format!("{}/app", registry.authority());
    let said = refshim(&["materialize", &target, "--as", "referrers-tag", "--apply"])
        .await
        .ok();
    assert!(said.contains("is taken"), "{said}");
    let stored = endpoint.manifest("app", &image.referrers_tag()).await;
    assert_eq!(stored.body, own.bytes);
}

#[tokio::test]
async fn through_refshim_it_works_the_same() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let proxy = Refshim::builder(&registry.url())
            .env("REFSHIM_WRITING__LINKS", "proposal-d")
            .start()
            .await;
        let through = proxy.endpoint();
        let (image, signature) = signed(&registry.endpoint(), "app", "v1").await;
        // Pushed through refshim, so its link is a tag that listings hide.
        let sbom = through
            .push_artifact("app", &image, "application/spdx+json", "sbom")
            .await;
        let target = format!("{}/app", through.authority());

        apply(&target, "proposal-d").await;
        let tag = signature.proposal_d_tag(&image, "sig");
        let stored = registry.endpoint().manifest("app", &tag).await.expect_status(200);
        assert_eq!(stored.body, signature.bytes);

        apply(&target, "referrers-tag").await;
        let index = registry.endpoint().manifest("app", &image.referrers_tag()).await.json();
        let mut digests: Vec<&Value> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| &e["digest"])
            .collect();
        digests.sort_by_key(|digest| digest.to_string());
        let mut wanted = [json!(signature.digest), json!(sbom.digest)];
        wanted.sort_by_key(|digest| digest.to_string());
        assert_eq!(digests, wanted.iter().collect::<Vec<_>>(), "{program:?}");
    }
}

/// Behind refshim, nothing tells an adopted form from what the registry has, until that refuses to list it.
#[tokio::test]
async fn through_refshim_a_referrers_tag_lists_what_is_stored_with_it() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let proxy = Refshim::in_front_of(&registry.url()).await;
        let (image, signature) = signed(&registry.endpoint(), "app", "v1").await;
        apply(&format!("{}/app", proxy.endpoint().authority()), "referrers-tag").await;
        let straight = registry.endpoint();
        let index = straight
            .manifest("app", &image.referrers_tag())
            .await
            .expect_status(200)
            .json();
        assert_eq!(index["manifests"][0]["digest"], *signature.digest);
        straight.manifest("app", &signature.digest).await.expect_status(200);
    }
}

#[tokio::test]
async fn an_envelope_is_linked_as_it_is_and_listed_nowhere_else() {
    let registry = Registry::v2().await;
    let proxy = Refshim::in_front_of(&registry.url()).await;
    let image = registry.endpoint().push_image("app", "v1", "one").await;
    let manifest =
        json!({"mediaType": OCI_ARTIFACT, "artifactType": "application/x", "blobs": [], "subject": image.descriptor()});
    let artifact = proxy.endpoint().put_manifest("app", "", OCI_ARTIFACT, &manifest).await;
    let target = format!("{}/app", registry.authority());
    let arguments = [
        "materialize",
        &target,
        "--as",
        "proposal-d",
        "--apply",
        "--output",
        "json",
    ];
    assert_eq!(
        writes(&refshim(&arguments).await.json()),
        Vec::<Value>::new(),
        "refshim wrote that tag itself"
    );

    let said = refshim(&["materialize", &target, "--as", "referrers-tag", "--apply"])
        .await
        .ok();
    assert!(said.contains(&artifact.digest) && said.contains("envelope"), "{said}");
}

#[tokio::test]
async fn a_scan_that_is_not_whole_writes_nothing() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let link = CountingProxy::in_front_of(&registry.url()).await;
    signed(&endpoint, "app", "v1").await;
    let (two, _) = signed(&endpoint, "app", "v2").await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    let cosign_tag = format!("{}.sig", two.referrers_tag());
    let refusal = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    for fault in [
        Fault::answer(500, &[], "out of order"),
        Fault::answer(403, &[("content-type", "application/json")], refusal),
        Fault::answer(404, &[("content-type", "text/html")], "<html>"),
    ] {
        let tag = cosign_tag.clone();
        link.fail(fault, move |seen| seen.path.contains(&tag));
        let before = tags(&endpoint, "app").await;
        for dialect in ["proposal-d", "referrers-tag"] {
            let ended = refshim(&["materialize", &target, "--as", dialect, "--apply"]).await;
            assert!(ended.refused(1).contains(&target));
        }
        assert_eq!(tags(&endpoint, "app").await, before);
        assert_eq!(link.count(|seen| seen.method == http::Method::PUT), 0);
        link.heal();
    }
}

#[tokio::test]
async fn what_the_registry_refuses_is_told_and_exits_with_one() {
    let registry = Registry::v3().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    signed(&registry.endpoint(), "app", "v1").await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    link.fail(Fault::answer(400, &[], "no more tags"), |seen| {
        seen.method == http::Method::PUT
    });
    let ended = refshim(&["materialize", &target, "--as", "proposal-d", "--apply"]).await;
    assert!(
        ended.stdout.contains("no more tags") && ended.stdout.contains("failed"),
        "{ended:?}"
    );
    assert!(ended.refused(1).contains("1 tags could not be written"));
}

#[tokio::test]
async fn what_somebody_else_writes_meanwhile_is_not_overwritten() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let (image, _) = signed(&endpoint, "app", "v1").await;
    let theirs = endpoint.push_artifact("app", &image, "application/x", "theirs").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app", Endpoint::new(link.url()).authority());
    // The last look before the write.
    let tag = image.referrers_tag();
    let gate = link.hold(move |seen| seen.method == http::Method::HEAD && seen.path.ends_with(&tag));
    let run = tokio::spawn(async move { refshim(&["materialize", &target, "--as", "referrers-tag", "--apply"]).await });
    gate.reached_by(1).await;
    let index = content::index([theirs.descriptor()]);
    let index = endpoint
        .put_manifest("app", &image.referrers_tag(), INDEX, &index)
        .await;
    gate.open();
    let ended = run.await.unwrap();
    assert!(ended.stdout.contains("somebody else wrote it"), "{ended:?}");
    ended.refused(1);
    let stored = endpoint.manifest("app", &image.referrers_tag()).await;
    assert_eq!(stored.body, index.bytes);

    let report = apply(&format!("{}/app", registry.authority()), "referrers-tag").await;
    assert_eq!(
        writes(&report)[0]["links"].as_array().unwrap().len(),
        2,
        "both are listed: {report}"
    );
}

#[tokio::test]
async fn an_unknown_repository_and_wrong_usage_are_errors() {
    let registry = Registry::v2().await;
    let target = format!("{}/nothing", registry.authority());
    let ended = refshim(&["materialize", &target, "--as", "proposal-d"]).await;
    assert!(ended.refused(1).contains("does not know the repository"));
    refshim(&["materialize", &target]).await.refused(2);
    refshim(&["materialize", &target, "--as", "cosign"]).await.refused(2);
}

#[tokio::test]
async fn cosign_verifies_what_was_materialized_once_its_tag_is_gone() {
    let (registry, tools) = (Registry::v3().await, Tools::new());
    let endpoint = registry.endpoint();
    for (repository, dialect) in [("plain", "referrers-tag"), ("shimmed", "proposal-d")] {
        let image = endpoint.push_image(repository, "v1", "one").await;
        tools
            .cosign_sign_by_tag(&endpoint.image(repository, &image.digest))
            .await;
        apply(&format!("{}/{repository}", registry.authority()), dialect).await;
        let cosign_tag = format!("/v2/{repository}/manifests/{}.sig", image.referrers_tag());
        endpoint.delete(&cosign_tag).await.expect_status(202);

        // Without refshim by the referrers tag, through refshim by what it finds.
        let proxy = Refshim::in_front_of(&registry.url()).await;
        let reader = if dialect == "referrers-tag" {
            endpoint.clone()
        } else {
            proxy.endpoint()
        };
        let arguments = [
            "verify",
            "--key",
            "cosign.pub",
            "--insecure-ignore-tlog=true",
            "--experimental-oci11",
            "--new-bundle-format=false",
        ];
        let name = reader.image(repository, &image.digest);
        let said = tools.cosign(&[&arguments[..], &[&name]].concat()).await.ok();
        assert!(said.contains(&image.digest), "{said}");
    }
}

/// An image with two SBOMs, pushed through a refshim that writes links in these forms.
async fn with_links(upstream: &str, links: &str) -> (Pushed, [Pushed; 2]) {
    let builder = Refshim::builder(upstream).env("REFSHIM_WRITING__LINKS", links);
    let proxy = builder.start().await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    let sbom = async |name: &str| {
        through
            .push_artifact("app", &image, "application/spdx+json", name)
            .await
    };
    let sboms = [sbom("one").await, sbom("two").await];
    (image, sboms)
}

const PRUNE: [&str; 4] = ["--as", "referrers-tag", "--prune", "--apply"];

fn removals(report: &Value) -> Vec<Value> {
    let subjects = report["subjects"].as_array().unwrap().iter();
    subjects
        .flat_map(|subject| subject["removals"].as_array().unwrap().clone())
        .collect()
}

/// What is left is what a client needs that knows of no refshim: one tag, and it finds everything.
#[tokio::test]
async fn the_fewest_tags_are_left_where_tags_can_be_deleted_alone() {
    let registry = Registry::v3().await;
    let (image, sboms) = with_links(&registry.url(), "proposal-d").await;
    let (endpoint, target) = (registry.endpoint(), format!("{}/app", registry.authority()));
    let before = tags(&endpoint, "app").await;
    let dry = refshim(&["materialize", &target, "--as", "referrers-tag", "--prune"])
        .await
        .ok();
    let link_tags = sboms.each_ref().map(|sbom| sbom.proposal_d_tag(&image, "sbom"));
    assert!(
        link_tags.iter().all(|tag| dry.contains(&format!("remove {tag}"))),
        "{dry}"
    );
    assert_eq!(tags(&endpoint, "app").await, before, "a dry run writes nothing");

    let report = refshim(&[&["materialize", &target, "--output", "json"], &PRUNE[..]].concat())
        .await
        .json();
    assert_eq!(removals(&report).len(), 2, "{report}");
    assert!(
        removals(&report).iter().all(|removal| removal["done"] == true),
        "{report}"
    );
    assert_eq!(tags(&endpoint, "app").await, [&*image.referrers_tag(), "v1"]);
    let tools = Tools::new();
    let name = endpoint.image("app", "v1");
    let discover = ["discover", "--plain-http", "--format", "json", &name];
    let found: Value = serde_json::from_str(&tools.oras(&discover).await.ok()).unwrap();
    assert_eq!(found["referrers"].as_array().map(Vec::len), Some(2), "{found}");
    let again = refshim(&[&["materialize", &target], &PRUNE[..]].concat()).await.ok();
    assert!(again.contains("nothing to do"), "{again}");
    // gc takes none of what the list holds for garbage.
    let dead = refshim(&["gc", &target, "--output", "json"]).await.json();
    assert_eq!(dead["dead"], json!([]), "{dead}");
    let kept = refshim(&["gc", &target, "--keep-list"]).await.ok();
    assert!(sboms.iter().all(|sbom| kept.contains(&sbom.digest)), "{kept}");
}

/// Where a tag cannot be deleted alone, nothing is taken, and nothing is left of the attempt.
#[tokio::test]
async fn no_tag_goes_where_its_manifest_would_go_too() {
    let registry = Registry::v2().await;
    let (image, _) = with_links(&registry.url(), "proposal-d").await;
    let straight = registry.endpoint();
    no_tag_goes(&straight, &image, "DIGEST_INVALID").await;

    for (delete, reason) in [
        (Delete::ManifestWithTag, "deletes the manifest with its tag"),
        (Delete::Unsupported, "UNSUPPORTED"),
    ] {
        let fake = Fake::start(Knobs {
            delete,
            ..Knobs::default()
        })
        .await;
        let (image, _) = with_links(&fake.url(), "proposal-d").await;
        no_tag_goes(&fake.endpoint(), &image, reason).await;
    }
}

async fn no_tag_goes(straight: &Endpoint, image: &Pushed, reason: &str) {
    let mut expected = tags(straight, "app").await;
    expected.push(image.referrers_tag());
    expected.sort();
    let target = straight.image("app", "").trim_end_matches(':').to_owned();
    let said = refshim(&[&["materialize", &target], &PRUNE[..]].concat()).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains(reason), "{said:?}");
    assert_eq!(tags(straight, "app").await, expected, "{reason}");
    let stored = straight.manifest("app", &image.referrers_tag()).await.json();
    assert_eq!(stored["manifests"].as_array().map(Vec::len), Some(2), "{reason}");
}

#[tokio::test]
async fn tags_are_removed_only_for_a_referrers_tag_and_only_where_all_are_seen() {
    let registry = Registry::v3().await;
    let target = format!("{}/app", registry.authority());
    let said = refshim(&["materialize", &target, "--as", "proposal-d", "--prune"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    let (_, _) = with_links(&registry.url(), "proposal-d").await;
    let proxy = Refshim::in_front_of(&registry.url()).await;
    let through = format!("{}/app", proxy.endpoint().authority());
    let said = refshim(&[&["materialize", &through], &PRUNE[..]].concat()).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("hides link tags"), "{said:?}");
}
