//! Tells the program which commit it is built from.

use std::path::Path;
use std::process::Command;

/// By which packagers name the commit of sources without git.
const VARIABLE: &str = "REFSHIM_COMMIT";
/// What `cargo package` writes beside the sources.
const PACKAGED: &str = ".cargo_vcs_info.json";
/// Characters of a commit's hash that are kept.
const SHORT: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let named = std::env::var(VARIABLE).ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(packaged).or_else(checked_out);
    println!(
        "cargo::rustc-env=REFSHIM_BUILT_FROM={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

/// The commit that the package on a registry of crates was made from.
fn packaged() -> Option<String> {
    let text = std::fs::read_to_string(PACKAGED).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    let hash = rest.split('"').nth(1)?;
    Some(hash.chars().take(SHORT).collect())
}

/// The commit that is checked out, in builds for use. Others would be linked anew after each commit.
fn checked_out() -> Option<String> {
    if std::env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let git = git(&["rev-parse", "--absolute-git-dir"])?;
    for file in ["HEAD", "index"] {
        println!("cargo::rerun-if-changed={}", Path::new(&git).join(file).display());
    }
    println!("cargo::rerun-if-changed=src");
    self::git(&[
        "describe",
        "--always",
        "--dirty",
        "--exclude=*",
        &format!("--abbrev={SHORT}"),
    ])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
