//! What `cargo install` fetches.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::layering::source_files;
use crate::packaging::{ROOT, path, run};

fn packaged() -> BTreeSet<String> {
    let list = run(env!("CARGO"), &["package", "--list", "--offline", "--allow-dirty"]);
    list.lines().map(str::to_owned).collect()
}

#[test]
fn the_crate_has_what_it_is_built_from_and_nothing_else() {
    let packaged = packaged();
    let mut sources = Vec::new();
    source_files(&path("src"), &mut sources);
    sources.push(path("build.rs"));
    for source in &sources {
        let name = source.strip_prefix(ROOT).expect("below the root").display().to_string();
        assert!(packaged.contains(&name), "{name} is not packaged");
        // Unit tests read golden files, which an installed program does not need.
        if name.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(source).expect("a source");
        for included in ["include_str!(\"", "include_bytes!(\""]
            .iter()
            .flat_map(|macro_| text.split(macro_).skip(1))
            .filter_map(|rest| rest.split('"').next())
        {
            let file = source.parent().expect("a folder").join(included);
            let file = file.canonicalize().expect("a file");
            let root = Path::new(ROOT).canonicalize().expect("a folder");
            let name = file.strip_prefix(root).expect("below the root").display().to_string();
            assert!(
                packaged.contains(&name),
                "{name}, which {} includes, is not packaged",
                source.display()
            );
        }
    }
    let own = [
        "Cargo.toml",
        "Cargo.toml.orig",
        "Cargo.lock",
        ".cargo_vcs_info.json",
        "build.rs",
    ];
    let documents = [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        "config.example.toml",
    ];
    let foreign: Vec<_> = packaged
        .iter()
        .filter(|name| !name.starts_with("src/") && !name.starts_with("docs/"))
        .filter(|name| !own.contains(&name.as_str()) && !documents.contains(&name.as_str()))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    for document in documents {
        assert!(packaged.contains(document), "{document}");
    }
}

#[test]
fn its_metadata_are_complete() {
    let metadata = run(
        env!("CARGO"),
        &["metadata", "--no-deps", "--offline", "--format-version", "1"],
    );
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let package = &metadata["packages"][0];
    for field in ["description", "license", "repository", "rust_version"] {
        assert!(package[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    assert!(
        Path::new(ROOT)
            .join(package["readme"].as_str().expect("a readme"))
            .exists()
    );
    for field in ["keywords", "categories"] {
        let words = package[field].as_array().expect("a list");
        // More are refused when it is published.
        assert!((1..=5).contains(&words.len()), "{field}: {words:?}");
    }
}
