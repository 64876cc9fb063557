//! Promise: copying is migrating. What clients copy from refshim into a registry with the referrers API has every signature as a
//! referrer, verifies there, and does so again once it is copied back into a registry without, through refshim.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::content::{SBOM, SIGNATURE};
use crate::support::fake::Fake;
use crate::support::fake::knobs::{Knobs, Native, Pushes, Referrers};
use crate::support::{Endpoint, Refshim, Registry, Tools};

/// A registry without the API, a copy with it, and a second one without it; refshim before both of those.
struct Stage {
    _legacy: (Registry, Registry),
    modern: Fake,
    refshims: (Refshim, Refshim),
    tools: Tools,
}

impl Stage {
    /// `app:v1` and `app:both`, an index of two images: each image and the index signed by cosign's tags, `v1` with a bill of materials.
    async fn new() -> Self {
        let legacy = tokio::join!(Registry::v2(), Registry::v2());
        let (from, to) = (legacy.0.url(), legacy.1.url());
        let refshims = tokio::join!(Refshim::in_front_of(&from), Refshim::in_front_of(&to));
        let modern = Fake::start(Knobs {
            referrers: Referrers::Native(Native {
                media_type: "application/vnd.oci.image.index.v1+json",
                ..Native::default()
            }),
            pushes: Pushes {
                says_subject: true,
                ..Pushes::default()
            },
            ..Knobs::default()
        })
        .await;
        let stage = Self {
            _legacy: legacy,
            modern,
            refshims,
            tools: Tools::new(),
        };
        stage.fill().await;
        stage
    }

    async fn fill(&self) {
        let (tools, from) = (&self.tools, self.from());
        tools.file("layer", "the content of a layer\n");
        let tar = Command::new("tar")
            .args(["-cf", "layer.tar", "layer"])
            .current_dir(tools.folder())
            .status();
        assert!(tar.is_ok_and(|status| status.success()));
        for (tag, base) in [("v1", "linux/amd64"), ("v2", "linux/arm64")] {
            let image = from.image("app", tag);
            let append = [
                "append",
                "--oci-empty-base",
                "-f",
                "layer.tar",
                "-t",
                &image,
                "--platform",
                base,
            ];
            tools.crane(&append).await.ok();
            let label = format!("of={tag}");
            tools
                .crane(&["mutate", &image, "--label", &label, "-t", &image])
                .await
                .ok();
        }
        let both = from.image("app", "both");
        let (one, two) = (from.image("app", "v1"), from.image("app", "v2"));
        let append = ["index", "append", "-m", &one, "-m", &two, "-t", &both];
        tools.crane(&append).await.ok();
        for tag in ["v1", "v2", "both"] {
            tools.cosign_sign_by_tag(&self.by_digest(&from, "app", tag).await).await;
        }
        tools.file("sbom.json", r#"{"spdxVersion": "SPDX-2.3"}"#);
        let attach = ["attach", "sbom", "--sbom", "sbom.json", "--type", "spdx"];
        tools
            .cosign(&[&attach[..], &[&self.by_digest(&from, "app", "v1").await]].concat())
            .await
            .ok();
    }

    fn from(&self) -> Endpoint {
        self.refshims.0.endpoint()
    }

    fn back(&self) -> Endpoint {
        self.refshims.1.endpoint()
    }

    async fn digest(&self, at: &Endpoint, repository: &str, tag: &str) -> String {
        let reply = at.manifest(repository, tag).await.expect_status(200);
        refshim::testing::oci::Digest::sha256(&reply.body).to_string()
    }

    async fn by_digest(&self, at: &Endpoint, repository: &str, tag: &str) -> String {
        format!(
            "{}/{repository}@{}",
            at.authority(),
            self.digest(at, repository, tag).await
        )
    }

    /// Every signature is a referrer that names its subject, with its blobs, and verifies by the referrers API.
    async fn is_whole(&self, at: &Endpoint, repository: &str, tags: &[&str]) {
        for tag in tags {
            let digest = self.digest(at, repository, tag).await;
            let listed = at.referrers(repository, &digest).await;
            let mut types: Vec<&str> = listed
                .iter()
                .filter_map(|entry| entry["artifactType"].as_str())
                .collect();
            types.sort_unstable();
            let expected = if *tag == "v1" {
                vec![SBOM, SIGNATURE]
            } else {
                vec![SIGNATURE]
            };
            assert_eq!(types, expected, "{tag} in {repository} of {}", at.url());
            for entry in &listed {
                let reference = entry["digest"].as_str().unwrap();
                let manifest: Value = at.manifest(repository, reference).await.expect_status(200).json();
                assert_eq!(manifest["subject"]["digest"], json!(digest));
                let blobs = manifest["layers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .chain([&manifest["config"]]);
                for blob in blobs {
                    let path = format!("/v2/{repository}/blobs/{}", blob["digest"].as_str().unwrap());
                    at.head(&path).await.expect_status(200);
                }
            }
            let image = self.by_digest(at, repository, tag).await;
            let verify = [
                "verify",
                "--key",
                "cosign.pub",
                "--insecure-ignore-tlog",
                "--new-bundle-format=false",
            ];
            self.tools
                .cosign(&[&verify[..], &["--experimental-oci11", &image]].concat())
                .await
                .ok();
        }
    }

    /// The registry itself stores each as it is listed: no tag of cosign's is needed any more.
    fn is_free_of_cosigns_tags(&self, repository: &str) {
        let tags = self.modern.tags(repository);
        assert!(tags.iter().all(|tag| !tag.ends_with(".sig")), "{tags:?}");
    }
}

#[tokio::test]
async fn oras_copies_images_with_their_signatures() {
    let stage = Stage::new().await;
    let (from, modern, back) = (stage.from(), stage.modern.endpoint(), stage.back());
    let plain = ["cp", "-r", "--from-plain-http", "--to-plain-http"];
    for tag in ["v1", "both"] {
        let ends = [
            from.image("app", tag),
            modern.image("oras", tag),
            back.image("oras", tag),
        ];
        stage
            .tools
            .oras(&[&plain[..], &[&ends[0], &ends[1]]].concat())
            .await
            .ok();
        stage
            .tools
            .oras(&[&plain[..], &[&ends[1], &ends[2]]].concat())
            .await
            .ok();
    }
    stage.is_free_of_cosigns_tags("oras");
    for at in [&modern, &back] {
        stage.is_whole(at, "oras", &["v1", "both"]).await;
    }
    // The images that the index lists were copied with it, and their signatures with them.
    let v2 = stage.digest(&from, "app", "v2").await;
    for at in [&modern, &back] {
        assert_eq!(at.referrers("oras", &v2).await.len(), 1, "{}", at.url());
    }
}

#[tokio::test]
async fn oras_backs_up_and_restores_images_with_their_signatures() {
    let stage = Stage::new().await;
    let (from, modern, back) = (stage.from(), stage.modern.endpoint(), stage.back());
    let source = from.image("app", "v1");
    let backup = [
        "backup",
        "--plain-http",
        "--include-referrers",
        "-o",
        "kept.tar",
        &source,
    ];
    stage.tools.oras(&backup).await.ok();
    for at in [&modern, &back] {
        let restored = at.image("restored", "v1");
        let restore = ["restore", "--plain-http", "--input", "kept.tar", &restored];
        stage.tools.oras(&restore).await.ok();
        stage.is_whole(at, "restored", &["v1"]).await;
    }
    stage.is_free_of_cosigns_tags("restored");
}

#[tokio::test]
async fn regctl_copies_images_with_their_signatures() {
    let stage = Stage::new().await;
    let (from, modern, back) = (stage.from(), stage.modern.endpoint(), stage.back());
    let hosts = [&from, &modern, &back].map(|at| format!("reg={},tls=disabled", at.authority()));
    let copy = async |source: &str, target: &str| {
        let hosts: Vec<&str> = hosts.iter().flat_map(|host| ["--host", host.as_str()]).collect();
        let rest = ["image", "copy", "--referrers", source, target];
        stage
            .tools
            .run_with("regctl", &[&hosts[..], &rest].concat(), &[])
            .await
            .ok();
    };
    for tag in ["v1", "both"] {
        copy(&from.image("app", tag), &modern.image("regctl", tag)).await;
        copy(&modern.image("regctl", tag), &back.image("regctl", tag)).await;
    }
    stage.is_free_of_cosigns_tags("regctl");
    for at in [&modern, &back] {
        stage.is_whole(at, "regctl", &["v1", "both"]).await;
    }
}

#[tokio::test]
async fn regsync_mirrors_images_with_their_signatures() {
    let stage = Stage::new().await;
    let (from, modern, back) = (stage.from(), stage.modern.endpoint(), stage.back());
    for (source, target) in [(from.image("app", ""), &modern), (modern.image("regsync", ""), &back)] {
        let source = source.trim_end_matches([':', '@']);
        let repository = target.image("regsync", "");
        let repository = repository.trim_end_matches([':', '@']);
        let hosts =
            [&from, &modern, &back].map(|at| format!("  - {{registry: \"{}\", tls: disabled}}\n", at.authority()));
        let config = format!(
            "version: 1\ncreds:\n{}defaults: {{referrers: true}}\nsync:\n  - {{source: \"{source}\", target: \"{repository}\", type: repository, tags: {{allow: [v1, both]}}}}\n",
            hosts.concat()
        );
        stage.tools.file("regsync.yml", config);
        let once = ["once", "-c", "regsync.yml"];
        stage.tools.run_with("regsync", &once, &[]).await.ok();
    }
    stage.is_free_of_cosigns_tags("regsync");
    for at in [&modern, &back] {
        stage.is_whole(at, "regsync", &["v1", "both"]).await;
    }
}

/// It copies by cosign's tags, whatever the registry is: what arrives verifies by them, and is listed behind refshim.
#[tokio::test]
async fn cosign_copies_images_with_their_signatures() {
    let stage = Stage::new().await;
    let (from, back) = (stage.from(), stage.back());
    for tag in ["v1", "both"] {
        let (source, target) = (from.image("app", tag), back.image("cosign", tag));
        stage.tools.cosign(&["copy", &source, &target]).await.ok();
    }
    let image = stage.by_digest(&back, "cosign", "v1").await;
    let verify = [
        "verify",
        "--key",
        "cosign.pub",
        "--insecure-ignore-tlog",
        "--new-bundle-format=false",
        &image,
    ];
    stage.tools.cosign(&verify).await.ok();
    stage.is_whole(&back, "cosign", &["v1", "both"]).await;
}
