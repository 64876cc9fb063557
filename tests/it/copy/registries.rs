//! From registry to registry: what arrives, in which dialect, and what it costs.

use http::Method;
use serde_json::json;

use super::{SPDX, SignedImage, copy, tags};
use crate::support::cli::refshim;
use crate::support::content::{self, IMAGE};
use crate::support::fake::knobs::Pushes;
use crate::support::fake::{Fake, Knobs, profiles};
use crate::support::{CountingProxy, Program, Registry};

#[tokio::test]
async fn every_link_of_every_dialect_arrives() {
    for program in Program::ALL {
        let (source, destination) = (Registry::v2().await, Registry::start(program).await);
        let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
        let from = format!("{}/app:v1", source.authority());
        let report = copy(&[&from, &format!("{}/team/app:copy", destination.authority())]).await;
        assert_eq!(report["images"][0]["outcome"], "copied", "{report}");
        assert_eq!(report["images"][0]["cosignTags"], json!([image.cosign_tag()]));
        image.is_at(&destination.endpoint(), "team/app", "copy").await;
    }
}

#[tokio::test]
async fn what_is_there_is_skipped_and_costs_no_write() {
    let (source, registry) = (Registry::v2().await, Registry::v3().await);
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let destination = CountingProxy::in_front_of(&registry.url()).await;
    let from = format!("{}/app:v1", source.authority());
    let to = format!("{}/app", destination.url());
    copy(&[&from, &to]).await;
    destination.take();

    let again = copy(&[&from, &to]).await;
    assert_eq!(again["images"][0]["outcome"], "unchanged", "{again}");
    let asked = destination.take();
    assert!(
        asked
            .iter()
            .all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")),
        "{asked:#?}"
    );
    // A question for each manifest (9) and blob (2) and for the two tags, and what finding the referrers of three subjects costs.
    assert!(asked.len() <= 45, "{}: {asked:#?}", asked.len());

    // A signature that came since is all that is written.
    let late = source.endpoint().attach("app", &image.index, SPDX, "late").await;
    let report = copy(&[&from, &to]).await;
    assert_eq!(report["images"][0]["manifests"]["written"], 1, "{report}");
    assert_eq!(report["images"][0]["blobs"]["written"], 0, "{report}");
    registry
        .endpoint()
        .manifest("app", &late.digest)
        .await
        .expect_status(200);
}

#[tokio::test]
async fn a_registry_with_the_api_gets_no_tags_for_what_it_lists() {
    let source = Registry::v2().await;
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let fake = Fake::start(profiles::keeping_links()).await;
    for form in [&[][..], &["--as", "api"]] {
        let from = format!("{}/app:v1", source.authority());
        let repository = format!("app{}", form.len());
        let to = format!("{}/{repository}", fake.url());
        copy(&[&[from.as_str(), &to], form].concat()).await;
        image.is_at(&fake.endpoint(), &repository, "v1").await;
        // Those that state no subject need a tag all the same.
        let tag = image.tagged.proposal_d_tag(&image.index, "");
        let link_tags = fake
            .tags(&repository)
            .into_iter()
            .filter(|tag| tag.starts_with("sha256-"));
        let link_tags: Vec<String> = link_tags.collect();
        assert_eq!(link_tags.len(), 2, "{link_tags:?}");
        assert!(link_tags.contains(&image.cosign_tag()), "{link_tags:?}");
        assert!(link_tags.iter().any(|link| link.starts_with(&tag)), "{link_tags:?}");
    }
}

#[tokio::test]
async fn links_are_written_in_the_dialect_that_is_asked_for() {
    let (source, destination) = (Registry::v2().await, Registry::v3().await);
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let (from, endpoint) = (format!("{}/app:v1", source.authority()), destination.endpoint());
    for form in ["proposal-d", "referrers-tag"] {
        let to = format!("{}/{form}", destination.authority());
        copy(&[&from, &to, "--as", form]).await;
        image.is_at(&endpoint, form, "v1").await;
        let tags = tags(&endpoint, form).await;
        assert_eq!(
            tags.contains(&image.index.referrers_tag()),
            form == "referrers-tag",
            "{tags:?}"
        );
        let link = image.sbom.proposal_d_tag(&image.index, "sbom");
        assert_eq!(tags.contains(&link), form == "proposal-d", "{tags:?}");
    }
    let to = format!("{}/api", destination.authority());
    let error = refshim(&["copy", &from, &to, "--as", "api"]).await.refused(1);
    assert!(
        error.contains("no referrers API") && error.contains("leave out --as api"),
        "{error}"
    );
    assert!(tags(&endpoint, "api").await.is_empty(), "the tag comes last");
}

#[tokio::test]
async fn blobs_are_mounted_within_a_registry() {
    let registry = Registry::v2().await;
    let image = SignedImage::push(&registry.endpoint(), "app", "v1").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let report = copy(&[&format!("{}/app:v1", link.url()), &format!("{}/mirror/app", link.url())]).await;
    assert_eq!(
        report["images"][0]["mounted"], report["images"][0]["blobs"]["total"],
        "{report}"
    );
    assert_eq!(report["images"][0]["bytes"], 0);
    assert_eq!(
        link.count(|seen| seen.method == Method::PUT && seen.path.contains("/blobs/")),
        0
    );
    image.is_at(&registry.endpoint(), "mirror/app", "v1").await;
}

#[tokio::test]
async fn manifests_of_proposals_go_into_envelopes_and_out_of_them() {
    let (source, destination) = (Registry::v2().await, Registry::v3().await);
    let proxy = crate::support::Refshim::in_front_of(&source.url()).await;
    let through = proxy.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    let media_type = "application/vnd.oci.artifact.manifest.v1+json";
    let artifact = json!({"mediaType": media_type, "artifactType": "x/y", "blobs": [content::empty_descriptor()],
        "subject": image.descriptor()});
    let artifact = through.put_manifest("app", "", media_type, &artifact).await;

    copy(&[
        &format!("{}/app:v1", source.authority()),
        &format!("{}/app", destination.authority()),
    ])
    .await;
    let other = crate::support::Refshim::in_front_of(&destination.url()).await;
    let listed = other.endpoint().referrer_digests("app", &image.digest).await;
    assert_eq!(listed, std::slice::from_ref(&artifact.digest));
    let stored = other
        .endpoint()
        .manifest("app", &artifact.digest)
        .await
        .expect_status(200);
    assert_eq!((stored.body, IMAGE), (artifact.bytes, IMAGE));
}

#[tokio::test]
async fn blobs_may_be_kept_elsewhere_and_tags_be_immutable() {
    let source = Fake::start(profiles::ghcr()).await;
    source.blob("o/app", "{}");
    let image = source.image("o/app", "v1", "image");
    source.tagged_artifact("o/app", &image, SPDX, "sbom");
    let fake = Fake::start(Knobs {
        pushes: Pushes {
            immutable_tags: true,
            ..Pushes::default()
        },
        ..Knobs::default()
    })
    .await;
    let (from, to) = (format!("{}/o/app:v1", source.url()), format!("{}/o/app", fake.url()));
    let error = refshim(&["copy", &from, &to]).await.refused(1);
    assert!(error.contains("redirect_hosts"), "{error}");
    // Its storage is on a private address.
    let arguments = ["--redirect-hosts", "127.0.0.2", &from, &to];
    copy(&arguments).await;
    let again = copy(&arguments).await;
    assert_eq!(again["images"][0]["outcome"], "unchanged", "{again}");
    let listed = refshim(&["referrers", "--output", "json", &format!("{to}:v1")])
        .await
        .json();
    assert_eq!(super::digests(&listed).len(), 1);
}
