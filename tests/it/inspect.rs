//! Promise: `refshim referrers`, `tree` and `check` say what a registry holds and what it can do, on this machine's credentials.

use crate::support::cli::refshim_of;
use crate::support::content;
use crate::support::fake::{Fake, profiles};
use crate::support::{Endpoint, Program, Pushed, Refshim, Registry, Tools};
use serde_json::{Value, json};

const SPDX: &str = "application/spdx+json";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

async fn said(tools: &Tools, arguments: &[&str]) -> String {
    refshim_of(tools, arguments).await.ok()
}

async fn json_of(tools: &Tools, arguments: &[&str]) -> Value {
    refshim_of(tools, &[arguments, &["--output", "json"]].concat())
        .await
        .json()
}

async fn refused(tools: &Tools, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = refshim_of(tools, arguments).await;
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    (ended.code, ended.stderr)
}

/// An image with an SBOM under a Proposal D tag, a signature of the SBOM, and a cosign tag.
struct Sample {
    image: Pushed,
    sbom: Pushed,
    signature: Pushed,
    cosign: Pushed,
}

async fn push_sample(registry: &Endpoint) -> Sample {
    let image = registry.push_image("app", "v1", "one").await;
    let sbom = registry.push_artifact("app", &image, SPDX, "sbom").await;
    registry
        .put_tag("app", &sbom.proposal_d_tag(&image, "sbom"), &sbom)
        .await;
    let signature = registry.push_artifact("app", &sbom, SIGNATURE, "sig").await;
    registry
        .put_tag("app", &signature.proposal_d_tag(&sbom, "sig"), &signature)
        .await;
    let cosign = registry
        .push_image("app", &format!("sha256-{}.sig", image.hex()), "cosign")
        .await
        .adopted_by_suffix(&image, ".sig");
    Sample {
        image,
        sbom,
        signature,
        cosign,
    }
}

#[tokio::test]
async fn referrers_are_listed_with_their_dialects() {
    let (tools, registry) = (Tools::new(), Registry::v2().await);
    let sample = push_sample(&registry.endpoint()).await;
    let image = format!("{}/app:v1", registry.authority());

    let table = said(&tools, &["referrers", &image]).await;
    assert!(
        table.starts_with(&format!("{image} ({}): 2 referrers\n", sample.image.digest)),
        "{table}"
    );
    let row = table
        .lines()
        .find(|line| line.starts_with(sample.sbom.digest.as_str()))
        .unwrap();
    assert!(row.contains(SPDX) && row.contains("proposal-d-tag"), "{row}");
    let row = table
        .lines()
        .find(|line| line.starts_with(sample.cosign.digest.as_str()))
        .unwrap();
    assert!(row.ends_with("cosign-tag"), "{row}");

    let listing = json_of(&tools, &["referrers", &image, "--artifact-type", SPDX]).await;
    assert_eq!(listing["reference"], json!(image));
    assert_eq!(listing["subject"], json!(sample.image.digest));
    assert_eq!(listing["referrers"].as_array().unwrap().len(), 1, "{listing}");
    let entry = &listing["referrers"][0];
    assert_eq!(entry["digest"], json!(sample.sbom.digest));
    assert_eq!(entry["artifactType"], SPDX);
    assert_eq!(entry["size"], json!(sample.sbom.size()));
    let sources: Vec<&str> = entry["dialects"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        sources.contains(&"proposal-d-tag") && sources.contains(&"subject"),
        "{sources:?}"
    );

    let by_digest = format!("{}/app@{}", registry.authority(), sample.signature.digest);
    let table = said(&tools, &["referrers", &by_digest]).await;
    assert!(table.ends_with(": 0 referrers\n"), "{table}");
    let table = said(&tools, &["referrers", &image, "--artifact-type", "application/nothing"]).await;
    assert!(table.ends_with(": 0 of 2 referrers after the filter\n"), "{table}");
}

#[tokio::test]
async fn a_tree_goes_down_and_ends() {
    let (tools, registry) = (Tools::new(), Registry::v3().await);
    let endpoint = registry.endpoint();
    let sample = push_sample(&endpoint).await;
    // A circle: the image is tagged as what signs the signature of its own SBOM.
    endpoint
        .put_tag(
            "app",
            &sample.image.proposal_d_tag(&sample.signature, "x"),
            &sample.image,
        )
        .await;
    let image = format!("{}/app:v1", registry.authority());

    let tree = json_of(&tools, &["tree", &image]).await;
    let sbom = &tree["referrers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["digest"] == json!(sample.sbom.digest))
        .unwrap();
    assert_eq!(sbom["referrers"][0]["digest"], json!(sample.signature.digest));
    let drawn = said(&tools, &["tree", &image]).await;
    assert!(drawn.contains(&format!("─ {}", sample.sbom.digest)), "{drawn}");
    // An adopted form, and what the registry stores.
    let tag = format!("sha256-{}.sig", sample.image.hex());
    let stored = endpoint.manifest("app", &tag).await.expect_status(200);
    let stored = refshim::testing::oci::Digest::sha256(&stored.body);
    let line = drawn.lines().find(|line| line.contains(&sample.cosign.digest)).unwrap();
    assert!(line.ends_with(&format!("stored as {stored}")), "{line}");

    let shallow = json_of(&tools, &["tree", &image, "--levels", "1"]).await;
    assert!(
        shallow["referrers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["referrers"] == json!([])),
        "{shallow}"
    );
    let filtered = json_of(&tools, &["tree", &image, "--artifact-type", SIGNATURE]).await;
    assert_eq!(filtered["referrers"].as_array().unwrap().len(), 1, "{filtered}");
    assert_eq!(filtered["referrers"][0]["digest"], json!(sample.sbom.digest));
}

#[tokio::test]
async fn a_tree_shows_the_platforms_of_an_index_and_what_refers_to_them() {
    let (tools, registry) = (Tools::new(), Registry::v2().await);
    let endpoint = registry.endpoint();
    let sample = push_sample(&endpoint).await;
    let mut entry = sample.image.descriptor();
    entry["platform"] = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
    let other = endpoint.push_image("app", "", "for no platform").await;
    let index = content::index([entry, other.descriptor()]);
    endpoint.put_manifest("app", "multi", INDEX, &index).await;
    let target = format!("{}/app:multi", registry.authority());
    let tree = json_of(&tools, &["tree", &target]).await;
    assert_eq!(tree["manifests"][0]["digest"], json!(sample.image.digest));
    assert_eq!(tree["manifests"][0]["platform"], "linux/arm/v7");
    assert_eq!(tree["manifests"][1]["platform"], Value::Null);
    assert_eq!(tree["manifests"][0]["referrers"].as_array().unwrap().len(), 2, "{tree}");
    let drawn = said(&tools, &["tree", &target]).await;
    let line = format!("{}  linux/arm/v7  {} (listed)", sample.image.digest, content::IMAGE);
    assert!(drawn.contains(&line), "{drawn}");
}

#[tokio::test]
async fn through_refshim_the_same_is_seen() {
    let (tools, registry) = (Tools::new(), Registry::v2().await);
    let sample = push_sample(&registry.endpoint()).await;
    let proxy = Refshim::in_front_of(&registry.url()).await;
    let listing = json_of(&tools, &["referrers", &format!("{}/app:v1", proxy.endpoint().url())]).await;
    let digests: Vec<&Value> = listing["referrers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["digest"])
        .collect();
    assert_eq!(digests.len(), 2, "{listing}");
    assert!(digests.contains(&&json!(sample.sbom.digest)), "{listing}");
}

#[tokio::test]
async fn what_is_not_there_is_one_line() {
    let (tools, registry) = (Tools::new(), Registry::v2().await);
    registry.endpoint().push_image("app", "v1", "one").await;
    let image = format!("{}/app:v2", registry.authority());
    let (code, error) = refused(&tools, &["referrers", &image]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        format!("refshim: {image}: the registry does not hold it; check the name and the tag\n")
    );
}

#[tokio::test]
async fn a_password_comes_from_the_docker_config() {
    let (tools, strangers) = (Tools::new(), Tools::new());
    let registry = Registry::builder(Program::V2)
        .users(&[("alice", "secret")])
        .start()
        .await;
    let endpoint = registry.endpoint().basic("alice", "secret");
    let sample = push_sample(&endpoint).await;
    tools.log_in(&registry.authority(), "alice", "secret");
    let image = format!("{}/app:v1", registry.authority());
    let listing = json_of(&tools, &["referrers", &image]).await;
    assert_eq!(listing["subject"], json!(sample.image.digest));

    let (code, error) = refused(&strangers, &["referrers", &image]).await;
    assert_eq!(code, Some(1));
    assert!(
        error.contains(&format!("run 'docker login {}' first", registry.authority())),
        "{error}"
    );
    strangers.log_in(&registry.authority(), "alice", "wrong");
    let (_, error) = refused(&strangers, &["tree", &image]).await;
    assert!(error.contains("HTTP 401") && !error.contains("wrong"), "{error}");
}

#[tokio::test]
async fn a_credential_helper_is_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let tools = Tools::new();
    let registry = Registry::builder(Program::V2)
        .users(&[("alice", "secret")])
        .start()
        .await;
    push_sample(&registry.endpoint().basic("alice", "secret")).await;
    let helper = format!(
        "#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {}' ] && echo '{{\"Username\":\"alice\",\"Secret\":\"secret\"}}'\n",
        registry.authority()
    );
    tools.file("docker-credential-test", helper);
    let file = tools.folder().join("docker-credential-test");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(tools.folder().join(".docker")).unwrap();
    tools.file(".docker/config.json", r#"{"credsStore": "test"}"#);
    let listing = json_of(&tools, &["referrers", &format!("{}/app:v1", registry.authority())]).await;
    assert_eq!(listing["referrers"].as_array().unwrap().len(), 2);
}

/// Somebody who may push, whom the fake asks for a token.
fn writer(fake: &Fake) -> Endpoint {
    fake.endpoint().authorization(&Fake::bearer("app", "pull,push"))
}

#[tokio::test]
async fn tokens_are_fetched_where_the_registry_says() {
    let (tools, fake) = (Tools::new(), Fake::start(profiles::ghcr()).await);
    let sample = push_sample(&writer(&fake)).await;
    let image = format!("{}/app:v1", fake.endpoint().authority());
    let listing = json_of(&tools, &["referrers", &image]).await;
    assert_eq!(listing["subject"], json!(sample.image.digest));
    assert_eq!(listing["referrers"].as_array().unwrap().len(), 2, "{listing}");
}

#[tokio::test]
async fn check_finds_out_what_a_registry_can_do() {
    let tools = Tools::new();
    let (v2, v3) = (Registry::v2().await, Registry::v3().await);
    for (registry, pages, seeks) in [(&v2, false, false), (&v3, true, true)] {
        push_sample(&registry.endpoint()).await;
        let arguments = ["check", "--upstream", &registry.url(), "--repository", "app"];
        let report = &json_of(&tools, &arguments).await["upstreams"][0];
        assert_eq!(report["reachable"], true);
        assert_eq!(report["authentication"]["scheme"], "none");
        assert_eq!(report["nativeReferrers"], false);
        assert_eq!(report["verdict"]["helps"], true);
        assert_eq!(report["tags"]["count"], 4);
        assert_eq!(report["tags"]["pages"], pages, "{report}");
        assert_eq!(report["tags"]["seeks"], seeks, "{report}");
    }
    let text = said(&tools, &["check", "--upstream", &v2.url()]).await;
    assert!(text.contains("advice: give --repository NAME"), "{text}");
    let verdict = text.lines().last().unwrap();
    assert!(
        verdict.starts_with("  verdict: the registry answers; whether refshim helps here"),
        "{text}"
    );
    let (code, error) = refused(&tools, &["check", "--upstream", &v2.url(), "--repository", "nothing"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("does not know the repository"), "{error}");
}

#[tokio::test]
async fn check_names_the_realm_and_what_is_no_registry() {
    let (tools, fake) = (Tools::new(), Fake::start(profiles::ghcr()).await);
    push_sample(&writer(&fake)).await;
    let report = &json_of(&tools, &["check", "--upstream", &fake.url(), "--repository", "app"]).await["upstreams"][0];
    assert_eq!(report["authentication"]["scheme"], "bearer");
    assert_eq!(
        report["authentication"]["realm"],
        json!(format!("{}/token", fake.url()))
    );
    assert_eq!(report["tags"]["seeks"], false, "{report}");

    let registry = Registry::v2().await;
    let (code, error) = refused(
        &tools,
        &["check", "--upstream", &format!("{}/elsewhere", registry.url())],
    )
    .await;
    assert_eq!(code, Some(1));
    assert!(
        error.contains("what answers there is no registry (HTTP 404 for /v2/"),
        "{error}"
    );
}
