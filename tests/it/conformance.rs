//! Promise: whatever a registry does right by the official conformance suite, it does right behind refshim, and referrers too.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Program, Refshim, Registry, Tools};

/// How often each result of each test: the suite runs some names several times.
#[derive(Debug, Default)]
struct Results {
    passed: BTreeMap<String, usize>,
    failed: BTreeMap<String, usize>,
    /// Whole groups (`Manifest put with subject`, `Index with Subject` …) and how they went.
    groups: BTreeMap<String, String>,
}

/// Runs the suite against whoever listens there.
async fn run(authority: &str) -> Results {
    let tools = Tools::new();
    let environment = [
        ("OCI_REGISTRY", authority),
        ("OCI_TLS", "disabled"),
        ("OCI_RESULTS_DIR", "results"),
        ("OCI_VERSION", "1.1"),
    ];
    // It ends with an error when any test fails: the results say which.
    let said = tools.run_with("conformance", &[], &environment).await;
    let folder = tools.folder().join("results");
    assert!(folder.join("junit.xml").exists(), "{said:?}");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a report");
    let mut results = Results::default();
    for case in read("junit.xml").split("<testcase ").skip(1) {
        let attribute = |name: &str| {
            let (_, rest) = case.split_once(&format!("{name}=\"")).expect("an attribute");
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let name = attribute("name").replace("OCI Conformance Test/", "");
        match &*attribute("status") {
            "passed" => *results.passed.entry(name).or_default() += 1,
            "failure" | "error" => *results.failed.entry(name).or_default() += 1,
            _ => {}
        }
    }
    let groups = read("results.yaml");
    let (_, groups) = groups.split_once("\napis:").expect("a summary");
    for line in groups.lines() {
        if let Some((name, result)) = line.trim().split_once(": ") {
            results.groups.insert(name.to_owned(), result.to_owned());
        }
    }
    assert!(
        results.passed.len() > 100,
        "a suite that hardly ran proves nothing: {results:?}"
    );
    results
}

async fn through(registry: &Registry) -> Results {
    let refshim = Refshim::in_front_of(&registry.url()).await;
    run(refshim.endpoint().authority()).await
}

/// The failures that are written down.
fn expected(version: &str) -> BTreeMap<String, usize> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/conformance/expected-{version}.txt"));
    let text = std::fs::read_to_string(file).expect("the list of failures");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines = lines.map(|line| line.split_once(' ').expect("a number and a name"));
    lines
        .map(|(number, name)| (name.to_owned(), number.parse().expect("a number")))
        .collect()
}

async fn conforms(program: Program, version: &str) {
    let (one, other) = (Registry::start(program).await, Registry::start(program).await);
    let authority = one.authority();
    let (straight, through) = tokio::join!(run(&authority), through(&other));
    for (name, passed) in &straight.passed {
        let still = through.passed.get(name).copied().unwrap_or_default();
        assert!(
            still >= *passed,
            "{name}: {passed} pass straight, {still} through refshim"
        );
    }
    assert_eq!(
        through.failed,
        expected(version),
        "left: what fails; right: what is expected to"
    );
    assert_eq!(straight.groups["Referrers"], "FAIL", "this registry needs no help");
    for group in [
        "Referrers",
        "Manifest put with subject",
        "Artifacts with Subject",
        "Index with Subject",
        "Missing Subject",
        "Digest Algorithm sha512",
    ] {
        assert_eq!(through.groups[group], "Pass", "{group}");
    }
}

#[tokio::test]
async fn distribution_2() {
    conforms(Program::V2, "2.8.2").await;
}

#[tokio::test]
async fn distribution_3() {
    conforms(Program::V3, "3").await;
}

/// Nothing at all fails where the registry allows what it is asked to store.
#[tokio::test]
async fn with_foreign_layers_allowed_nothing_fails() {
    let registries = (
        Registry::builder(Program::V2).foreign_layers().start().await,
        Registry::builder(Program::V3).foreign_layers().start().await,
    );
    let (two, three) = tokio::join!(through(&registries.0), through(&registries.1));
    for results in [two, three] {
        assert_eq!(results.failed, BTreeMap::new());
        assert_eq!(results.groups["Non-distributable Layers"], "Pass");
    }
}
