//! What is linked is told, in the order in which it happened; what is not linked is not.

use http::Method;
use serde_json::{Value, json};

use super::{Receiver, telling, webhook};
use crate::support::content::{IMAGE, INDEX, SIGNATURE, artifact, bare_image, empty_descriptor, index};
use crate::support::fake::knobs::{Native, Referrers};
use crate::support::fake::{Fake, Knobs};
use crate::support::{CountingProxy, Fault, Program, Pushed, Registry};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

/// Pushes what links nothing and then an artifact of `image`, whose event is the only one.
async fn nothing_but(receiver: &Receiver, last: &Pushed) {
    let events = receiver.receives(1).await;
    assert_eq!(events[0]["data"]["referrer"]["digest"], last.digest);
}

#[tokio::test]
async fn each_pushed_referrer_is_told_in_order_when_it_is_listed() {
    for program in Program::ALL {
        let (registry, receiver) = (Registry::start(program).await, Receiver::start().await);
        let proxy = telling(&registry.url(), &webhook(&receiver, "")).start().await;
        let through = proxy.endpoint();
        let image = through.push_image("o/app", "v1", "one").await;
        let mut pushed = Vec::new();
        for n in 0..5 {
            pushed.push(through.push_artifact("o/app", &image, SBOM, &format!("{n}")).await);
        }
        let events = receiver.receives(5).await;
        for (event, pushed) in events.iter().zip(&pushed) {
            assert_eq!(event["type"], "io.refshim.referrer.linked.v1");
            assert_eq!(event["source"], "urn:refshim");
            let mut referrer = pushed.descriptor();
            referrer["artifactType"] = json!(SBOM);
            let described = &through.referrers("o/app", &image.digest).await;
            let listed = described
                .iter()
                .find(|listed| listed["digest"] == pushed.digest)
                .expect("it is listed");
            referrer["annotations"] = listed["annotations"].clone();
            let data = json!({
                "origin": "proxied", "upstream": "default", "repository": "o/app", "subject": image.digest, "referrer": referrer,
                "dialects": ["subject", "proposal-d-tag", "referrers-tag"],
            });
            assert_eq!(event["data"], data, "{program:?}");
        }
    }
}

#[tokio::test]
async fn cosign_s_tags_and_what_an_index_states_are_links_too() {
    let (registry, receiver) = (Registry::v2().await, Receiver::start().await);
    let proxy = telling(&registry.url(), &webhook(&receiver, "")).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    let signature = bare_image("signature");
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = through.put_manifest("app", &tag, IMAGE, &signature).await;
    let attestation = through.push_image("app", "attestation", "attestation").await;
    let stated =
        json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest});
    let listing = index([image.descriptor(), attestation.annotated(stated)]);
    through.put_manifest("app", "v2", INDEX, &listing).await;
    let data: Vec<Value> = receiver
        .receives(2)
        .await
        .iter()
        .map(|event| event["data"].clone())
        .collect();
    for (data, referrer, dialect) in [
        (&data[0], &signature, "cosign-tag"),
        (&data[1], &attestation, "buildkit"),
    ] {
        assert_eq!(data["subject"], image.digest);
        assert_eq!(data["referrer"]["digest"], referrer.digest);
        assert_eq!(data["dialects"], json!([dialect]));
    }
    assert_eq!(data[0]["referrer"]["artifactType"], SIGNATURE);
}

#[tokio::test]
async fn an_artifact_in_an_envelope_is_told_by_the_digest_that_it_was_pushed_by() {
    let (registry, receiver) = (Registry::v2().await, Receiver::start().await);
    let proxy = telling(&registry.url(), &webhook(&receiver, "")).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    let media_type = refshim::testing::oci::media_type::OCI_ARTIFACT_MANIFEST;
    let manifest = json!({
        "mediaType": media_type, "artifactType": SBOM, "blobs": [empty_descriptor()], "subject": image.descriptor(),
    });
    let sealed = through.put_manifest("app", "sbom", media_type, &manifest).await;
    let data = receiver.receives(1).await.remove(0)["data"].take();
    assert_eq!(data["referrer"]["digest"], sealed.digest);
    assert_eq!(data["dialects"], json!(["proposal-a", "proposal-d-tag"]));
}

#[tokio::test]
async fn a_registry_that_keeps_links_itself_is_named() {
    let receiver = Receiver::start().await;
    let mut knobs = Knobs {
        referrers: Referrers::Native(Native::default()),
        ..Knobs::default()
    };
    knobs.pushes.says_subject = true;
    let fake = Fake::start(knobs).await;
    let proxy = telling(&fake.url(), &webhook(&receiver, "")).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    through.referrers("app", &image.digest).await;
    through.push_artifact("app", &image, SBOM, "sbom").await;
    let event = receiver.receives(1).await.remove(0);
    assert_eq!(event["data"]["dialects"], json!(["subject", "native"]));
}

#[tokio::test]
async fn what_failed_or_was_refused_or_links_nothing_is_not_told() {
    let (registry, receiver) = (Registry::v2().await, Receiver::start().await);
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = telling(link.url(), &webhook(&receiver, "")).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
    // The manifest is stored, and its link is not; the registry fails; it refuses.
    for (fault, fails) in [
        (Fault::status(403), "/manifests/sha256-"),
        (Fault::Close, "/manifests/sha256-"),
        (Fault::status(503), "/manifests/sha256:"),
        (Fault::status(403), "/manifests/sha256:"),
    ] {
        link.fail(fault, move |seen| seen.method == "PUT" && seen.path.contains(fails));
        let reply = through.put_bytes("app", &sbom.digest, &sbom).await;
        assert!(reply.status >= 400, "{reply:?}");
        link.heal();
    }
    let condition = [("content-type", IMAGE), ("if-match", "\"another\"")];
    let path = "/v2/app/manifests/latest";
    through.send(Method::PUT, path, &condition, sbom.bytes.slice(1..)).await;
    through.push_image("app", "v2", "two").await;
    through.put_bytes("app", &sbom.digest, &sbom).await.expect_status(201);
    nothing_but(&receiver, &sbom).await;
}

/// A client that does not wait for the answer has linked all the same.
#[tokio::test]
async fn who_hangs_up_when_the_link_is_written_is_told_of() {
    let (registry, receiver) = (Registry::v2().await, Receiver::start().await);
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = telling(link.url(), &webhook(&receiver, "")).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "one").await;
    let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
    // The tag that the push asks for comes after its links.
    let gate = link.hold(|seen| seen.method == "PUT" && seen.path.ends_with("/manifests/asked"));
    let path = format!("/v2/app/manifests/{}?tag=asked", sbom.digest);
    let headers = [("content-type", IMAGE)];
    tokio::select! {
        reply = through.send(Method::PUT, &path, &headers, sbom.bytes.clone()) => panic!("{reply:?}"),
        () = gate.reached_by(1) => {}
    }
    let event = receiver.receives(1).await.remove(0);
    assert_eq!(event["data"]["referrer"]["digest"], sbom.digest);
}
