//! Promise: the tests, files and messages that documents name exist, what they give to paste can be pasted into bash and zsh, and
//! `tests/README.md` lists every module of tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layering::source_files;

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

/// GitHub's name for a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut followed = 0;
    for (document, text) in documents() {
        let prose: String = text.split("```").step_by(2).collect();
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&document),
                file => root().join(&document).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{document}: {link}");
            followed += 1;
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line.trim_start_matches('#')) == heading),
                    "{document}: {link}"
                );
            }
        }
    }
    assert!(followed > 50, "{followed}");
}

/// An interactive zsh takes `#` for a command and `?` for a pattern that must match a file.
#[test]
fn what_is_there_to_paste_can_be_pasted_into_bash_and_zsh() {
    for document in [
        "README.md",
        "docs/install.md",
        "docs/mended-faults.md",
        "docs/releasing.md",
    ] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let blocks: Vec<&str> = text
            .split("```sh\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(!blocks.is_empty(), "{document}");
        for line in blocks.iter().flat_map(|block| block.lines()) {
            // What stands in quotes is as it is for every shell.
            let bare: String = line.split(['\'', '"']).step_by(2).collect();
            assert!(!bare.contains(['#', '?', '*', '…']), "{document}: {line}");
        }
        let parsed = Command::new("bash").args(["-n", "-c", &blocks.concat()]).status();
        assert!(parsed.is_ok_and(|status| status.success()), "{document}");
    }
}

#[test]
fn messages_that_troubleshooting_explains_are_refshims() {
    let mut files = Vec::new();
    source_files(&root().join("src"), &mut files);
    let sources: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    // Long texts go on in the next line.
    let sources: String = sources.split("\\\n").map(str::trim_start).collect();
    let document = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let cells = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split(" | ").next());
    let messages: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        assert!(sources.contains(message), "{message}");
    }
}
