//! What is pushed to the image's repository and refers to it goes to the other registry, by whoever may push to the first.

use http::Method;
use serde_json::json;

use super::super::stage::{APP, REFS, SBOM, basic};
use super::super::writing::attach;
use super::stage::TwoRegistries;
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::fake::{Knobs, Trouble};
use crate::support::{Pushed, Seen};

fn is_write(seen: &Seen) -> bool {
    !matches!(seen.method, Method::GET | Method::HEAD)
}

#[tokio::test]
async fn an_artifact_goes_there_whole_and_is_found_at_the_image() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let writer = stage.as_user("writer");
    let sbom = attach(&writer, &image, "sbom").await;
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    assert_eq!(stage.images.tags(APP), ["v1"]);
    assert_eq!(stage.images.tags(REFS), [""; 0]);
    let tag = sbom.proposal_d_tag(&image, "acme.sbom");
    let mut tags = stage.links.tags(REFS);
    tags.sort();
    assert_eq!(tags, [image.referrers_tag(), tag]);
    let keeper = stage.links.endpoint().basic("keeper", "x");
    let layer = refshim::testing::oci::Digest::sha256(b"layer of sbom");
    let layer = keeper
        .get(&format!("/v2/{REFS}/blobs/{layer}"))
        .await
        .expect_status(200);
    assert_eq!(layer.text(), "layer of sbom");
    assert_eq!(stage.as_user("reader").manifest(APP, &sbom.digest).await.status, 200);
    stage.nothing_leaked();
}

/// The registry of images opens an upload for the caller and cancels it before anything is written in the other.
#[tokio::test]
async fn what_a_push_costs() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    stage.images.take();
    stage.links.take();
    writer
        .put_manifest(APP, "", IMAGE, &artifact(&image, SBOM, "sbom"))
        .await;
    let sent = stage.images.requests();
    let sent: Vec<&Seen> = sent.iter().filter(|seen| is_write(seen)).collect();
    let methods: Vec<&Method> = sent.iter().map(|seen| &seen.method).collect();
    assert_eq!(methods, [Method::POST, Method::DELETE], "{sent:#?}");
    assert!(
        sent.iter().all(|seen| seen.authorization() == Some(&basic("writer"))),
        "{sent:#?}"
    );
    let links = stage.links.take();
    let count = |what: &str| links.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(count(&format!("POST /v2/{REFS}/blobs/uploads/")), 1, "{links:#?}");
    assert!(!links.iter().any(|line| line.contains("mount=")), "{links:#?}");
    assert_eq!(count(&format!("PUT /v2/{REFS}/manifests/")), 3, "{links:#?}");
}

#[tokio::test]
async fn who_may_only_pull_does_not_sign() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let signature = Pushed::of(IMAGE, &artifact(&image, SBOM, "signature"));
    for (user, tag) in [
        ("reader", String::new()),
        ("reader", format!("sha256-{}.sig", image.hex())),
        ("reader", signature.proposal_d_tag(&image, "sig")),
        ("reader", image.referrers_tag()),
        ("stranger", String::new()),
    ] {
        let reply = stage.as_user(user).put_bytes(APP, &tag, &signature).await;
        assert!(matches!(reply.status, 401 | 403), "{user} {tag}: {reply:?}");
    }
    assert_eq!(stage.links.count(is_write), 0);
    stage.nothing_leaked();
}

#[tokio::test]
async fn nothing_is_acknowledged_that_the_other_registry_did_not_take() {
    for (part, trouble) in [
        ("blobs/", Trouble::oci(500, "UNKNOWN", "failed")),
        ("manifests/sha256:", Trouble::oci(500, "UNKNOWN", "failed")),
        ("manifests/sha256-", Trouble::Close),
        ("blobs/", Trouble::oci(403, "DENIED", "no")),
        ("manifests/", Trouble::oci(401, "UNAUTHORIZED", "no")),
        ("blobs/", Trouble::oci(404, "NAME_UNKNOWN", "create it first")),
    ] {
        let stage = TwoRegistries::new().await;
        let image = stage.image();
        let writer = stage.as_user("writer");
        writer.push_blob(APP, "{}").await;
        let path = format!("/v2/{REFS}/{part}");
        stage.links.heal();
        stage.links.trouble(trouble.clone(), move |seen| {
            is_write(seen) && seen.path.starts_with(&path)
        });
        let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
        let reply = writer.put_bytes(APP, "", &sbom).await;
        assert!(reply.status >= 500, "{part} {trouble:?}: {reply:?}");
        assert!(!reply.text().contains("keeper"), "{reply:?}");
        stage.links.heal();
        writer.put_bytes(APP, "", &sbom).await.expect_status(201);
        assert_eq!(
            writer.referrer_digests(APP, &image.digest).await,
            [&*sbom.digest],
            "{part}"
        );
        stage.nothing_leaked();
    }
}

#[tokio::test]
async fn of_eight_attaches_at_once_none_is_lost() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let writer = stage.as_user("writer");
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let attached = names.map(|name| attach(&writer, &image, name));
    let attached = futures_util::future::join_all(attached).await;
    let mut attached: Vec<String> = attached.into_iter().map(|pushed| pushed.digest).collect();
    attached.sort();
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, attached);
    // And for clients that read the other registry without refshim.
    let keeper = stage.links.endpoint().basic("keeper", "x");
    let listed = keeper
        .manifest(REFS, &image.referrers_tag())
        .await
        .expect_status(200)
        .json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 8, "{listed}");
    stage.nothing_leaked();
}

#[tokio::test]
async fn indexes_go_there_with_what_they_list_and_attestations_stay_with_their_image() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let writer = stage.as_user("writer");
    let listed = writer.push_image(APP, "", "listed").await;
    let mut manifest = index([listed.descriptor()]);
    manifest["subject"] = image.descriptor();
    manifest["artifactType"] = SBOM.into();
    let linked = writer.put_manifest(APP, "", INDEX, &manifest).await;
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*linked.digest]);
    let keeper = stage.links.endpoint().basic("keeper", "x");
    assert_eq!(
        keeper.manifest(REFS, &listed.digest).await.expect_status(200).body,
        listed.bytes
    );
    let attestation = writer.push_image(APP, "", "attestation").await;
    let annotations = json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest,
    });
    let list = index([image.descriptor(), attestation.annotated(annotations)]);
    writer.put_manifest(APP, "v2", INDEX, &list).await;
    assert_eq!(writer.referrers(APP, &image.digest).await.len(), 2);
    assert_eq!(stage.images.tags(APP), ["v1", "v2"]);
    stage.nothing_leaked();
}

#[tokio::test]
async fn what_is_there_can_be_part_of_an_image() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let layer = stage.links.blob(REFS, "only there");
    stage.links.blob(REFS, "{}");
    let mut manifest = artifact(&image, SBOM, "sbom");
    manifest["layers"] = json!([{"mediaType": SBOM, "digest": layer.to_string(), "size": 10}]);
    let sbom = Pushed::of(IMAGE, &manifest);
    stage
        .links
        .put_pushed(REFS, &sbom.proposal_d_tag(&image, "sbom"), &sbom);
    let writer = stage.as_user("writer");
    let path = format!("/v2/{APP}/blobs/{layer}");
    writer.get(&path).await.expect_status(200);
    writer.send(Method::HEAD, &path, &[], "").await.expect_status(200);
    let mut manifest = bare_image("with that layer");
    manifest["layers"] = json!([{"mediaType": SBOM, "digest": layer.to_string(), "size": 10}]);
    writer.push_blob(APP, "{}").await;
    writer.put_manifest(APP, "v2", IMAGE, &manifest).await;
    let straight = stage.images.endpoint().basic("writer", "x");
    assert_eq!(straight.get(&path).await.expect_status(200).text(), "only there");
    stage.nothing_leaked();
}

#[tokio::test]
async fn nobody_deletes_what_the_other_registry_keeps() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let sbom = attach(&stage.as_user("writer"), &image, "sbom").await;
    let tag = format!("sha256-{}.sig", image.hex());
    let signature = stage.links.image(REFS, &tag, "signature");
    // A process that was told of it.
    assert_eq!(stage.as_user("reader").referrers(APP, &image.digest).await.len(), 2);
    for user in ["writer", "keeper"] {
        let caller = stage.as_user(user);
        for reference in [&sbom.digest, &signature.digest] {
            let path = format!("/v2/{APP}/manifests/{reference}");
            let reply = caller.delete(&path).await;
            assert_eq!(
                (reply.status, reply.error_code()),
                (403, "DENIED".into()),
                "{user} {reference}: {reply:?}"
            );
            assert!(reply.text().contains("links"), "{reply:?}");
        }
    }
    assert_eq!(stage.links.count(|seen| seen.method == Method::DELETE), 0);
    assert_eq!(stage.as_user("reader").referrers(APP, &image.digest).await.len(), 2);
    // The image itself is its owner's to delete.
    let path = format!("/v2/{APP}/manifests/{}", image.digest);
    stage.as_user("writer").delete(&path).await.expect_status(202);
}

#[tokio::test]
async fn without_mounts_and_with_locked_tags_it_is_the_same() {
    let mut knobs = Knobs::default();
    knobs.uploads.no_mounts = true;
    knobs.pushes.immutable_tags = true;
    let stage = TwoRegistries::configured(knobs, |_| ()).await;
    let image = stage.image();
    let writer = stage.as_user("writer");
    let mut pushed = [
        attach(&writer, &image, "one").await.digest,
        attach(&writer, &image, "two").await.digest,
    ];
    pushed.sort();
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, pushed);
    attach(&writer, &image, "one").await;
    stage.nothing_leaked();
}
