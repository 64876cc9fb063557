//! What is not adopted is listed as it is.

use serde_json::json;

use super::{Signed, sign};
use crate::support::content::{BUILDKIT, IMAGE, INDEX, bare_image, empty_descriptor, index};
use crate::support::fake::{Fake, Knobs};
use crate::support::{Local, Program, Pushed, Refshim, Registry};

/// A signature of a bill of materials names that one's own digest.
#[tokio::test]
async fn what_something_refers_to_keeps_its_digest() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let tag = format!("{}.sbom", image.referrers_tag());
    let sbom = straight.put_manifest("app", &tag, IMAGE, &bare_image("sbom")).await;
    let signature = sign(&straight, &sbom).await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint();
    let digests = through.referrer_digests("app", &image.digest).await;
    assert_eq!(digests, [&*sbom.digest]);
    // What signs it is adopted in its turn.
    let adopted = signature.adopted(&sbom, Some("application/vnd.dev.cosign.artifact.sig.v1+json"));
    assert_eq!(through.referrer_digests("app", &sbom.digest).await, [adopted.digest]);
    // Whoever was told of its adopted form before is given that, with what refers to it.
    let adopted = sbom.adopted(&image, Some("application/vnd.dev.cosign.artifact.sbom.v1+json"));
    through.manifest("app", &adopted.digest).await.expect_status(200);
}

/// A signature of the adopted form, or of its original, is found by either.
#[tokio::test]
async fn what_refers_to_an_adopted_form_or_its_original_is_found_by_the_adopted_digest() {
    let signed = Signed::new(Program::V2).await;
    let refshim = Local::configured(&signed.registry.url(), |config| {
        config.links.depth = refshim::testing::config::Depth::Names
    })
    .await;
    let through = refshim.endpoint();
    let adopted = signed.adopted();
    assert_eq!(
        through.referrer_digests("app", &signed.image.digest).await,
        [&*adopted.digest]
    );
    let of_adopted = through
        .push_artifact("app", &adopted, "application/vnd.acme", "of the adopted")
        .await;
    let of_original = through
        .push_artifact("app", &signed.signature, "application/vnd.acme", "of the original")
        .await;
    let mut expected = [of_adopted.digest, of_original.digest];
    expected.sort();
    assert_eq!(through.referrer_digests("app", &adopted.digest).await, expected);
}

#[tokio::test]
async fn dockers_types_are_listed_as_they_are() {
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    straight.push_blob("app", "{}").await;
    let manifest = |title: &str| {
        let mut config = empty_descriptor();
        config["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
        json!({"schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": [], "annotations": {"a": title}})
    };
    let image = straight.put_manifest("app", "", DOCKER, &manifest("image")).await;
    let attestation = straight.put_manifest("app", "", DOCKER, &manifest("attestation")).await;
    let mut listed = image.descriptor();
    listed["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let mut entry = attestation.annotated(json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest,
    }));
    entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": [listed, entry]});
    straight.put_manifest("app", "v1", LIST, &list).await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let entries = refshim.endpoint().referrers("app", &image.digest).await;
    assert_eq!(entries[0]["digest"], *attestation.digest, "{entries:?}");
    assert_eq!(entries[0]["artifactType"], BUILDKIT);
}

/// Without the subject's type and size there is nothing to be added. Nothing is left out either.
#[tokio::test]
async fn without_its_subject_it_is_listed_as_it_is() {
    let fake = Fake::start(Knobs::default()).await;
    let absent = Pushed::of(IMAGE, &bare_image("never pushed"));
    fake.image("app", "v1", "bystander");
    let tag = format!("{}.sig", absent.referrers_tag());
    let signature = fake.put("app", &tag, IMAGE, &bare_image("signature"));
    let refshim = Local::in_front_of(&fake.url()).await;
    let digests = refshim.endpoint().referrer_digests("app", &absent.digest).await;
    assert_eq!(digests, [&*signature.digest]);
}

/// What it lists stays what it is.
#[tokio::test]
async fn an_index_is_adopted_as_a_whole() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let one = straight.push_image("app", "", "one").await;
    let bundle = straight
        .put_manifest("app", "", INDEX, &index([one.descriptor()]))
        .await;
    straight
        .put_tag("app", &bundle.proposal_d_tag(&image, "bundle"), &bundle)
        .await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint();
    let adopted = bundle.adopted(&image, None);
    assert_eq!(through.referrer_digests("app", &image.digest).await, [&*adopted.digest]);
    let given = through.manifest("app", &adopted.digest).await.expect_status(200);
    assert_eq!(given.header("content-type"), Some(INDEX));
    assert_eq!(given.json()["manifests"], json!([one.descriptor()]));
}
