//! The container image that `packaging/image` writes without an engine.

use std::process::Command;

use serde_json::{Value, json};

use crate::packaging::{assembled, path, read, run};
use crate::support::process::find;
use crate::support::{Refshim, Registry, Tools};

#[tokio::test]
async fn it_says_what_it_is_and_its_layer_is_all_that_the_program_needs() {
    let registry = Registry::v2().await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let tools = Tools::new();
    let archive = assembled()
        .await
        .join(format!("refshim-{}.oci.tar", env!("CARGO_PKG_VERSION")));
    let from = format!("oci-archive:{}", archive.display());
    let image = refshim.endpoint().image("refshim", "test");
    let to = format!("docker://{image}");
    let copy = ["copy", "--quiet", "--all", "--dest-tls-verify=false", &from, &to];
    tools.skopeo(&copy).await.ok();

    let config = tools.crane(&["config", "--platform", "linux/amd64", &image]).await.ok();
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["created"], "2026-09-21T14:13:20Z");
    let settings = &config["config"];
    assert_eq!(settings["User"], "65532:65532");
    assert_eq!(settings["Entrypoint"], json!(["/usr/local/bin/refshim"]));
    assert_eq!(settings["Cmd"], json!(["serve"]));
    let labels = &settings["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    assert_eq!(labels["org.opencontainers.image.source"], env!("CARGO_PKG_REPOSITORY"));
    let revision = labels["org.opencontainers.image.revision"].as_str().expect("a text");
    assert_eq!(revision.len(), 40, "{revision}");
    let index = tools.crane(&["manifest", &image]).await.ok();
    let index: Value = serde_json::from_str(&index).expect("JSON");
    assert_eq!(index["annotations"], *labels);

    let root = tools.folder().join("root");
    std::fs::create_dir(&root).expect("a folder");
    tools
        .crane(&["export", "--platform", "linux/amd64", &image, "root.tar"])
        .await
        .ok();
    let [root, tar] = [root, tools.folder().join("root.tar")].map(|path| path.display().to_string());
    run(find("tar"), &["-xf", &tar, "-C", &root]);
    let said = tools
        .run_with(
            "unshare",
            &[
                "--map-root-user",
                "--root",
                &root,
                "/usr/local/bin/refshim",
                "--version",
            ],
            &[],
        )
        .await
        .ok();
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    let authorities = std::fs::read_to_string(format!("{root}/etc/ssl/certs/ca-certificates.crt")).expect("a file");
    assert!(authorities.contains("BEGIN CERTIFICATE"));
    let config = std::fs::read_to_string(format!("{root}/etc/refshim/refshim.toml")).expect("a file");
    assert_eq!(config, read("deploy/container.toml"));
}

/// Both ways to the image, with an engine and without, give the same settings.
#[test]
fn the_dockerfile_says_the_same() {
    let dockerfile = read("deploy/Dockerfile");
    for line in [
        "USER 65532:65532",
        "EXPOSE 5100 5101",
        "ENTRYPOINT [\"/usr/local/bin/refshim\"]",
        "CMD [\"serve\"]",
        "ENV REFSHIM_CONFIG=/etc/refshim/refshim.toml",
    ] {
        assert!(dockerfile.lines().any(|own| own == line), "{line}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        let archive = folder.path().join(name).display().to_string();
        let digest = run(
            path("packaging/image"),
            &[&archive, "amd64=/bin/true", "arm64=/bin/false"],
        );
        (digest, std::fs::read(archive).expect("an archive"))
    };
    let (digest, bytes) = write("one");
    assert!(digest.starts_with("sha256:"), "{digest}");
    assert!(write("two") == (digest, bytes), "two runs differ");
}

#[test]
fn it_is_made_for_each_program_that_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("archive").display().to_string();
    let digest = run(
        path("packaging/image"),
        &[&archive, "amd64=/bin/true", "arm64=/bin/false"],
    );
    let blob = format!("blobs/{}", digest.trim().replace(':', "/"));
    let index: Value = serde_json::from_str(&run(find("tar"), &["-xOf", &archive, &blob])).expect("JSON");
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .expect("manifests")
        .iter()
        .map(|manifest| manifest["platform"].clone())
        .collect();
    let platform = |architecture| json!({"os": "linux", "architecture": architecture});
    assert_eq!(platforms, ["amd64", "arm64"].map(platform));
    let refused = Command::new(path("packaging/image"))
        .arg(&archive)
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
}
