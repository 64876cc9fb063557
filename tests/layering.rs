//! Promise: modules import downwards only, as the map in `src/lib.rs` draws it. `oci` knows nothing of the rest, and nothing
//! knows the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each module may import besides itself. A new module needs a line here.
const MAY_IMPORT: [(&str, &[&str]); 21] = [
    // The language: pure.
    ("oci", &[]),
    // Leaves.
    ("body", &[]),
    ("hop_by_hop", &[]),
    ("metrics", &[]),
    ("credentials", &[]),
    ("trace", &[]),
    ("config", &["oci"]),
    ("telemetry", &["config"]),
    ("tls", &["config"]),
    // The layers.
    (
        "upstream",
        &["body", "config", "credentials", "hop_by_hop", "oci", "tls", "trace"],
    ),
    ("cache", &["oci"]),
    ("dialect", &["oci"]),
    ("ui", &["oci"]),
    ("links", &["cache", "config", "oci", "upstream"]),
    (
        "proxy",
        &[
            "body",
            "cache",
            "config",
            "credentials",
            "dialect",
            "hop_by_hop",
            "links",
            "metrics",
            "oci",
            "trace",
            "ui",
            "upstream",
        ],
    ),
    ("server", &["body", "config", "proxy", "tls"]),
    // Beside the layers.
    (
        "admin",
        &["body", "cache", "links", "metrics", "oci", "tls", "upstream"],
    ),
    ("demo", &["body", "oci"]),
    // On top.
    (
        "cli",
        &[
            "admin",
            "body",
            "cache",
            "config",
            "credentials",
            "demo",
            "links",
            "metrics",
            "oci",
            "proxy",
            "server",
            "telemetry",
            "tls",
            "ui",
            "upstream",
        ],
    ),
    // For tests and fuzzers only.
    (
        "fuzzing",
        &["admin", "cli", "credentials", "dialect", "oci", "proxy", "upstream"],
    ),
    ("lib", &[]),
];

fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every module named after `crate::`, also in a group of imports.
fn imports(source: &str) -> BTreeSet<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let mut modules = BTreeSet::new();
    for (_, rest) in code
        .match_indices("crate::")
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
    // `crate::Something` is re-exported at the top; there is none, but it would be no module.
    text.starts_with(|c: char| c.is_ascii_lowercase())
        .then(|| text[..end].to_owned())
}

/// Module to what it imports, and where.
fn imports_by_module() -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let mut modules: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap();
        let module = Path::new(&first).with_extension("").display().to_string();
        if module == "main" {
            continue;
        }
        let imports = imports(&std::fs::read_to_string(&file).unwrap());
        let known = modules.entry(module.clone()).or_default();
        for import in imports.into_iter().filter(|import| *import != module) {
            known.entry(import).or_insert_with(|| relative.to_owned());
        }
    }
    modules
}

#[test]
fn nothing_imports_upwards() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (module, imports) in imports_by_module() {
        let Some(allowed) = allowed.get(module.as_str()) else {
            wrong.push(format!("{module} has no line in MAY_IMPORT"));
            continue;
        };
        for (import, file) in imports {
            if !allowed.contains(&import.as_str()) {
                wrong.push(format!("{}: {module} must not import {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_has_no_circle() {
    let arrows: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    // Take away, again and again, what imports nothing that is left.
    let mut left: BTreeSet<&str> = arrows.keys().copied().collect();
    while let Some(free) = left
        .iter()
        .copied()
        .find(|module| !arrows[module].iter().any(|m| left.contains(m)))
    {
        left.remove(free);
    }
    assert!(left.is_empty(), "a circle among {left:?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::oci::Digest;\nuse crate::{cache::{Cache, Key}, links, \n upstream};\n// crate::cli\nlet x = crate::body::Body::empty();";
    let found: Vec<String> = imports(source).into_iter().collect();
    assert_eq!(found, ["body", "cache", "links", "oci", "upstream"]);
}
