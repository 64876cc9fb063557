//! Promise: the clients that people use sign, attach, copy and delete through refshim as on a modern registry, with a password
//! and without, in front of both registries.

use std::process::Command;

use crate::support::{Endpoint, Program, Refshim, Registry, Tools};
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const SCAN: &str = "application/vnd.acme.scan.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A registry, refshim in front of it, and clients that are logged in where that is needed.
struct Stage {
    name: String,
    registry: Registry,
    _refshim: Refshim,
    tools: Tools,
    through: Endpoint,
    /// The digest of the image `app:v1`.
    digest: String,
}

impl Stage {
    async fn new(program: Program, password: bool) -> Self {
        let builder = Registry::builder(program);
        let (registry, tools) = match password {
            true => (builder.users(&[("alice", "wonder")]).start().await, Tools::new()),
            false => (builder.start().await, Tools::new()),
        };
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let mut through = refshim.endpoint();
        if password {
            tools.log_in(through.authority(), "alice", "wonder");
            through = through.basic("alice", "wonder");
        }
        tools.file("layer", "the content of a layer\n");
        let tar = Command::new("tar")
            .args(["-cf", "layer.tar", "layer"])
            .current_dir(tools.folder())
            .status();
        assert!(tar.is_ok_and(|status| status.success()));
        tools.file("predicate.json", r#"{"found": "nothing"}"#);
        let mut stage = Self {
            name: format!("{program:?}, password: {password}"),
            registry,
            _refshim: refshim,
            tools,
            through,
            digest: String::new(),
        };
        stage.append("v1", &[]).await;
        stage.digest = stage.digest_of("v1").await;
        stage
    }

    /// All four.
    async fn each(act: impl AsyncFn(&Self)) {
        for program in Program::ALL {
            for password in [false, true] {
                act(&Self::new(program, password).await).await;
            }
        }
    }

    async fn append(&self, tag: &str, more: &[&str]) {
        let target = self.through.image("app", tag);
        let arguments = ["append", "--oci-empty-base", "-f", "layer.tar", "-t", &target];
        self.tools.crane(&[&arguments[..], more].concat()).await.ok();
    }

    async fn digest_of(&self, tag: &str) -> String {
        let printed = self
            .tools
            .crane(&["digest", &self.through.image("app", tag)])
            .await
            .ok();
        printed.trim().to_owned()
    }

    /// `host:port/repository@digest` of the image.
    fn image_in(&self, repository: &str) -> String {
        self.through.image(repository, &self.digest)
    }

    /// Which tag lists show: mirrors by tag copy the links with it.
    fn referrers_tag(&self) -> String {
        self.digest.replacen(':', "-", 1)
    }

    /// The artifact types listed for the image, sorted.
    async fn types(&self, repository: &str) -> Vec<String> {
        let listed = self.through.referrers(repository, &self.digest).await;
        let mut types: Vec<String> = listed
            .iter()
            .map(|d| d["artifactType"].as_str().unwrap_or_default().to_owned())
            .collect();
        types.sort();
        types
    }

    async fn verify(&self, repository: &str, layout: &[&str]) {
        let image = self.image_in(repository);
        let arguments = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true"];
        self.tools
            .cosign(&[&arguments[..], layout, &[&image]].concat())
            .await
            .ok();
    }

    async fn verify_attestation(&self, repository: &str, layout: &[&str]) {
        let image = self.image_in(repository);
        let arguments = [
            "verify-attestation",
            "--key",
            "cosign.pub",
            "--insecure-ignore-tlog=true",
            "--type",
            "custom",
        ];
        self.tools
            .cosign(&[&arguments[..], layout, &[&image]].concat())
            .await
            .ok();
    }

    /// Straight to the registry, as its first user.
    async fn stored_tags(&self, repository: &str) -> Vec<String> {
        let tags = self
            .registry
            .endpoint()
            .get(&format!("/v2/{repository}/tags/list"))
            .await;
        let tags = tags.expect_status(200).json();
        let mut tags: Vec<String> = tags["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect();
        tags.sort();
        tags
    }
}

#[tokio::test]
async fn cosign_with_bundles() {
    Stage::each(async |stage| {
        let (tools, image) = (&stage.tools, stage.image_in("app"));
        tools.cosign_sign_bundle(&image).await;
        let predicate = ["--type", "custom", "--predicate", "predicate.json", &image];
        tools.cosign_offline("attest", &predicate).await;
        assert_eq!(stage.types("app").await, [BUNDLE, BUNDLE], "{}", stage.name);
        stage.verify("app", &[]).await;
        stage.verify_attestation("app", &[]).await;
        let tree = tools.cosign(&["tree", &image]).await.ok();
        for listed in stage.through.referrers("app", &stage.digest).await {
            let digest = listed["digest"].as_str().unwrap();
            assert!(tree.contains(&digest[7..]), "{}: {digest} is not in {tree}", stage.name);
        }
        // The registry has two link tags, and the referrers tag that refshim keeps.
        let tags = stage.stored_tags("app").await;
        assert_eq!(tags.len(), 4, "{}: {tags:?}", stage.name);
        assert!(tags.contains(&stage.referrers_tag()), "{}: {tags:?}", stage.name);
        // Somebody else's key proves nothing.
        let other = Tools::new();
        other.cosign_key().await;
        let key = std::fs::read(other.folder().join("cosign.pub")).unwrap();
        tools.file("other.pub", key);
        let arguments = ["verify", "--key", "other.pub", "--insecure-ignore-tlog=true", &image];
        tools.cosign(&arguments).await.failed();
    })
    .await;
}

#[tokio::test]
async fn cosign_with_tags() {
    let old = ["--new-bundle-format=false"];
    Stage::each(async |stage| {
        let (tools, image) = (&stage.tools, stage.image_in("app"));
        tools.cosign_sign_by_tag(&image).await;
        tools.cosign_attest_by_tag(&image, "predicate.json").await;
        let expected = [
            "application/vnd.dev.cosign.artifact.att.v1+json",
            "application/vnd.dev.cosign.artifact.sig.v1+json",
        ];
        assert_eq!(stage.types("app").await, expected, "{}", stage.name);
        stage.verify("app", &old).await;
        stage.verify_attestation("app", &old).await;
        // Both again: cosign reads what is there and adds to it.
        tools.cosign_sign_by_tag(&image).await;
        assert_eq!(stage.types("app").await, expected, "{}", stage.name);
        let copy = ["copy", &image, &stage.through.image("copy", "v1")];
        tools.cosign(&copy).await.ok();
        assert_eq!(stage.types("copy").await, expected, "{}", stage.name);
        stage.verify("copy", &old).await;
        stage.verify_attestation("copy", &old).await;
        let clean = ["clean", "--force", &image];
        tools.cosign(&clean).await.ok();
        assert_eq!(stage.types("app").await, [] as [String; 0], "{}", stage.name);
    })
    .await;
}

#[tokio::test]
async fn oras() {
    Stage::each(async |stage| {
        let (tools, name) = (&stage.tools, stage.through.image("app", "v1"));
        let attach = ["attach", "--plain-http", "--format", "json", "--artifact-type"];
        for kind in [SBOM, SCAN] {
            tools
                .oras(&[&attach[..], &[kind, &name, "predicate.json"]].concat())
                .await
                .ok();
        }
        assert_eq!(stage.types("app").await, [SBOM, SCAN], "{}", stage.name);
        let discover = async |repository: &str, more: &[&str]| -> Vec<Value> {
            let image = stage.image_in(repository);
            let arguments = ["discover", "--plain-http", "--format", "json", &image];
            let printed = tools.oras(&[&arguments[..], more].concat()).await.ok();
            let printed: Value = serde_json::from_str(&printed).unwrap();
            printed["referrers"].as_array().cloned().unwrap_or_default()
        };
        assert_eq!(discover("app", &[]).await.len(), 2, "{}", stage.name);
        let scans = discover("app", &["--artifact-type", SCAN]).await;
        assert_eq!(scans.len(), 1, "{}", stage.name);

        let (source, target) = (stage.image_in("app"), stage.through.image("copy", "v1"));
        let copy = ["copy", "-r", "--from-plain-http", "--to-plain-http", &source, &target];
        tools.oras(&copy).await.ok();
        assert_eq!(stage.types("copy").await, [SBOM, SCAN], "{}", stage.name);
        assert_eq!(discover("copy", &[]).await.len(), 2, "{}", stage.name);

        let scan = stage.through.image("app", scans[0]["digest"].as_str().unwrap());
        tools
            .oras(&["manifest", "delete", "--plain-http", "--force", &scan])
            .await
            .ok();
        assert_eq!(stage.types("app").await, [SBOM], "{}", stage.name);
        assert_eq!(stage.types("copy").await, [SBOM, SCAN], "{}", stage.name);
        let printed = tools
            .oras(&["repo", "tags", "--plain-http", &name.replace(":v1", "")])
            .await
            .ok();
        let mut tags: Vec<&str> = printed.lines().collect();
        tags.sort();
        assert_eq!(tags, [&*stage.referrers_tag(), "v1"], "{}", stage.name);
    })
    .await;
}

#[tokio::test]
async fn regctl() {
    Stage::each(async |stage| {
        let (tools, name) = (&stage.tools, stage.through.image("app", "v1"));
        let regctl = async |arguments: &[&str]| tools.regctl(stage.through.authority(), arguments).await.ok();
        for kind in [SBOM, SCAN] {
            let put = ["artifact", "put", "--artifact-type", kind, "--subject", &name];
            regctl(&[&put[..], &["--file", "predicate.json"]].concat()).await;
        }
        assert_eq!(stage.types("app").await, [SBOM, SCAN], "{}", stage.name);
        let count = async |repository: &str, more: &[&str]| {
            let image = stage.image_in(repository);
            let list = ["artifact", "list", "--format", "{{len .Descriptors}}"];
            regctl(&[&list[..], more, &[&image]].concat()).await.trim().to_owned()
        };
        assert_eq!(count("app", &[]).await, "2", "{}", stage.name);
        assert_eq!(
            count("app", &["--filter-artifact-type", SCAN]).await,
            "1",
            "{}",
            stage.name
        );
        let tree = regctl(&["artifact", "tree", &name]).await;
        assert!(tree.contains(SBOM) && tree.contains(SCAN), "{}: {tree}", stage.name);

        let target = stage.through.image("copy", "v1");
        regctl(&["image", "copy", "--referrers", &name, &target]).await;
        assert_eq!(stage.types("copy").await, [SBOM, SCAN], "{}", stage.name);
        assert_eq!(count("copy", &[]).await, "2", "{}", stage.name);

        let listed = stage.through.referrers("app", &stage.digest).await;
        let scan = listed.iter().find(|d| d["artifactType"] == SCAN).unwrap();
        let scan = stage.through.image("app", scan["digest"].as_str().unwrap());
        regctl(&["manifest", "delete", &scan]).await;
        assert_eq!(stage.types("app").await, [SBOM], "{}", stage.name);
        let tags = regctl(&["tag", "ls", &name.replace(":v1", "")]).await;
        let tags: Vec<&str> = tags.lines().map(str::trim).collect();
        assert_eq!(tags, [&*stage.referrers_tag(), "v1"], "{}", stage.name);
    })
    .await;
}

/// Copies that take everything along, seen by the digest of an index and of what is in it.
#[tokio::test]
async fn crane_and_skopeo_copy_indexes() {
    Stage::each(async |stage| {
        let (tools, through) = (&stage.tools, &stage.through);
        tools.file("other", "another image\n");
        let tar = Command::new("tar")
            .args(["-cf", "layer.tar", "layer", "other"])
            .current_dir(tools.folder())
            .status();
        assert!(tar.is_ok_and(|status| status.success()));
        stage.append("v2", &[]).await;
        let (one, two, both) = (
            through.image("app", "v1"),
            through.image("app", "v2"),
            through.image("app", "both"),
        );
        let index = ["index", "append", "-m", &one, "-m", &two, "-t", &both];
        tools.crane(&index).await.ok();
        tools.cosign_sign_by_tag(&stage.image_in("app")).await;
        let digest = stage.digest_of("both").await;
        let inside = async |repository: &str| {
            let index = through.manifest(repository, "both").await.expect_status(200).json();
            let listed = index["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d["digest"].clone());
            listed.collect::<Vec<Value>>()
        };

        tools
            .crane(&["copy", &both, &through.image("crane", "both")])
            .await
            .ok();
        let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        let login: &[&str] = match tools.folder().join(".docker/config.json").exists() {
            true => &["--authfile", ".docker/config.json"],
            false => &[],
        };
        let names = [
            format!("docker://{both}"),
            format!("docker://{}", through.image("skopeo", "both")),
        ];
        // It cannot keep the index's digest: it drops the `artifactType` that crane puts into it.
        let copy = ["copy", "--all"];
        tools
            .skopeo(&[&copy[..], &plain, login, &[&names[0], &names[1]]].concat())
            .await
            .ok();
        let copied = tools.crane(&["digest", &through.image("crane", "both")]).await.ok();
        assert_eq!(copied.trim(), digest, "{}", stage.name);
        assert_eq!(inside("skopeo").await, inside("app").await, "{}", stage.name);
        // All tags; of these one is a signature.
        let sync = ["sync", "--src", "docker", "--dest", "docker", "--all"];
        let (from, to) = (
            format!("{}/app", through.authority()),
            format!("{}/synced", through.authority()),
        );
        tools
            .skopeo(&[&sync[..], &plain, login, &[&from, &to]].concat())
            .await
            .ok();
        let tag = format!("sha256-{}.sig", &stage.digest[7..]);
        assert_eq!(
            stage.stored_tags("synced/app").await,
            ["both", &tag, "v1", "v2"],
            "{}",
            stage.name
        );
        assert_eq!(
            stage.types("synced/app").await,
            ["application/vnd.dev.cosign.artifact.sig.v1+json"],
            "{}",
            stage.name
        );
        stage.verify("synced/app", &["--new-bundle-format=false"]).await;

        tools.crane(&["delete", &through.image("crane", &digest)]).await.ok();
        tools.crane(&["digest", &through.image("crane", "both")]).await.failed();
        let tags = through.get("/v2/crane/tags/list").await.expect_status(200).json();
        assert_eq!(
            tags["tags"].as_array().cloned().unwrap_or_default(),
            json!([]).as_array().unwrap()[..]
        );
    })
    .await;
}
