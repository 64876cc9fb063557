//! Everything that reads foreign bytes, as functions that fuzzers feed (`fuzz/`) and that a test feeds with every seed.
//!
//! Each takes any bytes at all and panics when a promise is broken: what is printed reads back as itself, what is refused is
//! refused without a crash. Compiled for tests and fuzzers only.

#![allow(clippy::expect_used, reason = "a broken promise is a crash")]

mod answers;
mod contents;
mod language;
mod local;
mod requests;
mod responses;

/// A name, which is also the folder of its seeds, and what takes the bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All of them; `fuzz/fuzz_targets` has a file for each.
pub const TARGETS: [FuzzTarget; 20] = [
    ("answer", answers::referrers_answer),
    ("challenge", responses::challenge),
    ("contents", contents::contents),
    ("digest", language::digest),
    ("docker_config", local::docker_config),
    ("envelope", language::envelope),
    ("events", local::events),
    ("fallback_index", answers::fallback_index),
    ("htpasswd", local::htpasswd),
    ("link", responses::link),
    ("location", responses::location),
    ("manifest", language::manifest),
    ("page_token", requests::page_token),
    ("query", requests::query),
    ("reference", local::reference),
    ("retry_after", responses::retry_after),
    ("route", requests::route),
    ("tag", language::tag),
    ("tag_page", responses::tag_page),
    ("token", responses::token),
];

/// Feeds the target called `name`.
///
/// # Panics
/// When there is none, or when it finds a broken promise.
pub fn feed(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, take) = target.expect("a fuzz target's file is called like the target");
    take(bytes);
}

/// The bytes as text, and what follows the first line break.
fn two_texts(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.split_once('\n').unwrap_or((text, "")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn names_in(folder: &Path) -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_target_has_a_file_and_seeds_and_survives_them() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names_in(&fuzz.join("fuzz_targets")), names);
        assert_eq!(names_in(&fuzz.join("seeds")), names);
        for (name, take) in TARGETS {
            for seed in std::fs::read_dir(fuzz.join("seeds").join(name)).unwrap() {
                take(&std::fs::read(seed.unwrap().path()).unwrap());
            }
            take(b"");
        }
    }
}
