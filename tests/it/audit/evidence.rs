//! What images have.

use serde_json::{Value, json};

use super::{IN_TOTO, Images, PROVENANCE_STATEMENT, SPDX, audit, complete, image, presence, sign};
use crate::support::content::{self, IMAGE};
use crate::support::{CountingProxy, Endpoint, Program, Pushed, Refshim, Registry};

#[tokio::test]
async fn what_images_have_is_told_with_dialect_and_date() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let images = Images::push(&registry.endpoint(), 2).await;
        let report = complete(&[&format!("{}/app", registry.authority())]).await;
        let tags: Vec<&Value> = report["repositories"][0]["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| &image["tags"][0])
            .collect();
        assert_eq!(tags, ["multi", "plain", "signed"], "{report:#}");
        let signed = image(&report, "signed");
        assert_eq!(signed["digest"], images.signed.digest);
        assert_eq!(presence(signed), ["yes", "yes", "no"], "{program:?}: {signed:#}");
        // A date that nothing states is not made up.
        assert_eq!(
            signed["signature"],
            json!({"presence": "yes", "since": null, "dialects": ["cosign-tag"]})
        );
        let sbom =
            json!({"presence": "yes", "since": "2026-01-02T03:04:05Z", "dialects": ["subject", "referrers-tag"]});
        let dialects = signed["sbom"]["dialects"].as_array().unwrap();
        assert!(dialects.contains(&json!("referrers-tag")), "{signed:#}");
        assert_eq!(signed["sbom"]["since"], sbom["since"]);
        let only = |digest: &str| {
            let referrers = signed["referrers"].as_array().unwrap().iter();
            let mut stored = referrers.filter(|found| [&found["digest"], &found["original"]].contains(&&json!(digest)));
            stored.next().unwrap()["onlyRefshim"].clone()
        };
        assert_eq!(only(&images.signature.digest), true);
        assert_eq!(only(&images.sbom.digest), false);
        assert_eq!(presence(image(&report, "plain")), ["no", "no", "no"]);
        // BuildKit's attestations are those of their platforms, and so of the image where all have them.
        let multi = image(&report, "multi");
        assert_eq!(presence(multi), ["no", "yes", "yes"], "{multi:#}");
        assert_eq!(multi["sbom"]["dialects"], json!(["buildkit"]));
        let platforms: Vec<(&str, [&str; 3])> = multi["platforms"]
            .as_array()
            .unwrap()
            .iter()
            .map(|platform| (platform["platform"].as_str().unwrap(), presence(platform)))
            .collect();
        assert_eq!(
            platforms,
            [
                ("linux/amd64", ["no", "yes", "yes"]),
                ("linux/arm/v7", ["no", "yes", "yes"])
            ]
        );
        let faults = &report["repositories"][0]["faults"];
        assert_eq!(faults, &json!([]), "{program:?}");
    }
}

#[tokio::test]
async fn an_image_has_what_all_of_its_platforms_have_but_must_be_signed_itself() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let images = Images::push(&endpoint, 1).await;
    let target = format!("{}/app:multi", registry.authority());
    // One of the two platforms has no SBOM.
    let (report, ended) = audit(&["--require", "sbom", &target]).await;
    assert_eq!(image(&report, "multi")["missing"], json!(["sbom"]));
    let refused = "1 of 1 images lack what is required, such as";
    assert!(ended.code == Some(1) && ended.stderr.contains(refused), "{ended:?}");
    assert!(!ended.stderr.contains("UNKNOWN"), "{ended:?}");

    for platform in [&images.amd64, &images.arm] {
        sign(&endpoint, platform).await;
    }
    let (report, ended) = audit(&["--require", "signature", &target]).await;
    assert_eq!(
        (ended.code, presence(image(&report, "multi"))[0]),
        (Some(1), "no"),
        "{report:#}"
    );
    sign(&endpoint, &images.index).await;
    complete(&["--require", "signature", &target]).await;
    complete(&["--require", "signature", "--each-platform", &target]).await;

    // An SBOM of the index is one of the image, and none of its platforms'.
    endpoint.attach("app", &images.index, SPDX, "sbom of all").await;
    complete(&["--require", "signature,sbom", &target]).await;
    let (report, ended) = audit(&["--require", "signature,sbom", "--each-platform", &target]).await;
    assert_eq!(
        (ended.code, &image(&report, "multi")["missing"]),
        (Some(1), &json!(["sbom"]))
    );
}

/// An artifact with one layer of this content.
async fn with_layer(endpoint: &Endpoint, subject: &Pushed, artifact_type: &str, media_type: &str, content: &str) {
    let digest = endpoint.push_blob("app", content.to_owned()).await;
    let mut manifest = content::artifact(subject, artifact_type, content);
    manifest["layers"] = json!([{"mediaType": media_type, "digest": digest.to_string(), "size": content.len()}]);
    let pushed = Pushed::of(IMAGE, &manifest);
    let tag = pushed.proposal_d_tag(subject, "x");
    endpoint.put_bytes("app", &tag, &pushed).await.expect_status(201);
}

/// Older attestations say only in their content what they state.
#[tokio::test]
async fn a_statement_that_no_annotation_names_is_read() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    let provenance = endpoint.push_image("app", "provenance", "provenance").await;
    let statement = json!({"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicate": {},
        "predicateType": PROVENANCE_STATEMENT});
    with_layer(&endpoint, &provenance, IN_TOTO, IN_TOTO, &statement.to_string()).await;
    let report = complete(&[&format!("{}/app", registry.authority())]).await;
    assert_eq!(presence(image(&report, "provenance")), ["no", "no", "yes"]);

    // What nobody can read may be anything.
    let unclear = endpoint.push_image("app", "unclear", "unclear").await;
    with_layer(&endpoint, &unclear, IN_TOTO, IN_TOTO, "not JSON").await;
    let target = format!("{}/app:unclear", registry.authority());
    for arguments in [&["--require", "provenance", &target][..], &[&target]] {
        let (report, ended) = audit(arguments).await;
        assert_eq!(presence(image(&report, "unclear"))[2], "unknown");
        assert_eq!(image(&report, "unclear")["missing"], json!([]));
        assert!(ended.code == Some(1) && ended.stderr.contains("UNKNOWN"), "{ended:?}");
    }
}

#[tokio::test]
async fn through_a_refshim_an_image_has_the_same() {
    let registry = Registry::v2().await;
    let images = Images::push(&registry.endpoint(), 2).await;
    registry
        .endpoint()
        .attach("app", &images.index, SPDX, "by its tag")
        .await;
    let proxy = Refshim::in_front_of(&registry.url()).await;
    let direct = complete(&[&format!("{}/app", registry.authority())]).await;
    let through = complete(&[&format!("{}/app", proxy.endpoint().authority())]).await;
    for tag in ["signed", "multi", "plain"] {
        assert_eq!(presence(image(&direct, tag)), presence(image(&through, tag)), "{tag}");
    }
    assert_eq!(through["repositories"][0]["throughRefshim"], true);
    assert_eq!(image(&through, "signed")["referrers"][0]["onlyRefshim"], Value::Null);
}

#[tokio::test]
async fn by_names_nothing_is_read_behind_other_tags() {
    let registry = Registry::v3().await;
    let endpoint = registry.endpoint();
    Images::push(&endpoint, 0).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let target = format!("{}/app:signed", Endpoint::new(link.url()).authority());
    let report = complete(&["--depth", "names", "--require", "signature,sbom", &target]).await;
    assert_eq!(report["repositories"][0]["depth"], "names");
    let read = link.count(|seen| seen.path.ends_with("/manifests/plain") || seen.path.ends_with("/manifests/multi"));
    assert_eq!(read, 0);
    complete(&["--require", "signature,sbom", &target]).await;
    assert!(link.count(|seen| seen.path.ends_with("/manifests/plain")) > 0);
}
