//! Promise: a module imports what the map in `src/lib.rs` says, all of it and nothing else; nothing imports upwards; and
//! `docs/architecture.md` shows the same map. Within `proxy` and `registry`, the maps in their `mod.rs` hold likewise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Folders of modules, each with the path by which its modules are imported, and the file that has the map.
const MAPPED: [(&str, &str, &str); 3] = [
    ("src", "crate::", "src/lib.rs"),
    ("src/proxy", "crate::proxy::", "src/proxy/mod.rs"),
    ("src/registry", "crate::registry::", "src/registry/mod.rs"),
];

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

/// The lines of a map, each a module and what it imports, from the first text block of a document.
fn map(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    let block = lines.skip_while(|line| *line != "```text").skip(1);
    block
        .take_while(|line| *line != "```")
        .map(|line| {
            let (module, imports) = line.split_once("─►").unwrap_or((line, ""));
            let imports = imports.split_whitespace().map(str::to_owned).collect();
            (module.trim().to_owned(), imports)
        })
        .collect()
}

/// All Rust files below `folder`.
pub fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every name after `path`, such as `crate::`, also in a group of imports.
fn imports(source: &str, path: &str) -> BTreeSet<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let mut modules = BTreeSet::new();
    for (_, rest) in code
        .match_indices(path)
        .map(|(at, marker)| code.split_at(at + marker.len()))
    {
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(top_level_names(group)),
            None => modules.extend(name(rest)),
        }
    }
    modules
}

/// The first name of each item of a group, up to its closing brace.
fn top_level_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut item_begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => item_begins = true,
            c if item_begins && !c.is_whitespace() => {
                names.extend(name(&group[at..]));
                item_begins = false;
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    // `crate::Something` is an item of the root, no module.
    text.starts_with(|c: char| c.is_ascii_lowercase())
        .then(|| text[..end].to_owned())
}

/// What each module of a folder imports of its neighbours, as the code says.
fn imports_by_module(folder: &str, path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(ROOT).join(folder);
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = Path::new(relative.components().next().unwrap().as_os_str());
        let module = first.with_extension("").display().to_string();
        if ["main", "lib", "mod"].contains(&module.as_str()) || module.ends_with("_tests") {
            continue;
        }
        let source = std::fs::read_to_string(&file).unwrap();
        let known = modules.entry(module).or_default();
        known.extend(imports(&source, path));
        // The neighbours of a file in the folder itself.
        if relative == first || relative == first.join("mod.rs") {
            known.extend(imports(&source, "super::"));
        }
    }
    let names: BTreeSet<String> = modules.keys().cloned().collect();
    for (module, imports) in &mut modules {
        imports.retain(|import| import != module && names.contains(import));
    }
    modules
}

#[test]
fn the_maps_show_what_is_imported() {
    for (folder, path, file) in MAPPED {
        let drawn: BTreeMap<_, _> = map(&read(file)).into_iter().collect();
        let found = imports_by_module(folder, path);
        let mut wrong = Vec::new();
        for module in drawn.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let nothing = BTreeSet::new();
            let (drawn, found) = (drawn.get(module), found.get(module));
            if drawn.is_none() || found.is_none() {
                wrong.push(format!("{module} is not both in the code and on the map"));
            }
            let (drawn, found) = (drawn.unwrap_or(&nothing), found.unwrap_or(&nothing));
            let missing = found
                .difference(drawn)
                .map(|import| format!("{module} imports {import}, which the map lacks"));
            let unused = drawn
                .difference(found)
                .map(|import| format!("{module} does not import {import}, which the map shows"));
            wrong.extend(missing.chain(unused));
        }
        assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn nothing_imports_upwards() {
    for (_, _, file) in MAPPED {
        let map = map(&read(file));
        for (line, (module, imports)) in map.iter().enumerate() {
            let below: BTreeSet<&String> = map[line + 1..].iter().map(|(module, _)| module).collect();
            let upwards: Vec<_> = imports.iter().filter(|import| !below.contains(import)).collect();
            assert!(
                upwards.is_empty(),
                "{file}: {module} imports {upwards:?}, which the map does not show below it"
            );
        }
    }
}

#[test]
fn the_documentation_shows_the_same_map() {
    let drawn = map(&read("src/lib.rs"));
    assert!(!drawn.is_empty());
    assert_eq!(map(&read("docs/architecture.md")), drawn);
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::oci::Digest;\nuse crate::{cache::{Cache, Key}, referrers, \n registry};\n// crate::cli\nlet x = crate::http::body::Body::empty();";
    let found: Vec<String> = imports(source, "crate::").into_iter().collect();
    assert_eq!(found, ["cache", "http", "oci", "referrers", "registry"]);
}
