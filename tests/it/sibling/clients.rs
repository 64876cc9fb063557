//! The clients that people use find, write and copy what is kept beside, in front of both registries.

use std::process::Command;

use super::stage::{APP, REFS};
use crate::support::{Endpoint, Program, Refshim, Registry, Tools};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

struct ClientStage {
    registry: Registry,
    refshim: Refshim,
    tools: Tools,
    through: Endpoint,
    digest: String,
}

impl ClientStage {
    async fn new(program: Program) -> Self {
        let registry = Registry::start(program).await;
        let refshim = Refshim::builder(&registry.url())
            .env("REFSHIM_LINKS__REPOSITORY", "{name}.refs")
            .start()
            .await;
        let (tools, through) = (Tools::new(), refshim.endpoint());
        tools.file("layer", "the content of a layer\n");
        let tar = Command::new("tar")
            .args(["-cf", "layer.tar", "layer"])
            .current_dir(tools.folder())
            .status();
        assert!(tar.is_ok_and(|status| status.success()));
        tools.file("sbom.json", "{}");
        let target = through.image(APP, "v1");
        tools
            .crane(&["append", "--oci-empty-base", "-f", "layer.tar", "-t", &target])
            .await
            .ok();
        let digest = tools.crane(&["digest", &target]).await.ok().trim().to_owned();
        Self {
            registry,
            refshim,
            tools,
            through,
            digest,
        }
    }

    fn image(&self) -> String {
        self.through.image(APP, &self.digest)
    }

    async fn straight_tags(&self, repository: &str) -> Vec<String> {
        let reply = self
            .registry
            .endpoint()
            .get(&format!("/v2/{repository}/tags/list"))
            .await;
        let tags = reply.expect_status(200).json();
        tags["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }

    /// The image's repository holds the one tag that its owner gave, and something links beside.
    async fn is_tidy(&self, what: &str) {
        assert_eq!(self.straight_tags(APP).await, ["v1"], "{what}");
        assert!(!self.straight_tags(REFS).await.is_empty(), "{what}");
    }

    async fn verify(&self, repository: Option<&str>, layout: &[&str]) {
        let image = self.image();
        let arguments = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true"];
        let arguments = [&arguments[..], layout, &[&image]].concat();
        let repository = repository.map(|repository| format!("{}/{repository}", self.through.authority()));
        let environment: Vec<_> = repository
            .iter()
            .map(|name| ("COSIGN_REPOSITORY", name.as_str()))
            .collect();
        self.tools.run_with("cosign", &arguments, &environment).await.ok();
    }

    async fn sign_in(&self, repository: &str, layout: &[&str]) {
        self.tools.cosign_key().await;
        let repository = format!("{}/{repository}", self.through.authority());
        let image = self.image();
        let offline = [
            "sign",
            "--key",
            "cosign.key",
            "--yes",
            "--tlog-upload=false",
            "--use-signing-config=false",
        ];
        let arguments = [&offline[..], layout, &[&image]].concat();
        let environment = [("COSIGN_REPOSITORY", repository.as_str())];
        self.tools.run_with("cosign", &arguments, &environment).await.ok();
    }
}

const BY_TAG: [&str; 2] = ["--new-bundle-format=false", "--registry-referrers-mode=legacy"];

#[tokio::test]
async fn oras_attaches_discovers_and_copies() {
    for program in Program::ALL {
        let stage = ClientStage::new(program).await;
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
        assert_eq!(
            stage.through.referrers("copy", &stage.digest).await.len(),
            1,
            "{program:?}"
        );
    }
}

#[tokio::test]
async fn regctl_puts_and_lists_artifacts() {
    for program in Program::ALL {
        let stage = ClientStage::new(program).await;
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
    for program in Program::ALL {
        let stage = ClientStage::new(program).await;
        stage.tools.cosign_sign_bundle(&stage.image()).await;
        stage.is_tidy("cosign sign").await;
        stage.verify(None, &[]).await;
        stage.tools.cosign_sign_by_tag(&stage.image()).await;
        stage.is_tidy("cosign sign by tag").await;
        stage.verify(None, &BY_TAG[..1]).await;
        // Where COSIGN_REPOSITORY names the repository beside, it is the same.
        stage.verify(Some(REFS), &BY_TAG[..1]).await;
        assert_eq!(
            stage.through.referrers(APP, &stage.digest).await.len(),
            2,
            "{program:?}"
        );
    }
}

#[tokio::test]
async fn what_cosign_writes_beside_by_itself_is_found_at_the_image() {
    for program in Program::ALL {
        let stage = ClientStage::new(program).await;
        stage.sign_in(REFS, &BY_TAG).await;
        stage.is_tidy("COSIGN_REPOSITORY").await;
        stage.verify(Some(REFS), &BY_TAG[..1]).await;
        // The same image, by those who know nothing of the repository beside.
        stage.verify(None, &BY_TAG[..1]).await;
        let image = stage.image();
        let target = stage.through.image("copy", "v1");
        stage
            .tools
            .oras(&["cp", "-r", "--from-plain-http", "--to-plain-http", &image, &target])
            .await
            .ok();
        assert_eq!(
            stage.through.referrers("copy", &stage.digest).await.len(),
            1,
            "{program:?}"
        );
        // One more signature of cosign's own, at the image: both are in one place.
        stage.tools.cosign_sign_by_tag(&image).await;
        stage.is_tidy("cosign sign").await;
        stage.verify(Some(REFS), &BY_TAG[..1]).await;
    }
}

#[tokio::test]
async fn what_was_written_is_found_by_a_process_that_starts_anew() {
    let mut stage = ClientStage::new(Program::V2).await;
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
