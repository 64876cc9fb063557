//! Promise: the documents name tests that exist.

use std::path::Path;

/// Documents that name tests as `file::test`.
const DOCUMENTS: [&str; 1] = ["docs/security.md"];

fn source(folder: &Path, name: &str) -> String {
    let file = std::fs::read_to_string(folder.join(format!("{name}.rs")));
    let entries = std::fs::read_dir(folder.join(name)).into_iter().flatten();
    let below = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let all: String = file.into_iter().chain(below).collect();
    assert!(!all.is_empty(), "there is no test file called {name}");
    all
}

#[test]
fn every_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let spans = text.split('`').skip(1).step_by(2);
        let named: Vec<_> = spans
            .filter_map(|span| span.split_once("::"))
            .filter(|(file, _)| *file != "file")
            .collect();
        assert!(!named.is_empty(), "{document} names no test");
        for (file, test) in named {
            let found = source(&root.join("tests"), file).contains(&format!("fn {test}("));
            assert!(found, "{document}: there is no {file}::{test}");
        }
    }
}
