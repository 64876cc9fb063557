//! Promise: the tests that documents name exist, and `tests/README.md` lists every module of tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All documents, by their path below the root.
fn documents() -> Vec<(String, String)> {
    let folders = ["", "docs", "deploy", "tests"];
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let files = entries.map(|entry| entry.unwrap().path());
    let documents = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    // The changelog tells of tests as they were.
    let documents = documents.filter(|file| !file.ends_with("CHANGELOG.md"));
    let read = |file: PathBuf| {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        (name, std::fs::read_to_string(file).unwrap())
    };
    documents.map(read).collect()
}

/// Names of the files and folders in a folder, without `.rs`.
fn modules(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().display().to_string())
        .collect()
}

/// The text of a module of tests, wherever it is.
fn source(module: &str) -> Option<String> {
    let folder = root().join("tests/it").join(module);
    let files = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![
            folder.with_extension("rs"),
            root().join("tests").join(module).with_extension("rs"),
        ],
    };
    let texts: Vec<_> = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect();
    (!texts.is_empty()).then(|| texts.concat())
}

#[test]
fn every_test_that_a_document_names_exists() {
    let code = modules("src");
    let mut named = 0;
    for (document, text) in documents() {
        // Outside of blocks of code, whose fences are backticks too.
        let prose = text.split("```").step_by(2);
        let spans = prose.flat_map(|prose| prose.split('`').skip(1).step_by(2));
        for (module, test) in spans.filter_map(|span| span.split_once("::")) {
            let is_lower = |name: &str| name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'));
            // A type's methods are no tests.
            let is_a_test = test.contains('_') && is_lower(test) && is_lower(module);
            // Paths in the code are not these; nor is the word for any file.
            if !is_a_test || code.contains(module) && source(module).is_none() || module == "file" {
                continue;
            }
            let exists = source(module).is_some_and(|source| source.contains(&format!("fn {test}(")));
            assert!(exists, "{document}: there is no {module}::{test}");
            named += 1;
        }
    }
    assert!(named > 0, "no document names a test");
}

#[test]
fn the_index_lists_every_module_of_tests() {
    let index = std::fs::read_to_string(root().join("tests/README.md")).unwrap();
    let mut modules = modules("tests/it");
    for no_promise in ["main", "support"] {
        modules.remove(no_promise);
    }
    let listed: BTreeSet<String> = index
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = modules.difference(&listed).collect();
    assert!(missing.is_empty(), "tests/README.md does not list {missing:?}");
    let gone: Vec<_> = listed.iter().filter(|module| source(module).is_none()).collect();
    assert!(
        gone.is_empty(),
        "tests/README.md lists {gone:?}, which are no modules of tests"
    );
}
