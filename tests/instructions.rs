//! Promise: the hot paths do not grow heavier unnoticed. Instructions are counted, which no busy machine changes, and compared
//! with `instructions/baseline.txt`.
//!
//! The counts are those of the test profile: what they say is whether a path does more than it did, not how fast it is. Where
//! more is right, `REFSHIM_RECORD=1 cargo test --test instructions` writes the new baseline.

#[path = "instructions/cases.rs"]
mod cases;
#[path = "instructions/requests.rs"]
mod requests;
#[path = "it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In percent of the baseline. Other versions of the compiler and the C library count a little differently.
const BOUND: u64 = 125;
/// A count this far below calls for a new baseline, or growth would go unnoticed for long.
const STALE: u64 = 70;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions/baseline.txt");

#[test]
fn hot_paths_keep_to_their_instructions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let counted = count(folder.path());
    if std::env::var_os("REFSHIM_RECORD").is_some() {
        fs::write(BASELINE, print(&counted)).expect("the baseline is written");
        return;
    }
    let baseline = read(&fs::read_to_string(BASELINE).expect("a baseline"));
    assert!(counted.keys().eq(baseline.keys()), "other cases than in the baseline");
    let off = counted.iter().filter_map(|(name, &now)| {
        let percent = now * 100 / baseline[name];
        (!(STALE..=BOUND).contains(&percent)).then(|| format!("{name}: {} -> {now}, {percent} %", baseline[name]))
    });
    let off: Vec<String> = off.collect();
    assert!(
        off.is_empty(),
        "instructions differ from {BASELINE} (is it meant? REFSHIM_RECORD=1 records them):\n{}\nall:\n{}",
        off.join("\n"),
        print(&counted)
    );
}

/// The work itself, under callgrind.
#[test]
#[ignore = "run by the test above"]
fn worker() {
    cases::run();
    requests::run();
}

/// Instructions of one run of each case.
fn count(folder: &Path) -> BTreeMap<String, u64> {
    let out = folder.join("out");
    let worker = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*cases::checkpoint*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this test's own path"))
        .args(["--exact", "worker", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .expect("valgrind starts (tests/install-tools installs it)");
    let (said, errors) = (
        String::from_utf8_lossy(&worker.stdout),
        String::from_utf8_lossy(&worker.stderr),
    );
    assert!(worker.status.success(), "{said}\n{errors}");
    let cases = said
        .lines()
        .filter_map(|line| line.split_once("case: ")?.1.split_once(" x "));
    let mut counted = BTreeMap::new();
    for (number, (name, times)) in cases.enumerate() {
        // The first dump is of what came before the case, the second of the case.
        let total = total(&out.with_extension((2 * number + 2).to_string()));
        let times: u64 = times.trim().parse().expect("a number of times");
        counted.insert(name.to_owned(), total / times);
    }
    counted
}

fn total(dump: &PathBuf) -> u64 {
    let text = fs::read_to_string(dump).unwrap_or_else(|error| panic!("{}: {error}", dump.display()));
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.expect("callgrind's total").trim().parse().expect("a number")
}

fn print(counted: &BTreeMap<String, u64>) -> String {
    counted
        .iter()
        .map(|(name, count)| format!("{name}: {count}\n"))
        .collect()
}

fn read(baseline: &str) -> BTreeMap<String, u64> {
    let lines = baseline.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, count)| (name.to_owned(), count.parse().expect("a count")))
        .collect()
}
