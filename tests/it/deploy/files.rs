//! The files in `deploy/`, and the programs that check them.

use std::path::{Path, PathBuf};
use std::process::Command;

use refshim::testing::config::{Config, Overrides, load_with};
use serde_json::Value;

use crate::support::process::find;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A file or folder of the repository.
pub fn path(relative: &str) -> PathBuf {
    Path::new(ROOT).join(relative)
}

pub fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Files of a folder whose names end in `suffix`, sorted.
pub fn list(folder: &str, suffix: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(path(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|file| file.ends_with(suffix))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {suffix} in {folder}");
    files
}

/// What a program of `tests/install-tools` prints when it succeeds.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    match attempt(program, arguments) {
        Ok(output) => output,
        Err(output) => panic!("{program} {arguments:?} failed\n{output}"),
    }
}

/// What it prints: `Err` with both outputs when it fails.
pub fn attempt(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(find(program))
        .args(arguments)
        .current_dir(ROOT)
        .env_remove("KUBECONFIG")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stdout) + &text(&output.stderr)),
    }
}

/// The documents of a YAML text.
#[track_caller]
pub fn yaml(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The configuration that refshim makes of a TOML text.
#[track_caller]
pub fn load(toml: &str, environment: &[(&str, &str)]) -> Config {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), toml).expect("it is written");
    let environment = environment
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    load_with(Some(file.path()), environment, &Overrides::default()).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// Fails for fields that this version of Kubernetes does not know, or that have the wrong type.
#[track_caller]
pub fn check_kubernetes(manifests: &str) {
    let file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a temporary file");
    std::fs::write(file.path(), manifests).expect("it is written");
    let file = file.path().to_str().expect("a path in UTF-8");
    run("kubernetes-validate", &["--strict", "--quiet", "-k", KUBERNETES, file]);
}

/// The oldest version that the manifests are for.
pub const KUBERNETES: &str = "1.30";
