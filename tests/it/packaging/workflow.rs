//! The workflow that releases: only what is tried here, with no more rights than each job needs.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::packaging::{path, read};

fn jobs() -> Vec<Value> {
    let workflow: Value = serde_saphyr::from_str(&read(".github/workflows/release.yml")).expect("YAML");
    assert_eq!(workflow["permissions"], serde_json::json!({}), "each job names its own");
    assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "a pipe's failure is one");
    let jobs = workflow["jobs"].as_object().expect("jobs");
    jobs.values().cloned().collect()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().expect("steps")
}

#[test]
fn what_it_runs_exists() {
    let jobs = jobs();
    let lines = jobs
        .iter()
        .flat_map(steps)
        .filter_map(|step| step["run"].as_str())
        .flat_map(str::lines);
    let scripts: Vec<&str> = lines
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| {
            ["packaging/", "tests/", ".ci/"]
                .iter()
                .any(|folder| word.starts_with(folder))
        })
        .collect();
    for script in &scripts {
        let mode = path(script)
            .metadata()
            .unwrap_or_else(|error| panic!("{script}: {error}"))
            .permissions()
            .mode();
        assert_ne!(mode & 0o111, 0, "{script} is not executable");
    }
    for needed in [
        "packaging/check",
        ".ci/run",
        "packaging/build",
        "packaging/assemble",
        "packaging/publish",
    ] {
        assert!(scripts.contains(&needed), "{needed}: {scripts:?}");
    }
}

/// A tag of somebody else's repository can be moved; a commit cannot.
#[test]
fn actions_of_others_are_pinned() {
    let jobs = jobs();
    for action in jobs.iter().flat_map(steps).filter_map(|step| step["uses"].as_str()) {
        let (_, commit) = action.split_once('@').expect("a version");
        assert!(
            commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{action}"
        );
    }
}

#[test]
fn only_the_job_that_publishes_may_write_and_only_after_the_checks() {
    for job in jobs() {
        let rights = job["permissions"].as_object().expect("permissions");
        let writes = rights.values().any(|right| right == "write");
        assert_eq!(writes, job["needs"] == "check", "{rights:?}");
    }
}

#[test]
fn a_tag_that_is_not_the_version_is_refused() {
    let refused = Command::new(path("packaging/check"))
        .arg("v0.0.0")
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let reasons = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(reasons.contains("the tag is v0.0.0"), "{reasons}");
}
