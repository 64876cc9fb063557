//! The same findings as a table, as SARIF and as CSV.

use serde_json::{Value, json};

use super::{Images, sign};
use crate::support::Registry;
use crate::support::cli::refshim;
use crate::support::fake::{Fake, Knobs, Trouble};

#[tokio::test]
async fn people_get_a_table_that_fits_a_terminal() {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let images = Images::push(&endpoint, 1).await;
    sign(&endpoint, &images.index).await;
    let target = format!("{}/app", registry.authority());
    let ended = refshim(&["audit", "--require", "sbom", &target]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for line in [
        "IMAGE           SIGNATURE  SBOM            PROVENANCE",
        "multi           yes        no              no",
        "  linux/amd64   no         yes             yes",
        "  linux/arm/v7  no         no              no",
        "plain           no         no              no",
        "signed          yes        yes 2026-01-02  no",
        "Required and missing:",
        "  multi: sbom",
        "  plain: sbom",
    ] {
        assert!(
            ended.stdout.lines().any(|found| found == line),
            "{line}\nnot in\n{}",
            ended.stdout
        );
    }
    let wide: Vec<&str> = ended.stdout.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

/// What the schema of SARIF 2.1.0 requires, and the services that read it.
fn check_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let [run] = &log["runs"].as_array().unwrap()[..] else {
        panic!("one run: {log}");
    };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "refshim");
    let rules = driver["rules"].as_array().unwrap();
    let rules: Vec<&Value> = rules.iter().map(|rule| &rule["id"]).collect();
    for result in run["results"].as_array().unwrap() {
        assert!(result["message"]["text"].is_string(), "{result}");
        assert!(rules.contains(&&result["ruleId"]), "{result}");
        assert!(["note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        let location = &result["locations"][0];
        let uri = location["physicalLocation"]["artifactLocation"]["uri"]
            .as_str()
            .unwrap();
        assert!(uri.parse::<http::Uri>().is_ok() && uri.starts_with("oci://"), "{uri}");
        assert!(location["logicalLocations"][0]["fullyQualifiedName"].is_string());
    }
}

#[tokio::test]
async fn code_scanning_gets_sarif() {
    let fake = Fake::start(Knobs::default()).await;
    let endpoint = fake.endpoint();
    Images::push(&endpoint, 0).await;
    let target = format!("{}/app", endpoint.authority());
    let run = async |arguments: &[&str]| {
        let ended = refshim(&[&["audit", "--output", "sarif"], arguments, &[&target]].concat()).await;
        let log: Value = serde_json::from_str(&ended.stdout).unwrap();
        check_sarif(&log);
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        let of = move |rule: &str| {
            let results = results.iter().filter(|result| result["ruleId"] == rule);
            results
                .map(|result| (result["level"].clone(), result["message"]["text"].clone()))
                .collect::<Vec<_>>()
        };
        (ended.code, of)
    };
    let (code, of) = run(&[]).await;
    assert_eq!(
        (code, of("missing-signature").len(), of("unknown").len()),
        (Some(0), 0, 0)
    );
    assert_eq!(of("only-refshim").len(), 1);
    let (code, of) = run(&["--require", "signature"]).await;
    assert_eq!((code, of("missing-signature").len()), (Some(1), 2));
    let message = format!("{}:plain has no signature", target);
    assert!(of("missing-signature").contains(&(json!("error"), json!(message))));
    fake.trouble(Trouble::answer(501, &[], ""), |seen| {
        seen.path.ends_with("/manifests/plain")
    });
    let (code, of) = run(&["--require", "signature"]).await;
    assert_eq!(
        (code, of("missing-signature").len()),
        (Some(1), 0),
        "nothing is proven to be missing"
    );
    assert!(of("unknown").len() >= 2, "{:?}", of("unknown"));
}

#[tokio::test]
async fn spreadsheets_get_a_row_for_each_platform() {
    let registry = Registry::v3().await;
    let images = Images::push(&registry.endpoint(), 1).await;
    let target = format!("{}/app", registry.authority());
    let ended = refshim(&["audit", "--output", "csv", "--require", "signature", &target]).await;
    let rows: Vec<Vec<&str>> = ended
        .stdout
        .split_terminator("\r\n")
        .map(|row| row.split(',').collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
    assert_eq!(rows.len(), 6, "{rows:?}");
    let row = |tag: &str, platform: &str| {
        let row = rows.iter().find(|row| row[1] == tag && row[2] == platform).unwrap();
        rows[0]
            .iter()
            .zip(row)
            .map(|(name, value)| (*name, *value))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let signed = row("signed", "");
    assert_eq!(signed["digest"], images.signed.digest);
    assert_eq!(
        (signed["signature"], signed["signature dialects"]),
        ("yes", "cosign-tag")
    );
    assert_eq!((signed["sbom"], signed["sbom since"]), ("yes", "2026-01-02T03:04:05Z"));
    assert_eq!((signed["missing"], signed["seen by refshim only"]), ("", "1"));
    assert_eq!(row("plain", "")["missing"], "signature");
    assert_eq!(row("multi", "linux/amd64")["sbom"], "yes");
    assert_eq!(row("multi", "linux/arm/v7")["sbom"], "no");
}
