//! The clients that people use find, write and copy what is kept apart from the images, in front of both registries.

use super::client_stage::{ClientStage, LinksPlace, STAGES};
use super::stage::APP;
use crate::support::Program;

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const BY_TAG: [&str; 2] = ["--new-bundle-format=false", "--registry-referrers-mode=legacy"];

#[tokio::test]
async fn oras_attaches_discovers_and_copies() {
    for at in STAGES {
        let stage = ClientStage::new(at).await;
        let image = stage.image();
        stage
            .tools
            .oras(&["attach", "--plain-http", "--artifact-type", SBOM, &image, "sbom.json"])
            .await
            .ok();
        stage.is_tidy("oras attach").await;
        let found = stage
            .tools
            .oras(&["discover", "--plain-http", "--format", "json", &image])
            .await
            .ok();
        assert!(found.contains(SBOM), "{found}");
        let target = stage.through.image("copy", "v1");
        stage
            .tools
            .oras(&["cp", "-r", "--from-plain-http", "--to-plain-http", &image, &target])
            .await
            .ok();
        assert_eq!(stage.through.referrers("copy", &stage.digest).await.len(), 1, "{at:?}");
    }
}

#[tokio::test]
async fn regctl_puts_and_lists_artifacts() {
    for at in STAGES {
        let stage = ClientStage::new(at).await;
        let (image, authority) = (stage.image(), stage.through.authority().to_owned());
        let put = [
            "artifact",
            "put",
            "--artifact-type",
            SBOM,
            "--subject",
            &image,
            "-f",
            "sbom.json",
        ];
        stage.tools.regctl(&authority, &put).await.ok();
        stage.is_tidy("regctl artifact put").await;
        let list = stage.tools.regctl(&authority, &["artifact", "list", &image]).await.ok();
        assert!(list.contains(SBOM), "{list}");
        let get = ["artifact", "get", "--subject", &image, "--filter-artifact-type", SBOM];
        assert_eq!(stage.tools.regctl(&authority, &get).await.ok(), "{}");
    }
}

#[tokio::test]
async fn cosign_signs_and_verifies_by_bundle_and_by_tag() {
    for at in STAGES {
        let stage = ClientStage::new(at).await;
        stage.tools.cosign_sign_bundle(&stage.image()).await;
        stage.is_tidy("cosign sign").await;
        stage.verify(None, &[]).await;
        stage.tools.cosign_sign_by_tag(&stage.image()).await;
        stage.is_tidy("cosign sign by tag").await;
        stage.verify(None, &BY_TAG[..1]).await;
        // Where COSIGN_REPOSITORY names the repository of the links, it is the same.
        for name in stage.names_of_links() {
            stage.verify(Some(&name), &BY_TAG[..1]).await;
        }
        assert_eq!(stage.through.referrers(APP, &stage.digest).await.len(), 2, "{at:?}");
    }
}

#[tokio::test]
async fn what_cosign_writes_beside_by_itself_is_found_at_the_image() {
    for at in STAGES {
        let stage = ClientStage::new(at).await;
        let [through, past] = stage.names_of_links();
        stage.sign_in(&through, &BY_TAG).await;
        stage.is_tidy("COSIGN_REPOSITORY").await;
        stage.verify(Some(&past), &BY_TAG[..1]).await;
        // The same image, by those who know nothing of the repository beside.
        stage.verify(None, &BY_TAG[..1]).await;
        let image = stage.image();
        let target = stage.through.image("copy", "v1");
        stage
            .tools
            .oras(&["cp", "-r", "--from-plain-http", "--to-plain-http", &image, &target])
            .await
            .ok();
        assert_eq!(stage.through.referrers("copy", &stage.digest).await.len(), 1, "{at:?}");
        // One more signature of cosign's own, at the image: both are in one place.
        stage.tools.cosign_sign_by_tag(&image).await;
        stage.is_tidy("cosign sign").await;
        stage.verify(Some(&through), &BY_TAG[..1]).await;
        // And one past refshim.
        stage.sign_in(&past, &BY_TAG).await;
        stage.verify(None, &BY_TAG[..1]).await;
    }
}

#[tokio::test]
async fn cosign_attests_and_shows_a_tree() {
    for at in STAGES {
        let stage = ClientStage::new(at).await;
        let image = stage.image();
        stage
            .tools
            .cosign_offline("attest", &["--type", "custom", "--predicate", "sbom.json", &image])
            .await;
        stage.is_tidy("cosign attest").await;
        stage.tools.cosign_attest_by_tag(&image, "sbom.json").await;
        stage.is_tidy("cosign attest by tag").await;
        for layout in [&[][..], &BY_TAG[..1]] {
            let arguments = [
                "verify-attestation",
                "--key",
                "cosign.pub",
                "--insecure-ignore-tlog=true",
                "--type",
                "custom",
            ];
            let arguments = [&arguments[..], layout, &[&image]].concat();
            stage.tools.cosign(&arguments).await.ok();
        }
        let tree = stage.tools.cosign(&["tree", &image]).await.ok();
        assert!(tree.contains("Attestations"), "{at:?}: {tree}");
    }
}

#[tokio::test]
async fn crane_and_skopeo_read_and_copy_what_is_named_and_delete_by_their_rights() {
    for at in STAGES {
        let stage = ClientStage::new(at).await;
        let image = stage.image();
        stage.tools.cosign_sign_by_tag(&image).await;
        let put = ["attach", "--plain-http", "--artifact-type", SBOM, &image, "sbom.json"];
        stage.tools.oras(&put).await.ok();
        let listed = stage.through.referrers(APP, &stage.digest).await;
        let sbom = listed.iter().find(|entry| entry["artifactType"] == SBOM).unwrap();
        let sbom = stage.through.image(APP, sbom["digest"].as_str().unwrap());
        let manifest = stage.tools.crane(&["manifest", &sbom]).await.ok();
        assert!(manifest.contains(&stage.digest), "{at:?}: {manifest}");
        let signature = stage
            .through
            .image(APP, &format!("{}.sig", stage.digest.replace(':', "-")));
        for (from, to) in [(&image, "v1"), (&signature, "signature")] {
            stage
                .tools
                .crane(&["copy", from, &stage.through.image("crane", to)])
                .await
                .ok();
            let (from, to) = (format!("docker://{from}"), format!("oci:layout:{to}"));
            stage
                .tools
                .skopeo(&["copy", "--src-tls-verify=false", &from, &to])
                .await
                .ok();
        }
        let deleted = stage.tools.crane(&["delete", &sbom]).await;
        let left = stage.through.referrers(APP, &stage.digest).await.len();
        match at.1 {
            LinksPlace::Beside => {
                deleted.ok();
                assert_eq!(left, 1, "{at:?}");
            }
            LinksPlace::Elsewhere => {
                let said = deleted.failed();
                assert!(said.contains("DENIED") && left == 2, "{said}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_written_is_found_by_a_process_that_starts_anew() {
    let mut stage = ClientStage::new((Program::V2, LinksPlace::Elsewhere)).await;
    stage.tools.cosign_sign_bundle(&stage.image()).await;
    stage.refshim.restart().await;
    stage.verify(None, &[]).await;
    let listed = stage.through.referrers(APP, &stage.digest).await;
    let digest = listed[0]["digest"].as_str().unwrap();
    let blob = stage
        .tools
        .crane(&["manifest", &stage.through.image(APP, digest)])
        .await
        .ok();
    assert!(blob.contains(&stage.digest), "{blob}");
}
