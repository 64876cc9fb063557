//! Promise: whatever a registry does right by the official conformance suite, it does right behind refshim, and referrers too.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::sync::Semaphore;

use crate::support::{Program, Refshim, Registry, Tools};

/// Suites that run at the same time: each keeps a core busy, and must end in time.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// How often each result of each test: the suite runs some names several times.
#[derive(Debug, Default)]
struct Results {
    passed: BTreeMap<String, usize>,
    failed: BTreeMap<String, usize>,
    /// Left out because the registry lacks what they need, and how often.
    skipped: BTreeMap<String, usize>,
    /// Whole groups (`Manifest put with subject`, `Index with Subject` …) and how they went.
    groups: BTreeMap<String, String>,
}

/// A version of the distribution-spec, as the suite calls it: `dev` is the coming one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1_1,
    Dev,
}

impl Version {
    fn as_str(self) -> &'static str {
        match self {
            Self::V1_1 => "1.1",
            Self::Dev => "dev",
        }
    }
}

/// Runs the suite against whoever listens there.
async fn run(authority: &str, version: Version) -> Results {
    let tools = Tools::new();
    let environment = [
        ("OCI_REGISTRY", authority),
        ("OCI_TLS", "disabled"),
        ("OCI_RESULTS_DIR", "results"),
        ("OCI_VERSION", version.as_str()),
    ];
    let _permit = AT_ONCE.acquire().await.expect("a semaphore that stays open");
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
            "skipped" => *results.skipped.entry(name).or_default() += 1,
            other => panic!("{name}: a result called {other:?}"),
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

async fn through(registry: &Registry, version: Version) -> Results {
    let refshim = Refshim::in_front_of(&registry.url()).await;
    run(refshim.endpoint().authority(), version).await
}

/// What is written down of tests that fail or are skipped, and how often.
fn expected(registry: &str, version: Version, result: &str) -> BTreeMap<String, usize> {
    let file = format!("tests/conformance/{registry}-{}.txt", version.as_str());
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
    let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(result)?.strip_prefix(' '));
    lines
        .map(|line| {
            let (number, name) = line.split_once(' ').expect("a number and a name");
            (name.to_owned(), number.parse().expect("a number"))
        })
        .collect()
}

/// Whether the suite pushes a tag only where `OCI-Tag` did not state it.
fn is_needless_with_tag_parameters(name: &str) -> bool {
    name.starts_with("tag-param-") && name.ends_with("/push/manifest-by-tag")
}

async fn conforms(program: Program, name: &str, version: Version) {
    let (one, other) = (Registry::start(program).await, Registry::start(program).await);
    let authority = one.authority();
    let (straight, through) = tokio::join!(run(&authority, version), through(&other, version));
    for (name, passed) in &straight.passed {
        let still = through.passed.get(name).copied().unwrap_or_default();
        assert!(
            still >= *passed || is_needless_with_tag_parameters(name),
            "{name}: {passed} pass straight, {still} through refshim"
        );
    }
    for (result, seen) in [("fails", &through.failed), ("skipped", &through.skipped)] {
        assert_eq!(
            *seen,
            expected(name, version, result),
            "{result}. Left: what was seen; right: what is expected"
        );
    }
    assert_eq!(straight.groups["Referrers"], "FAIL", "this registry needs no help");
    let of_dev = ["Manifest put with tag params", "Tag Param", "Tag Param sha512"];
    let groups = [
        "Referrers",
        "Manifest put with subject",
        "Artifacts with Subject",
        "Index with Subject",
        "Missing Subject",
        "Digest Algorithm sha512",
    ];
    let of_version = of_dev.iter().filter(|_| version == Version::Dev);
    for group in groups.iter().chain(of_version) {
        assert_eq!(through.groups[*group], "Pass", "{group}");
    }
}

#[tokio::test]
async fn distribution_2() {
    conforms(Program::V2, "2.8.2", Version::V1_1).await;
}

#[tokio::test]
async fn distribution_2_by_the_coming_specification() {
    conforms(Program::V2, "2.8.2", Version::Dev).await;
}

#[tokio::test]
async fn distribution_3() {
    conforms(Program::V3, "3", Version::V1_1).await;
}

#[tokio::test]
async fn distribution_3_by_the_coming_specification() {
    conforms(Program::V3, "3", Version::Dev).await;
}

/// Nothing at all fails where the registry allows what it is asked to store.
#[tokio::test]
async fn with_foreign_layers_allowed_nothing_fails() {
    let registries = (
        Registry::builder(Program::V2).foreign_layers().start().await,
        Registry::builder(Program::V3).foreign_layers().start().await,
    );
    let (two, three) = tokio::join!(
        through(&registries.0, Version::Dev),
        through(&registries.1, Version::Dev)
    );
    for results in [two, three] {
        assert_eq!(results.failed, BTreeMap::new());
        assert_eq!(results.groups["Non-distributable Layers"], "Pass");
    }
}
