//! What is kept beside is found at the image's own repository.

use http::Method;
use serde_json::{Value, json};

use super::stage::{APP, REFS, SBOM, Stage, is_beside, keeps_beside};
use crate::support::content::{IMAGE, SIGNATURE, artifact, bare_image, index};
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::{Local, Pushed, Refshim};

fn digests(listed: &Value) -> Vec<String> {
    let mut digests: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["digest"].as_str().unwrap().to_owned())
        .collect();
    digests.sort();
    digests
}

#[tokio::test]
async fn every_api_lists_what_both_repositories_hold() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let here = stage.fake.tagged_artifact(APP, &image, SBOM, "here");
    let beside = stage.fake.tagged_artifact(REFS, &image, SBOM, "beside");
    let mut both = [here.digest.clone(), beside.digest.clone()];
    both.sort();
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, both);
    for (path, list) in [
        (
            format!("/v2/{APP}/_oras/artifacts/referrers?digest={}", image.digest),
            "referrers",
        ),
        (
            format!("/v2/{APP}/_oci/artifacts/referrers?digest={}", image.digest),
            "referrers",
        ),
        (format!("/v2/{APP}/manifests/v1/references"), "manifests"),
        (format!("/v2/{APP}/manifests/{}", image.referrers_tag()), "manifests"),
    ] {
        let listed = reader.get(&path).await.expect_status(200).json();
        assert_eq!(digests(&listed[list]), both, "{path}: {listed}");
    }
    let filtered = format!("/v2/{APP}/referrers/{}?artifactType={SBOM}", image.digest);
    assert_eq!(
        digests(&reader.get(&filtered).await.expect_status(200).json()["manifests"]),
        both
    );
    // Nothing of it shows among the image's tags.
    let tags = reader
        .get(&format!("/v2/{APP}/tags/list"))
        .await
        .expect_status(200)
        .json();
    assert_eq!(tags["tags"], json!(["v1"]));
}

#[tokio::test]
async fn manifests_and_blobs_that_links_lead_to_are_read_at_the_images_repository() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let layer = stage.fake.blob(REFS, "the sbom");
    let mut manifest = artifact(&image, SBOM, "beside");
    manifest["layers"] = json!([{"mediaType": SBOM, "digest": layer.to_string(), "size": 8}]);
    let sbom = Pushed::of(IMAGE, &manifest);
    stage.fake.blob(REFS, "{}");
    stage.fake.put_pushed(REFS, &sbom.proposal_d_tag(&image, "sbom"), &sbom);
    // First of all, the blob: nobody told this process of it.
    let reader = stage.as_user("reader");
    let path = format!("/v2/{APP}/blobs/{layer}");
    assert_eq!(reader.get(&path).await.expect_status(200).text(), "the sbom");
    let manifest = reader.manifest(APP, &sbom.digest).await.expect_status(200);
    assert_eq!(
        (manifest.body.as_ref(), manifest.header("content-type")),
        (sbom.bytes.as_ref(), Some(IMAGE))
    );
    let path = format!("/v2/{APP}/manifests/{}", sbom.digest);
    let head = reader
        .send(Method::HEAD, &path, &[("accept", IMAGE)], "")
        .await
        .expect_status(200);
    assert_eq!(head.header("docker-content-digest"), Some(&*sbom.digest));
    let path = format!("/v2/{APP}/blobs/{layer}");
    assert_eq!(reader.get(&path).await.expect_status(200).text(), "the sbom");
    reader.send(Method::HEAD, &path, &[], "").await.expect_status(200);
    let part = reader
        .get_with(&path, &[("range", "bytes=4-7")])
        .await
        .expect_status(206);
    assert_eq!(part.text(), "sbom");
}

#[tokio::test]
async fn nothing_is_read_beside_that_no_link_leads_to() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    stage.fake.tagged_artifact(REFS, &image, SBOM, "beside");
    let secret = stage.fake.blob(REFS, "a secret layer");
    let mut manifest = bare_image("secret");
    manifest["layers"] = json!([{"mediaType": "x/y", "digest": secret.to_string(), "size": 14}]);
    let secrets = stage.fake.put(REFS, "secret", IMAGE, &manifest);
    let reader = stage.as_user("reader");
    reader.referrers(APP, &image.digest).await;
    for path in [
        format!("/v2/{APP}/manifests/{}", secrets.digest),
        format!("/v2/{APP}/manifests/secret"),
        format!("/v2/{APP}/blobs/{secret}"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let reply = reader.send(method, &path, &[("accept", "*/*")], "").await;
            assert_eq!(reply.status, 404, "{path}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn cosigns_tags_beside_are_read_by_tag_and_listed_with_their_subject() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let payload = stage.fake.blob(REFS, "payload");
    let mut manifest = bare_image("signature");
    manifest["layers"] = json!([{"mediaType": "x/y", "digest": payload.to_string(), "size": 7}]);
    stage.fake.blob(REFS, "{}");
    let tag = format!("sha256-{}.sig", image.hex());
    let signature = stage.fake.put(REFS, &tag, IMAGE, &manifest);
    let reader = stage.as_user("reader");
    let by_tag = reader.manifest(APP, &tag).await.expect_status(200);
    assert_eq!(by_tag.body, signature.bytes);
    let blob = reader
        .get(&format!("/v2/{APP}/blobs/{payload}"))
        .await
        .expect_status(200);
    assert_eq!(blob.text(), "payload");
    let adopted = signature.adopted(&image, Some(SIGNATURE));
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*adopted.digest]);
    assert_eq!(
        reader.manifest(APP, &adopted.digest).await.expect_status(200).body,
        adopted.bytes
    );
    assert_eq!(
        reader.manifest(APP, &signature.digest).await.expect_status(200).body,
        signature.bytes
    );
    // As a process reads it that was told nothing of it.
    let stage = {
        let other = Stage::new(Knobs::default()).await;
        other.fake.image(APP, "v1", "image");
        other.fake.blob(REFS, "{}");
        other.fake.blob(REFS, "payload");
        other.fake.put(REFS, &tag, IMAGE, &manifest);
        other
    };
    let reader = stage.as_user("reader");
    assert_eq!(
        reader.manifest(APP, &signature.digest).await.expect_status(200).body,
        signature.bytes
    );
    assert_eq!(
        reader.manifest(APP, &adopted.digest).await.expect_status(200).body,
        adopted.bytes
    );
}

#[tokio::test]
async fn what_a_linked_index_lists_is_read_too() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let listed = stage.fake.image(REFS, "", "listed");
    let mut manifest = index([listed.descriptor()]);
    manifest["subject"] = image.descriptor();
    manifest["artifactType"] = SBOM.into();
    let linked = Pushed::of("application/vnd.oci.image.index.v1+json", &manifest);
    stage
        .fake
        .put_pushed(REFS, &linked.proposal_d_tag(&image, "sbom"), &linked);
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*linked.digest]);
    assert_eq!(
        reader.manifest(APP, &listed.digest).await.expect_status(200).body,
        listed.bytes
    );
}

#[tokio::test]
async fn a_failure_beside_is_never_a_shorter_list() {
    for trouble in [
        Trouble::oci(403, "DENIED", "denied"),
        Trouble::oci(401, "UNAUTHORIZED", "no"),
        Trouble::oci(500, "UNKNOWN", "failed"),
        Trouble::oci(404, "PAGE_UNKNOWN", "what is that"),
        Trouble::html(404),
        Trouble::html(200),
        Trouble::answer(404, &[], ""),
        Trouble::oci(429, "TOOMANYREQUESTS", "slower"),
        Trouble::Close,
    ] {
        let stage = Stage::configured(Knobs::default(), |config| config.upstreams[0].retries = 0).await;
        let image = stage.fake.image(APP, "v1", "image");
        stage.fake.tagged_artifact(APP, &image, SBOM, "here");
        stage.fake.tagged_artifact(REFS, &image, SBOM, "beside");
        stage.fake.heal();
        stage.fake.trouble(trouble.clone(), is_beside);
        let reply = stage.as_user("reader").referrers_reply(APP, &image.digest).await;
        assert!(reply.status >= 500 || reply.status == 429, "{trouble:?}: {reply:?}");
        assert!(!reply.text().contains("keeper"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_sibling_has_no_sibling() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image(APP, "v1", "image");
    let sbom = fake.tagged_artifact(REFS, &image, SBOM, "beside");
    let refshim = Local::configured(&fake.url(), keeps_beside).await;
    assert_eq!(
        refshim.endpoint().referrer_digests(REFS, &image.digest).await,
        [&*sbom.digest]
    );
    assert_eq!(refshim.endpoint().manifest(REFS, &sbom.digest).await.status, 200);
    assert_eq!(fake.count(|seen| seen.path.contains("refs.refs")), 0);
}

#[tokio::test]
async fn a_push_straight_to_the_repository_beside_shows_once_it_is_told() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image(APP, "v1", "image");
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__REPOSITORY", "{name}.refs")
        .env("REFSHIM_CACHE__FRESH_FOR", "10m")
        .start()
        .await;
    assert_eq!(refshim.endpoint().referrers(APP, &image.digest).await.len(), 0);
    let sbom = fake.tagged_artifact(REFS, &image, SBOM, "beside");
    let told = json!({"repository": REFS}).to_string();
    let json = [("content-type", "application/json")];
    let events = refshim.admin().send(Method::POST, "/events", &json, told).await;
    assert!((200..300).contains(&events.status.into()), "{events:?}");
    assert_eq!(
        refshim.endpoint().referrer_digests(APP, &image.digest).await,
        [&*sbom.digest]
    );
}
