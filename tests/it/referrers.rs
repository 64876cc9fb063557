//! The first job: `/referrers/<digest>` in front of registries that have none.

use crate::support;
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry, eventually};
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const SCAN: &str = "application/vnd.acme.scan.v1+json";
const ZERO: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

async fn legacy() -> (Registry, Endpoint, Refshim) {
    let registry = Registry::v2().await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let straight = registry.endpoint();
    (registry, straight, refshim)
}

#[tokio::test]
async fn entries_are_built_from_the_manifests_themselves() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let mut manifest = artifact(&image, SBOM, "sbom");
    manifest["annotations"]["org.acme.scanner"] = "x".into();
    let sbom = straight.put_manifest("app", "", IMAGE, &manifest).await;
    straight
        .put_tag("app", &sbom.proposal_d_tag(&image, "sbom"), &sbom)
        .await;

    let expected = json!({
        "mediaType": IMAGE,
        "digest": sbom.digest,
        "size": sbom.size(),
        "artifactType": SBOM,
        "annotations": manifest["annotations"],
    });
    assert_eq!(refshim.endpoint().referrers("app", &image.digest).await, [expected]);
}

/// On GHCR, stored indexes type valid bundles as `application/vnd.oci.empty.v1+json`, and verifiers find no signature.
#[tokio::test]
async fn a_stored_index_that_lies_is_corrected() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let bundle = straight
        .push_artifact("app", &image, "application/vnd.dev.sigstore.bundle.v0.3+json", "bundle")
        .await;
    let mut lie = bundle.annotated(json!({"org.acme.lie": "yes"}));
    lie["artifactType"] = "application/vnd.oci.empty.v1+json".into();
    lie["size"] = json!(bundle.size());
    straight
        .put_manifest("app", &image.referrers_tag(), INDEX, &index([lie]))
        .await;

    let listed = refshim.endpoint().referrers("app", &image.digest).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0]["artifactType"],
        "application/vnd.dev.sigstore.bundle.v0.3+json"
    );
    assert_eq!(
        listed[0]["annotations"],
        json!({"org.opencontainers.image.title": "bundle"})
    );
}

#[tokio::test]
async fn newest_first_undated_last_each_once() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let mut pushed = Vec::new();
    for (name, created) in [
        ("old", "2023-01-01T00:00:00Z"),
        ("undated", ""),
        ("new", "2024-06-01T02:00:00+02:00"),
    ] {
        let mut manifest = artifact(&image, SBOM, name);
        if !created.is_empty() {
            manifest["annotations"]["org.opencontainers.image.created"] = created.into();
        }
        let referrer = straight.put_manifest("app", "", IMAGE, &manifest).await;
        // Found twice: by its tag and behind an ordinary one.
        straight
            .put_tag("app", &referrer.proposal_d_tag(&image, "sbom"), &referrer)
            .await;
        straight.put_tag("app", name, &referrer).await;
        pushed.push(referrer.digest);
    }
    let listed = refshim.endpoint().referrers("app", &image.digest).await;
    let digests: Vec<&str> = listed.iter().filter_map(|d| d["digest"].as_str()).collect();
    assert_eq!(digests, [&pushed[2], &pushed[0], &pushed[1]]);
}

#[tokio::test]
async fn what_has_no_referrers_is_an_empty_list() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    for (repository, digest) in [
        ("app", image.digest.as_str()),
        ("app", ZERO),
        ("nobody/pushed/this", ZERO),
    ] {
        assert_eq!(
            refshim.endpoint().referrers(repository, digest).await,
            [] as [Value; 0],
            "{repository}@{digest}"
        );
    }
}

#[tokio::test]
async fn a_repository_without_tags_is_an_empty_list() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let image = registry.endpoint().push_image("app", "v1", "image").await;
        registry
            .endpoint()
            .delete(&format!("/v2/app/manifests/{}", image.digest))
            .await
            .expect_status(202);
        // 2.8.2 now says `"tags": null`.
        assert_eq!(
            refshim.endpoint().referrers("app", &image.digest).await,
            [] as [Value; 0],
            "{program:?}"
        );
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_an_oci_error() {
    let (_registry, straight, refshim) = legacy().await;
    straight.push_image("app", "v1", "image").await;
    for digest in ["v1", "sha256:abc", "sha256:", "sha256:0000g", &ZERO.replace('0', "A")] {
        let reply = refshim.endpoint().referrers_reply("app", digest).await;
        assert_eq!(
            (reply.status, reply.error_code().as_str()),
            (400, "DIGEST_INVALID"),
            "{digest}"
        );
    }
}

#[tokio::test]
async fn filtering_by_artifact_type_is_done_here_and_said_so() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let sbom = straight.attach("app", &image, SBOM, "sbom").await;
    straight.attach("app", &image, SCAN, "scan").await;
    let through = refshim.endpoint();
    let ask = async |query: &str| through.get(&format!("/v2/app/referrers/{}{query}", image.digest)).await;
    let digests = |reply: &support::Reply| -> Vec<String> {
        let index = reply.json();
        let listed = index["manifests"].as_array().cloned().unwrap_or_default();
        listed
            .iter()
            .map(|d| d["digest"].as_str().unwrap_or_default().to_owned())
            .collect()
    };

    // A raw plus is a plus; clients do not agree on encoding it.
    for written in [SBOM.to_owned(), SBOM.replace('/', "%2F").replace('+', "%2B")] {
        let reply = ask(&format!("?artifactType={written}")).await;
        assert_eq!(digests(&reply), std::slice::from_ref(&sbom.digest));
        assert_eq!(reply.header("oci-filters-applied"), Some("artifactType"));
        let annotations = &reply.json()["annotations"];
        assert_eq!(
            annotations["org.opencontainers.references.filtersApplied"],
            "artifactType"
        );
        assert_eq!(
            annotations["org.opencontainers.referrers.filtersApplied"],
            "artifactType"
        );
    }
    let both = ask(&format!("?artifactType={SBOM}&artifactType={SCAN}")).await;
    assert_eq!(digests(&both).len(), 2, "repeated means or");
    assert_eq!(digests(&ask("?artifactType=application/none").await), [] as [String; 0]);
    let unfiltered = ask("?unknown=parameter").await;
    assert_eq!(digests(&unfiltered).len(), 2);
    assert_eq!(unfiltered.header("oci-filters-applied"), None);
}

#[tokio::test]
async fn the_answer_can_be_headed_and_validated() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let path = format!("/v2/app/referrers/{}", image.digest);
    let through = refshim.endpoint();
    let full = through
        .get_with(&path, &[("accept", "text/html"), ("accept-encoding", "gzip")])
        .await
        .expect_status(200);
    assert_eq!(full.header("content-type"), Some(INDEX), "exact, whatever Accept says");
    assert_eq!(full.header("content-encoding"), None);
    let length = full.body.len().to_string();
    assert_eq!(full.header("content-length"), Some(length.as_str()));
    if let Some(digest) = full.header("docker-content-digest") {
        assert_eq!(digest, refshim::testing::oci::Digest::sha256(&full.body).to_string());
    }

    let head = through.head(&path).await.expect_status(200);
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some(length.as_str()), 0)
    );
    assert_eq!(head.header("content-type"), Some(INDEX));

    let etag = full.header("etag").expect("an ETag").to_owned();
    let unchanged = through.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    through
        .get_with(&path, &[("if-none-match", "\"other\"")])
        .await
        .expect_status(200);
}

#[tokio::test]
async fn a_tag_that_only_looks_like_a_link_is_none() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let innocent = straight.push_image("app", "innocent", "innocent").await;
    let hex = image.hex();
    for tag in [
        format!("sha256-{hex}.zip"),
        format!("sha256-{hex}.sig.old"),
        format!("sha256-{hex}.sig-backup"),
        format!("sha256-{}", &hex[..12]),
        format!("sha256-{hex}0.sig"),
        format!("release-sha256-{hex}.sig"),
        format!("sha256-{}.sig", hex.to_uppercase()),
        format!("md5-{}.sig", &hex[..32]),
    ] {
        straight.put_tag("app", &tag, &innocent).await;
    }
    assert_eq!(
        refshim.endpoint().referrers("app", &image.digest).await,
        [] as [Value; 0]
    );
}

/// A tag is a hint: what the manifest says of its own subject decides.
#[tokio::test]
async fn a_tag_of_one_subject_on_a_referrer_of_another_is_not_believed() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let other = straight.push_image("app", "v2", "other").await;
    let sbom = straight.push_artifact("app", &other, SBOM, "sbom").await;
    for subject in [&image, &other] {
        let tag = sbom.proposal_d_tag(subject, "sbom");
        straight.put_tag("app", &tag, &sbom).await;
    }
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    assert_eq!(through.referrer_digests("app", &other.digest).await, [sbom.digest]);
}

#[tokio::test]
async fn a_listed_manifest_that_is_gone_is_dropped_and_a_broken_one_hides_no_other() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let kept = straight.push_artifact("app", &image, SBOM, "kept").await;
    let gone = straight.push_artifact("app", &image, SBOM, "gone").await;
    let stored = index([kept.descriptor(), gone.descriptor()]);
    straight
        .put_manifest("app", &image.referrers_tag(), INDEX, &stored)
        .await;
    straight
        .delete(&format!("/v2/app/manifests/{}", gone.digest))
        .await
        .expect_status(202);
    // An ordinary image under a link tag: no subject in it contradicts the tag.
    let plain = straight.put_manifest("app", "", IMAGE, &bare_image("plain")).await;
    straight
        .put_tag("app", &plain.proposal_d_tag(&image, "x"), &plain)
        .await;

    let mut expected = [kept.digest, plain.listed(&image, None).digest];
    expected.sort();
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &image.digest).await,
        expected
    );
}

/// Of a manifest without a tag, refshim knows by its own traffic alone: nothing but the registry says that it is still there.
#[tokio::test]
async fn what_only_passed_through_is_listed_until_it_is_gone() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let refshim = Refshim::builder(&registry.url())
        .env("REFSHIM_CACHE__FRESH_FOR", "0s")
        .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
        .start()
        .await;
    let through = refshim.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let untagged = straight
        .push_artifact("app", &image, "application/x-a", "untagged")
        .await;
    assert!(through.referrers("app", &image.digest).await.is_empty());

    through.manifest("app", &untagged.digest).await.expect_status(200);
    eventually("the manifest is learned from", async || {
        (through.referrers("app", &image.digest).await.len() == 1).then_some(())
    })
    .await;
    let path = format!("/v2/app/manifests/{}", untagged.digest);
    straight.delete(&path).await.expect_status(202);
    assert!(through.referrers("app", &image.digest).await.is_empty());
}

/// A needed manifest whose bytes are not those of its digest is not evidence of anything.
#[tokio::test]
async fn bytes_are_checked_against_their_digest() {
    let registry = Registry::v2().await;
    let proxy = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = Refshim::in_front_of(proxy.url()).await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let sbom = straight.push_artifact("app", &image, SBOM, "sbom").await;
    straight
        .put_manifest("app", &image.referrers_tag(), INDEX, &index([sbom.descriptor()]))
        .await;
    let forged = Pushed::of(IMAGE, &artifact(&image, "application/forged", "forged"));
    let body = String::from_utf8(forged.bytes.to_vec()).unwrap();
    let wanted = sbom.digest.clone();
    let headers = [("content-type", IMAGE), ("docker-content-digest", &wanted)];
    proxy.fail(Fault::answer(200, &headers, &body), move |seen| {
        seen.path.ends_with(&sbom.digest)
    });

    let reply = refshim.endpoint().referrers_reply("app", &image.digest).await;
    assert!(!reply.text().contains("application/forged"), "{reply:?}");
}

#[tokio::test]
async fn ten_thousand_tags_hide_nothing() {
    for program in Program::ALL {
        let registry = Registry::builder(program).in_memory().start().await;
        let straight = registry.endpoint();
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let image = straight.push_image("app", "v1", "image").await;
        let first = straight.attach("app", &image, SBOM, "first").await;
        let last = straight.attach("app", &image, SCAN, "last").await;
        // Before, between and after the subject's own in any order; 5,000 of them links of other subjects.
        let others = (0..5_000).map(|n| {
            let subject = refshim::testing::oci::Digest::sha256(format!("subject {n}").as_bytes());
            (
                format!("sha256-{}.0123456789abcdef.sig", subject.encoded()),
                image.digest.as_str(),
            )
        });
        let builds = (0..5_000).map(|n| (format!("build-{n:05}"), image.digest.as_str()));
        registry.write_tags("app", others.chain(builds));

        let mut expected = [first.digest.clone(), last.digest.clone()];
        expected.sort();
        for ask in ["cold", "warm"] {
            assert_eq!(
                refshim.endpoint().referrer_digests("app", &image.digest).await,
                expected,
                "{program:?} {ask}"
            );
        }
    }
}

#[tokio::test]
async fn both_http_versions_are_spoken_to_callers() {
    let (_registry, straight, refshim) = legacy().await;
    let image = straight.push_image("app", "v1", "image").await;
    let through = refshim.endpoint().h2c();
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    assert_eq!(through.manifest("app", "v1").await.expect_status(200).body, image.bytes);
}
