//! Links that lead nowhere or say something wrong, and content that is attached twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Images, SPDX, complete, image, presence};
use crate::support::content::{self, IMAGE, INDEX};
use crate::support::{Endpoint, Program, Pushed, Registry};

/// The faults of the first repository: kind, and the tag or the referrer.
fn faults(report: &Value) -> BTreeSet<(String, String)> {
    let faults = report["repositories"][0]["faults"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    faults
        .map(|fault| {
            let place = text(&fault["tag"]).or(text(&fault["referrer"]));
            (text(&fault["kind"]).unwrap(), place.unwrap())
        })
        .collect()
}

/// An artifact with a layer of its own.
async fn with_layer(endpoint: &Endpoint, subject: &Pushed, title: &str, layer: &str) -> Pushed {
    endpoint.push_blob("app", "{}").await;
    let digest = endpoint.push_blob("app", layer.to_owned()).await;
    let mut manifest = content::artifact(subject, SPDX, title);
    manifest["layers"] = json!([{"mediaType": SPDX, "digest": digest.to_string(), "size": layer.len()}]);
    let pushed = Pushed::of(IMAGE, &manifest);
    let tag = pushed.proposal_d_tag(subject, "sbom");
    endpoint.put_bytes("app", &tag, &pushed).await.expect_status(201);
    pushed
}

#[tokio::test]
async fn broken_links_are_named_and_count_for_nothing() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let endpoint = registry.endpoint();
        let images = Images::push(&endpoint, 0).await;
        // A subject that is gone.
        let gone = endpoint.push_image("app", "gone", "gone").await;
        let of_gone = super::sign(&endpoint, &gone).await;
        endpoint
            .delete(&format!("/v2/app/manifests/{}", gone.digest))
            .await
            .expect_status(202);
        // A list that calls an artifact something else, and lists one of another image.
        let other = endpoint.push_artifact("app", &images.signed, SPDX, "of another").await;
        let described = endpoint.push_artifact("app", &images.amd64, SPDX, "described").await;
        let mut wrong = described.descriptor();
        wrong["artifactType"] = "application/x".into();
        let list = content::index([wrong, other.descriptor()]);
        let tag = images.amd64.referrers_tag();
        endpoint.put_manifest("app", &tag, INDEX, &list).await;
        // An SBOM without its content.
        let plain = endpoint.manifest("app", "plain").await.expect_status(200).json();
        let plain = Pushed::of(IMAGE, &plain);
        let hollow = with_layer(&endpoint, &plain, "hollow", "its content").await;
        let layer = refshim::testing::oci::Digest::sha256(b"its content");
        endpoint
            .delete(&format!("/v2/app/blobs/{layer}"))
            .await
            .expect_status(202);

        let target = format!("{}/app", registry.authority());
        let report = complete(&[&target]).await;
        let expected = [
            ("subject-gone", format!("{}.sig", gone.referrers_tag())),
            ("descriptor-differs", tag.clone()),
            ("other-subject", tag),
            ("blob-gone", hollow.digest.clone()),
        ];
        let expected: BTreeSet<(String, String)> = expected.map(|(kind, place)| (kind.to_owned(), place)).into();
        assert_eq!(faults(&report), expected, "{program:?}: {report:#}");
        assert_eq!(
            presence(image(&report, "plain")),
            ["no", "no", "no"],
            "an SBOM without content is none"
        );
        assert_ne!(of_gone.digest, gone.digest);
        // Nobody asked for the content.
        let skipped = complete(&["--skip-blobs", &target]).await;
        assert_eq!(presence(image(&skipped, "plain")), ["no", "yes", "no"]);
        // The faults of other images are none of this one's.
        let alone = complete(&[&format!("{target}:signed")]).await;
        assert_eq!(faults(&alone), [].into(), "{alone:#}");
    }
}

#[tokio::test]
async fn content_that_is_attached_twice_is_named() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let subject = endpoint.push_image("app", "v1", "v1").await;
    let one = with_layer(&endpoint, &subject, "one", "the same").await;
    let other = with_layer(&endpoint, &subject, "other", "the same").await;
    with_layer(&endpoint, &subject, "third", "something else").await;
    let report = complete(&[&format!("{}/app", registry.authority())]).await;
    let mut digests = [one.digest, other.digest];
    digests.sort();
    let expected = json!([{"subject": subject.digest, "artifactType": SPDX, "referrers": digests}]);
    assert_eq!(report["repositories"][0]["duplicates"], expected);
}
