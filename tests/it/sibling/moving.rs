//! The command line knows the repository beside: links move there and back, `check` says whether it works, and `gc` finds the subjects.

use serde_json::{Value, json};

use super::stage::{APP, REFS, SBOM, keeps_beside};
use crate::support::cli::refshim;
use crate::support::content::{IMAGE, INDEX, bare_image, index};
use crate::support::fake::knobs::Delete;
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::{Endpoint, Local, Program, Pushed, Registry};

/// An image with an SBOM by digest, a signature under cosign's tag, and both in a referrers tag.
async fn signed(straight: &Endpoint, repository: &str) -> Pushed {
    let image = straight.push_image(repository, "v1", "image").await;
    let sbom = straight.attach(repository, &image, SBOM, "sbom").await;
    let payload = straight.push_blob(repository, "payload").await;
    let mut signature = bare_image("signature");
    signature["layers"] = json!([{"mediaType": "x/y", "digest": payload.to_string(), "size": 7}]);
    let tag = format!("sha256-{}.sig", image.hex());
    straight.put_manifest(repository, &tag, IMAGE, &signature).await;
    let list = index([sbom.descriptor()]);
    straight
        .put_manifest(repository, &image.referrers_tag(), INDEX, &list)
        .await;
    image
}

async fn tags(straight: &Endpoint, repository: &str) -> Vec<String> {
    let reply = straight.get(&format!("/v2/{repository}/tags/list")).await;
    let listed = reply.expect_status(200).json();
    let mut tags: Vec<String> = listed["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag.as_str().unwrap().to_owned())
        .collect();
    tags.sort();
    tags
}

async fn moves(authority: &str, from: &str, to: &str, more: &[&str]) -> Value {
    let target = format!("{authority}/{from}");
    let arguments = ["materialize", &target, "--to-repository", to, "--output", "json"];
    refshim(&[&arguments[..], more].concat()).await.json()
}

fn outcomes(report: &Value) -> Vec<&str> {
    let tags = report["tags"].as_array().unwrap().iter();
    tags.map(|tag| tag["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn links_move_beside_and_back() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let (straight, authority) = (registry.endpoint(), registry.authority());
        let image = signed(&straight, APP).await;
        let refshim = Local::configured(&registry.url(), keeps_beside).await;
        let before = refshim.endpoint().referrer_digests(APP, &image.digest).await;
        assert_eq!(before.len(), 2);
        let dry = moves(&authority, APP, REFS, &["--dry-run"]).await;
        assert_eq!(
            (outcomes(&dry), &dry["applied"]),
            (vec!["would-bring"; 3], &json!(false))
        );
        assert_eq!(straight.get(&format!("/v2/{REFS}/tags/list")).await.status, 404);
        assert_eq!(
            outcomes(&moves(&authority, APP, REFS, &["--apply"]).await),
            ["brought"; 3]
        );
        assert_eq!(
            outcomes(&moves(&authority, APP, REFS, &["--apply"]).await),
            ["there"; 3]
        );
        let kept = tags(&straight, REFS).await;
        assert!(
            kept.iter().all(|tag| tag.starts_with("sha256-")) && kept.len() == 3,
            "{kept:?}"
        );
        // As they are listed from there alone.
        let refshim = Local::configured(&registry.url(), keeps_beside).await;
        assert_eq!(refshim.endpoint().referrer_digests(APP, &image.digest).await, before);
        assert_eq!(
            outcomes(&moves(&authority, REFS, "o/back", &["--apply"]).await),
            ["brought"; 3]
        );
        assert_eq!(tags(&straight, "o/back").await, kept);
    }
}

#[tokio::test]
async fn what_was_moved_goes_where_it_was_and_is_still_found() {
    let fake = Fake::start(Knobs {
        delete: Delete::TagToo,
        ..Knobs::default()
    })
    .await;
    let authority = fake.endpoint().authority().to_owned();
    let image = signed(&fake.endpoint(), APP).await;
    let moved = moves(&authority, APP, REFS, &["--apply", "--prune"]).await;
    assert_eq!(outcomes(&moved), ["brought"; 3]);
    assert!(
        moved["tags"]
            .as_array()
            .unwrap()
            .iter()
            .all(|tag| tag["removed"] == true),
        "{moved}"
    );
    assert_eq!(tags(&fake.endpoint(), APP).await, ["v1"]);
    let refshim = Local::configured(&fake.url(), keeps_beside).await;
    assert_eq!(refshim.endpoint().referrers(APP, &image.digest).await.len(), 2);
}

#[tokio::test]
async fn lists_are_put_together_and_other_content_is_a_conflict() {
    let fake = Fake::start(Knobs::default()).await;
    let (straight, authority) = (fake.endpoint(), fake.endpoint().authority().to_owned());
    let image = signed(&straight, APP).await;
    straight.push_blob(REFS, "{}").await;
    let other = straight.push_artifact(REFS, &image, SBOM, "other").await;
    straight
        .put_manifest(REFS, &image.referrers_tag(), INDEX, &index([other.descriptor()]))
        .await;
    let tag = format!("sha256-{}.sig", image.hex());
    straight
        .put_manifest(REFS, &tag, IMAGE, &bare_image("another signature"))
        .await;
    let target = format!("{authority}/{APP}");
    let said = refshim(&["materialize", &target, "--to-repository", REFS, "--apply"]).await;
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stdout.contains("conflict"), "{}", said.stdout);
    let list = straight
        .manifest(REFS, &image.referrers_tag())
        .await
        .expect_status(200)
        .json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2, "{list}");
    let kept = straight.manifest(REFS, &tag).await.text();
    assert!(kept.contains("another signature"), "{kept}");
}

#[tokio::test]
async fn check_says_whether_the_repository_beside_is_there_and_writable() {
    let fake = Fake::start(Knobs::default()).await;
    fake.image(APP, "v1", "image");
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[upstream]]\nurl = '{}'\n[links]\nrepository = '{{name}}.refs'\n",
        fake.url()
    );
    std::fs::write(config.path(), text).unwrap();
    let config = config.path().to_str().unwrap();
    let arguments = ["check", "--config", config, "--repository", APP, "--output", "json"];
    let report = refshim(&arguments).await.json();
    let kept =
        |exists: bool| json!({"name": REFS, "upstream": null, "hasAccount": false, "exists": exists, "writable": true});
    assert_eq!(report["upstreams"][0]["linksRepository"], kept(false));
    fake.image(REFS, "v1", "image");
    let report = refshim(&arguments).await.json();
    assert_eq!(report["upstreams"][0]["linksRepository"], kept(true));
    let denied = Trouble::oci(403, "DENIED", "no");
    fake.trouble(denied, |seen| seen.method == http::Method::POST);
    let refused = refshim(&arguments[..5]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("links.credentials"), "{}", refused.stderr);
}

#[tokio::test]
async fn links_move_to_another_registry_and_back() {
    let (images, links) = (Registry::v2().await, Registry::v2().await);
    let (straight, there) = (images.endpoint(), links.endpoint());
    signed(&straight, APP).await;
    let elsewhere = format!("http://{}/{APP}", links.authority());
    for expected in ["brought", "there"] {
        let moved = moves(&images.authority(), APP, &elsewhere, &["--apply"]).await;
        assert_eq!(outcomes(&moved), [expected; 3]);
    }
    let kept = tags(&there, APP).await;
    assert!(kept.iter().all(|tag| tag.starts_with("sha256-")), "{kept:?}");
    let signature = kept.iter().find(|tag| tag.ends_with(".sig")).unwrap();
    let layers = there.manifest(APP, signature).await.expect_status(200).json();
    let payload = layers["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(
        there
            .get(&format!("/v2/{APP}/blobs/{payload}"))
            .await
            .expect_status(200)
            .text(),
        "payload"
    );
    // Their subjects are with the images.
    let target = format!("{}/{APP}", links.authority());
    let subjects = format!("http://{}/{APP}", images.authority());
    let found = refshim(&["gc", &target, "--subjects-in", &subjects, "--output", "json"])
        .await
        .json();
    assert_eq!(found["dead"], json!([]), "{found}");
    let back = format!("http://{}/copy", images.authority());
    let moved = moves(&links.authority(), APP, &back, &["--apply"]).await;
    assert_eq!(outcomes(&moved), ["brought"; 3]);
}

#[tokio::test]
async fn check_says_whether_the_other_registry_is_writable() {
    let (images, links) = (Fake::start(Knobs::default()).await, Fake::start(Knobs::default()).await);
    images.image(APP, "v1", "image");
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[upstream]]\nname = 'images'\nurl = '{}'\n[[upstream]]\nname = 'links'\nurl = '{}'\nhosts = ['localhost']\n\
         [links]\nrepository = '{{name}}'\nupstream = 'links'\n\
         [links.credentials.links]\nkind = 'static'\nusername = 'x'\npassword = 'y'\n",
        images.url(),
        links.url()
    );
    std::fs::write(config.path(), text).unwrap();
    let config = config.path().to_str().unwrap();
    let report = refshim(&["check", "--config", config, "--repository", APP, "--output", "json"])
        .await
        .json();
    let kept = json!({"name": APP, "upstream": "links", "hasAccount": true, "exists": false, "writable": true});
    assert_eq!(report["upstreams"][0]["linksRepository"], kept);
    assert_eq!(report["upstreams"][1]["problem"], json!(null), "{report}");
}

#[tokio::test]
async fn gc_looks_for_subjects_with_the_images() {
    let fake = Fake::start(Knobs {
        delete: Delete::TagToo,
        ..Knobs::default()
    })
    .await;
    let image = fake.image(APP, "v1", "image");
    let gone = Pushed::of(IMAGE, &bare_image("gone"));
    let alive = fake.tagged_artifact(REFS, &image, SBOM, "alive");
    let dead = fake.tagged_artifact(REFS, &gone, SBOM, "dead");
    let target = format!("{}/{REFS}", fake.endpoint().authority());
    let refused = refshim(&["gc", &target, "--delete"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--subjects-in"), "{}", refused.stderr);
    assert_eq!(fake.tags(REFS).len(), 2);
    refshim(&["gc", &target, "--subjects-in", APP, "--delete"]).await.ok();
    let left = fake.tags(REFS);
    assert_eq!(left, [alive.proposal_d_tag(&image, "sbom")], "{}", dead.digest);
}
