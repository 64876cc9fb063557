//! What is pushed to the image's repository and refers to it is kept beside.

use http::Method;
use serde_json::json;

use super::stage::{APP, REFS, SBOM, Stage, is_beside, keeps_beside};
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::{Endpoint, Local, Pushed};

/// An artifact with a layer of its own, pushed as clients push: blobs to the image's repository, then the manifest by its digest.
pub async fn attach(through: &Endpoint, image: &Pushed, name: &str) -> Pushed {
    let layer = through.push_blob(APP, format!("layer of {name}")).await;
    through.push_blob(APP, "{}").await;
    let mut manifest = artifact(image, SBOM, name);
    manifest["layers"] = json!([{"mediaType": SBOM, "digest": layer.to_string(), "size": 9 + name.len()}]);
    through.put_manifest(APP, "", IMAGE, &manifest).await
}

#[track_caller]
pub fn tags_are(stage: &Stage, repository: &str, expected: &[&str]) {
    let mut tags = stage.fake.tags(repository);
    tags.sort();
    assert_eq!(tags, expected, "{repository}");
}

#[tokio::test]
async fn an_artifact_goes_beside_with_its_blobs_and_tags() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    let sbom = attach(&writer, &image, "sbom").await;
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    tags_are(&stage, APP, &["v1"]);
    let tag = sbom.proposal_d_tag(&image, "acme.sbom");
    tags_are(&stage, REFS, &[&image.referrers_tag(), &tag]);
    // Whole, for whoever reads it there.
    let straight = stage.straight();
    assert_eq!(straight.manifest(REFS, &tag).await.body, sbom.bytes);
    assert_eq!(straight.manifest(APP, &sbom.digest).await.status, 404);
    let layer = refshim::testing::oci::Digest::sha256(b"layer of sbom");
    let layer = straight
        .get(&format!("/v2/{REFS}/blobs/{layer}"))
        .await
        .expect_status(200);
    assert_eq!(layer.text(), "layer of sbom");
}

#[tokio::test]
async fn the_answer_is_that_of_a_push_to_the_images_repository() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
    let reply = writer.put_bytes(APP, "", &sbom).await.expect_status(201);
    assert_eq!(reply.header("oci-subject"), Some(&*image.digest));
    assert_eq!(reply.header("docker-content-digest"), Some(&*sbom.digest));
    let location = format!("/v2/{APP}/manifests/{}", sbom.digest);
    assert_eq!(reply.header("location"), Some(&*location));
}

/// An upload that is opened and cancelled, and for each blob a HEAD and a mount; then the manifest, its link tag and the referrers tag.
#[tokio::test]
async fn what_a_push_costs() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    stage.fake.take();
    writer
        .put_manifest(APP, "", IMAGE, &artifact(&image, SBOM, "sbom"))
        .await;
    let asked = stage.fake.take();
    let count = |what: &str| asked.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(count(&format!("POST /v2/{APP}/blobs/uploads/")), 1, "{asked:#?}");
    assert_eq!(count(&format!("DELETE /v2/{APP}/blobs/")), 1, "{asked:#?}");
    assert_eq!(count(&format!("HEAD /v2/{APP}/blobs/")), 1, "{asked:#?}");
    assert_eq!(
        count(&format!("POST /v2/{REFS}/blobs/uploads/?mount=")),
        1,
        "{asked:#?}"
    );
    assert_eq!(count("PATCH "), 0, "{asked:#?}");
    assert_eq!(count(&format!("PUT /v2/{REFS}/manifests/")), 3, "{asked:#?}");
    assert_eq!(count(&format!("PUT /v2/{APP}/")), 0, "{asked:#?}");
}

#[tokio::test]
async fn nothing_is_acknowledged_before_all_of_it_is_beside() {
    for part in ["blobs/", "manifests/sha256:", "manifests/sha256-"] {
        let stage = Stage::configured(Knobs::default(), |config| config.upstreams[0].retries = 0).await;
        let image = stage.fake.image(APP, "v1", "image");
        let writer = stage.as_user("writer");
        writer.push_blob(APP, "{}").await;
        let path = format!("/v2/{REFS}/{part}");
        let is_write = |seen: &crate::support::Seen| matches!(seen.method, Method::PUT | Method::POST);
        let failed = Trouble::oci(500, "UNKNOWN", "failed");
        stage.fake.heal();
        stage
            .fake
            .trouble(failed, move |seen| is_write(seen) && seen.path.starts_with(&path));
        let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
        let reply = writer.put_bytes(APP, "", &sbom).await;
        assert!(reply.status >= 500, "{part}: {reply:?}");
        stage.fake.heal();
        writer.put_bytes(APP, "", &sbom).await.expect_status(201);
        assert_eq!(
            writer.referrer_digests(APP, &image.digest).await,
            [&*sbom.digest],
            "{part}"
        );
    }
}

#[tokio::test]
async fn a_tag_of_the_owners_stays_with_the_image_and_its_link_goes_beside() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    let sbom = writer
        .put_manifest(APP, "sbom-of-v1", IMAGE, &artifact(&image, SBOM, "sbom"))
        .await;
    tags_are(&stage, APP, &["sbom-of-v1", "v1"]);
    tags_are(
        &stage,
        REFS,
        &[&image.referrers_tag(), &sbom.proposal_d_tag(&image, "acme.sbom")],
    );
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
}

#[tokio::test]
async fn cosigns_tags_go_beside_unless_they_are_with_the_image_already() {
    let stage = Stage::new(Knobs::default()).await;
    let (new, old) = (stage.fake.image(APP, "v1", "new"), stage.fake.image(APP, "v0", "old"));
    let (new_tag, old_tag) = (format!("sha256-{}.sig", new.hex()), format!("sha256-{}.sig", old.hex()));
    stage.fake.image(APP, &old_tag, "signature");
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    let added = writer.put_manifest(APP, &new_tag, IMAGE, &bare_image("added")).await;
    let replaced = writer.put_manifest(APP, &old_tag, IMAGE, &bare_image("replaced")).await;
    tags_are(&stage, REFS, &[&new_tag]);
    assert_eq!(
        writer.manifest(APP, &new_tag).await.expect_status(200).body,
        added.bytes
    );
    assert_eq!(
        writer.manifest(APP, &old_tag).await.expect_status(200).body,
        replaced.bytes
    );
    // One more signature: cosign reads the tag and puts it back.
    let again = writer.put_manifest(APP, &new_tag, IMAGE, &bare_image("again")).await;
    assert_eq!(
        writer.manifest(APP, &new_tag).await.expect_status(200).body,
        again.bytes
    );
    assert!(!stage.fake.tags(APP).contains(&new_tag));
}

#[tokio::test]
async fn an_index_goes_beside_with_the_manifests_that_it_lists() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    let listed = writer.push_image(APP, "", "listed").await;
    let mut manifest = index([listed.descriptor()]);
    manifest["subject"] = image.descriptor();
    manifest["artifactType"] = SBOM.into();
    let linked = writer.put_manifest(APP, "", INDEX, &manifest).await;
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*linked.digest]);
    assert_eq!(
        stage
            .straight()
            .manifest(REFS, &listed.digest)
            .await
            .expect_status(200)
            .body,
        listed.bytes
    );
}

#[tokio::test]
async fn attestations_of_buildkit_are_linked_beside_and_their_index_is_an_image() {
    let stage = Stage::new(Knobs::default()).await;
    let writer = stage.as_user("writer");
    let platform = writer.push_image(APP, "", "platform").await;
    let attestation = writer.push_image(APP, "", "attestation").await;
    let annotations = json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": platform.digest,
    });
    let mut listed = attestation.annotated(annotations);
    listed["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    writer
        .put_manifest(APP, "v1", INDEX, &index([platform.descriptor(), listed]))
        .await;
    tags_are(&stage, APP, &["v1"]);
    let beside = stage.fake.tags(REFS);
    let prefix = format!("sha256-{}.", platform.hex());
    assert!(beside.len() == 1 && beside[0].starts_with(&prefix), "{beside:?}");
    assert_eq!(writer.referrers(APP, &platform.digest).await.len(), 1);
}

#[tokio::test]
async fn what_is_beside_can_be_part_of_an_image() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    let sbom = attach(&writer, &image, "sbom").await;
    // The layer goes from the image's repository, as garbage collection would have it.
    let layer = refshim::testing::oci::Digest::sha256(b"layer of sbom");
    stage
        .straight()
        .send(Method::DELETE, &format!("/v2/{APP}/blobs/{layer}"), &[], "")
        .await;
    let path = format!("/v2/{APP}/blobs/{layer}");
    writer.send(Method::HEAD, &path, &[], "").await.expect_status(200);
    let mut manifest = bare_image("with that layer");
    manifest["layers"] = json!([{"mediaType": SBOM, "digest": layer.to_string(), "size": 13}]);
    writer.put_manifest(APP, "v2", IMAGE, &manifest).await;
    stage.straight().get(&path).await.expect_status(200);
    // And so can a tag of the owner's for the artifact itself.
    writer.put_bytes(APP, "sbom", &sbom).await.expect_status(201);
    assert_eq!(
        stage.straight().manifest(APP, "sbom").await.expect_status(200).body,
        sbom.bytes
    );
}

#[tokio::test]
async fn without_an_account_the_callers_own_rights_write_and_read_beside() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image(APP, "v1", "image");
    let refshim = Local::configured(&fake.url(), keeps_beside).await;
    let anyone = refshim.endpoint();
    let sbom = attach(&anyone, &image, "sbom").await;
    assert_eq!(anyone.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    assert_eq!(fake.tags(APP), ["v1"]);
    assert!(fake.count(is_beside) > 0);
    // A subject that is not there can be shown to whoever may read beside, too.
    let gone = Pushed::of(IMAGE, &bare_image("never pushed"));
    let sbom = attach(&anyone, &gone, "early").await;
    assert_eq!(anyone.referrer_digests(APP, &gone.digest).await, [&*sbom.digest]);
}
