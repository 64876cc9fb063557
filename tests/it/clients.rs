//! The clients that people use, pointed at refshim, see what is there and agree on it.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::content::{IMAGE, artifact};
use crate::support::{Endpoint, Program, Pushed, Refshim, Registry, Tools};
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const SCAN: &str = "application/vnd.acme.scan.v1+json";

/// An image made by `crane append` at `target`.
async fn crane_image(tools: &Tools, target: &str) {
    tools.file("hello", "hello from a layer\n");
    let tar = Command::new("tar")
        .args(["-cf", "layer.tar", "hello"])
        .current_dir(tools.folder())
        .status();
    assert!(tar.is_ok_and(|status| status.success()));
    tools
        .crane(&["append", "--oci-empty-base", "-f", "layer.tar", "-t", target])
        .await
        .ok();
}

#[tokio::test]
async fn images_are_pushed_copied_and_pulled() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let (tools, through) = (Tools::new(), refshim.endpoint());
        let source = through.image("app", "crane");
        crane_image(&tools, &source).await;

        let (from, to) = (
            format!("docker://{source}"),
            format!("docker://{}", through.image("copy", "skopeo")),
        );
        let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        tools
            .skopeo(&["copy", "--preserve-digests", plain[0], plain[1], &from, &to])
            .await
            .ok();
        let target = through.image("copy", "regctl");
        tools
            .regctl(through.authority(), &["image", "copy", &source, &target])
            .await
            .ok();
        let target = through.image("copy", "oras");
        tools
            .oras(&["copy", "--from-plain-http", "--to-plain-http", &source, &target])
            .await
            .ok();

        // Byte for byte what went in, seen without refshim.
        let straight = registry.endpoint();
        let pushed = straight.manifest("app", "crane").await.expect_status(200);
        for copy in ["skopeo", "regctl", "oras"] {
            let copied = straight.manifest("copy", copy).await.expect_status(200);
            assert_eq!(copied.body, pushed.body, "{program:?} {copy}");
        }
        tools.crane(&["validate", "--remote", &source]).await.ok();
        tools.crane(&["pull", &source, "pulled.tar"]).await.ok();
        tools.skopeo(&["copy", plain[0], &from, "dir:pulled"]).await.ok();
        let listed = tools
            .crane(&["ls", &through.image("copy", "x").replace(":x", "")])
            .await
            .ok();
        assert_eq!(
            listed.lines().collect::<Vec<_>>(),
            ["oras", "regctl", "skopeo"],
            "{program:?}"
        );
    }
}

/// What a listing says of one referrer.
type Entry = (String, String, u64);

fn entry(descriptor: &Value) -> Entry {
    let text = |key: &str| descriptor[key].as_str().unwrap_or_default().to_owned();
    (
        text("digest"),
        text("artifactType"),
        descriptor["size"].as_u64().unwrap_or_default(),
    )
}

/// Links in every way that people use today, all written without refshim.
struct Attached {
    image: Pushed,
    expected: BTreeSet<Entry>,
}

async fn attach_straight(tools: &Tools, straight: &Endpoint) -> Attached {
    crane_image(tools, &straight.image("app", "v1")).await;
    let stored = straight.manifest("app", "v1").await.expect_status(200);
    let media_type = stored.header("content-type").expect("a Content-Type").to_owned();
    let image = Pushed::of(&media_type, &stored.json());
    let image = Pushed {
        digest: refshim::testing::oci::Digest::sha256(&stored.body).to_string(),
        bytes: stored.body,
        ..image
    };
    let name = straight.image("app", &image.digest);
    let mut expected = BTreeSet::new();

    // oras: the artifact by digest, listed in the referrers tag.
    tools.file("sbom.json", r#"{"sbom": "of app"}"#);
    let annotation = "org.acme.scanner=oras";
    let arguments = [
        "attach",
        "--plain-http",
        "--artifact-type",
        SBOM,
        "--annotation",
        annotation,
    ];
    let format = ["--format", "json", &name, "sbom.json"];
    let attached = tools.oras(&[&arguments[..], &format[..]].concat()).await.ok();
    let attached: Value = serde_json::from_str(&attached).expect("oras prints JSON");
    expected.insert(entry(&attached));

    // cosign: one tag for signatures, one for attestations.
    tools.cosign_sign_by_tag(&name).await;
    tools.cosign_attest_by_tag(&name, "sbom.json").await;
    for (suffix, kind) in [("sig", "sig"), ("att", "att")] {
        let stored = straight
            .manifest("app", &format!("sha256-{}.{suffix}", image.hex()))
            .await
            .expect_status(200);
        let stored = Pushed {
            digest: refshim::testing::oci::Digest::sha256(&stored.body).to_string(),
            media_type: IMAGE.to_owned(),
            bytes: stored.body,
        };
        let listed = stored.adopted_by_suffix(&image, &format!(".{suffix}"));
        let artifact_type = format!("application/vnd.dev.cosign.artifact.{kind}.v1+json");
        expected.insert((listed.digest.clone(), artifact_type, listed.size() as u64));
    }

    // Proposal D.
    let scan = straight
        .put_manifest("app", "", IMAGE, &artifact(&image, SCAN, "scan"))
        .await;
    straight
        .put_tag("app", &scan.proposal_d_tag(&image, "scan"), &scan)
        .await;
    expected.insert((scan.digest.clone(), SCAN.to_owned(), scan.size() as u64));
    Attached { image, expected }
}

#[tokio::test]
async fn oras_regctl_and_cosign_agree_on_what_was_attached_straight() {
    for program in Program::ALL {
        let (registry, tools) = (Registry::start(program).await, Tools::new());
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        let Attached { image, expected } = attach_straight(&tools, &registry.endpoint()).await;

        let listed = through.referrers("app", &image.digest).await;
        assert_eq!(
            listed.iter().map(entry).collect::<BTreeSet<_>>(),
            expected,
            "{program:?}"
        );
        let by_oras = listed
            .iter()
            .find(|d| d["artifactType"] == SBOM)
            .expect("oras's artifact");
        assert_eq!(by_oras["annotations"]["org.acme.scanner"], "oras");

        let name = through.image("app", "v1");
        let discovered = tools
            .oras(&["discover", "--plain-http", "--format", "json", &name])
            .await
            .ok();
        let discovered: Value = serde_json::from_str(&discovered).expect("oras prints JSON");
        let by_oras = discovered["referrers"]
            .as_array()
            .expect("referrers")
            .iter()
            .map(entry)
            .collect::<BTreeSet<_>>();
        assert_eq!(by_oras, expected, "{program:?}");

        let arguments = ["artifact", "list", "--format", "{{json .}}", &name];
        let artifacts = tools.regctl(through.authority(), &arguments).await.ok();
        let artifacts: Value = serde_json::from_str(&artifacts).expect("regctl prints JSON");
        let by_regctl = artifacts["descriptors"]
            .as_array()
            .expect("descriptors")
            .iter()
            .map(entry)
            .collect();
        assert_eq!(expected, by_regctl, "{program:?}");
        let arguments = [
            "artifact",
            "list",
            "--filter-artifact-type",
            SCAN,
            "--format",
            "{{len .Descriptors}}",
            &name,
        ];
        assert_eq!(tools.regctl(through.authority(), &arguments).await.ok().trim(), "1");

        let tree = tools.cosign(&["tree", &name]).await.ok();
        for (digest, artifact_type, _) in &expected {
            assert!(
                tree.contains(digest) || tree.contains(&digest[7..]),
                "{artifact_type} is not in {tree}"
            );
        }
        let arguments = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", &name];
        tools.cosign(&arguments).await.ok();
    }
}

/// Signed as cosign 3 does by default, straight to a registry without the API: a bundle in the referrers tag.
#[tokio::test]
async fn cosign_bundles_verify_through_refshim_however_they_were_pushed() {
    for program in Program::ALL {
        let (registry, tools) = (Registry::start(program).await, Tools::new());
        let refshim = Refshim::in_front_of(&registry.url()).await;
        for (repository, signer) in [("straight", registry.endpoint()), ("through", refshim.endpoint())] {
            let image = signer.push_image(repository, "v1", "image").await;
            tools.cosign_sign_bundle(&signer.image(repository, &image.digest)).await;
            let listed = refshim.endpoint().referrers(repository, &image.digest).await;
            let types: Vec<&Value> = listed.iter().map(|d| &d["artifactType"]).collect();
            assert_eq!(
                types,
                [&json!("application/vnd.dev.sigstore.bundle.v0.3+json")],
                "{program:?} {repository}"
            );
            let name = refshim.endpoint().image(repository, &image.digest);
            let arguments = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", &name];
            tools.cosign(&arguments).await.ok();
        }
    }
}

#[tokio::test]
async fn oras_and_regctl_attach_through_refshim() {
    for program in Program::ALL {
        let (registry, tools) = (Registry::start(program).await, Tools::new());
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        let image = through.push_image("app", "v1", "image").await;
        let name = through.image("app", "v1");
        tools.file("sbom.json", "{}");
        let arguments = ["attach", "--plain-http", "--artifact-type", SBOM, &name, "sbom.json"];
        tools.oras(&arguments).await.ok();
        let arguments = [
            "artifact",
            "put",
            "--artifact-type",
            SCAN,
            "--subject",
            &name,
            "--file",
            "sbom.json",
        ];
        tools.regctl(through.authority(), &arguments).await.ok();
        let listed = through.referrers("app", &image.digest).await;
        let types: BTreeSet<&str> = listed.iter().filter_map(|d| d["artifactType"].as_str()).collect();
        assert_eq!((listed.len(), types), (2, BTreeSet::from([SBOM, SCAN])), "{program:?}");
    }
}

#[tokio::test]
async fn clients_log_in_with_a_password() {
    for program in Program::ALL {
        let registry = Registry::builder(program).users(&[("alice", "wonder")]).start().await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let (tools, through) = (Tools::new(), refshim.endpoint());
        let source = through.image("app", "v1");
        let refused = tools.crane(&["digest", &source]).await.failed();
        assert!(
            refused.contains("401") || refused.to_lowercase().contains("unauthorized"),
            "{refused}"
        );

        tools.log_in(through.authority(), "alice", "wonder");
        crane_image(&tools, &source).await;
        let digest = tools.crane(&["digest", &source]).await.ok();
        tools.cosign_sign_by_tag(&through.image("app", digest.trim())).await;
        let discovered = tools
            .oras(&["discover", "--plain-http", "--format", "json", &source])
            .await
            .ok();
        let discovered: Value = serde_json::from_str(&discovered).expect("oras prints JSON");
        assert_eq!(discovered["referrers"].as_array().map(Vec::len), Some(1), "{program:?}");
        let arguments = ["artifact", "list", "--format", "{{len .Descriptors}}", &source];
        assert_eq!(
            tools.regctl(through.authority(), &arguments).await.ok().trim(),
            "1",
            "{program:?}"
        );
        let (from, authfile) = (format!("docker://{source}"), ".docker/config.json");
        tools
            .skopeo(&["inspect", "--tls-verify=false", "--authfile", authfile, &from])
            .await
            .ok();
    }
}
