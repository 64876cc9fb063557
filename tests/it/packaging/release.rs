//! Everything that is released, published to a registry without the referrers API as the workflow does it, and found through refshim.

use base64::Engine as _;
use serde_json::Value;

use crate::packaging::{BUILDER, assembled, path, run};
use crate::support::process::find;
use crate::support::{Refshim, Registry, Tools};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SBOM: &str = "https://cyclonedx.org/bom";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// What `packaging/publish` makes of it with a key instead of a workflow's identity: the digest of the index.
async fn publish(tools: &Tools, repository: &str) -> String {
    tools.cosign_key().await;
    let publish = path("packaging/publish").display().to_string();
    let folder = assembled().await.to_str().expect("UTF-8");
    let own_key = [
        "--key",
        "cosign.key",
        "--tlog-upload=false",
        "--use-signing-config=false",
    ];
    let tools_folder = find("crane").parent().expect("a folder").display().to_string();
    let search = format!("{tools_folder}:{}", std::env::var("PATH").unwrap_or_default());
    let environment = [("PATH", search.as_str()), ("SOURCE_DATE_EPOCH", "0")];
    let arguments = [&[folder, repository], &own_key[..]].concat();
    let digest = tools.run_with(&publish, &arguments, &environment).await.ok();
    digest.trim().to_owned()
}

/// The predicate of the only attestation of this type that verifies.
async fn verified(tools: &Tools, kind: &str, image: &str) -> Value {
    let key = ["--key", "cosign.pub", "--insecure-ignore-tlog", "--type", kind, image];
    let envelope = tools.cosign(&[&["verify-attestation"], &key[..]].concat()).await.ok();
    let envelope: Value = serde_json::from_str(&envelope).expect("one envelope");
    let payload = base64::engine::general_purpose::STANDARD.decode(envelope["payload"].as_str().expect("a payload"));
    let statement: Value = serde_json::from_slice(&payload.expect("Base64")).expect("JSON");
    statement["predicate"].clone()
}

#[tokio::test]
async fn its_signatures_and_attestations_are_found_and_verified_through_refshim() {
    let registry = Registry::v2().await;
    let tools = Tools::new();
    let digest = publish(&tools, &format!("{}/o/refshim", registry.authority())).await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let image = refshim.endpoint().image("o/refshim", &digest);

    let verify = ["verify", "--key", "cosign.pub", "--insecure-ignore-tlog", &image];
    tools.cosign(&verify).await.ok();
    let sbom = verified(&tools, "cyclonedx", &image).await;
    assert_eq!(sbom["metadata"]["component"]["name"], "refshim");
    let components = sbom["components"].as_array().expect("components");
    for linked in ["hyper", "aws-sdk-ecr", "opentelemetry"] {
        assert!(
            components.iter().any(|component| component["name"] == linked),
            "{linked}"
        );
    }
    assert!(components.iter().all(|component| component["name"] != "proptest"));
    let provenance = verified(&tools, "slsaprovenance1", &image).await;
    assert_eq!(provenance["runDetails"]["builder"]["id"], BUILDER);
    let source = &provenance["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!(source["digest"]["gitCommit"].as_str().expect("a commit").len(), 40);

    let referrers = refshim.endpoint().referrers("o/refshim", &digest).await;
    assert!(
        referrers.iter().all(|referrer| referrer["artifactType"] == BUNDLE),
        "{referrers:?}"
    );
    let predicate = |referrer: &Value| referrer["annotations"]["dev.sigstore.bundle.predicateType"].clone();
    let predicates: Vec<Value> = referrers.iter().map(predicate).collect();
    assert_eq!(predicates.len(), 3, "{predicates:?}");
    for kind in [SBOM, PROVENANCE] {
        assert!(
            predicates.iter().any(|predicate| predicate == kind),
            "{kind}: {predicates:?}"
        );
    }
    // Without refshim they are told apart too: the referrers tag, as cosign leaves it, does not say what they are.
    let tag = digest.replace(':', "-");
    let stored = registry
        .endpoint()
        .manifest("o/refshim", &tag)
        .await
        .expect_status(200)
        .json();
    let entries = stored["manifests"].as_array().expect("entries");
    assert_eq!(entries.len(), 3, "{stored}");
    for entry in entries {
        assert!(predicates.contains(&predicate(entry)), "{entry}");
    }

    let index = tools.crane(&["manifest", &image]).await.ok();
    let index: Value = serde_json::from_str(&index).expect("JSON");
    for platform in index["manifests"].as_array().expect("manifests") {
        let signatures = refshim
            .endpoint()
            .referrers("o/refshim", platform["digest"].as_str().expect("a digest"))
            .await;
        assert_eq!(signatures.len(), 1, "{platform}");
    }
}

#[tokio::test]
async fn the_checksums_are_those_of_everything() {
    let folder = assembled().await;
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("checksums");
    for suffix in [".deb", ".oci.tar", ".cdx.json", ".provenance.json"] {
        assert!(sums.lines().any(|line| line.ends_with(suffix)), "{suffix}: {sums}");
    }
    let check = format!(
        "cd '{}' && sha256sum --check --strict --quiet SHA256SUMS",
        folder.display()
    );
    run("/bin/sh", &["-c", &check]);
}
