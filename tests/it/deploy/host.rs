//! Image, compose and systemd: what runs outside of Kubernetes.

use std::process::Command;

use crate::deploy::files::{load, path, read, run};
use crate::support::process::find;

#[test]
fn the_dockerfile_has_no_lint() {
    run("hadolint", &["deploy/Dockerfile"]);
}

/// No container engine builds the image in the tests, so what it copies is looked for.
#[test]
fn what_the_dockerfile_copies_exists_and_is_not_ignored() {
    let ignore = read("deploy/Dockerfile.dockerignore");
    let dockerfile = read("deploy/Dockerfile");
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let mut sources = 0;
    for arguments in copied.filter(|arguments| !arguments.starts_with("--from")) {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(path(source).exists(), "{source}");
            assert!(
                ignore.lines().any(|line| line == format!("!{source}")),
                "{source} is ignored"
            );
            sources += 1;
        }
    }
    assert!(sources > 3, "{dockerfile}");
    let rust = read("Cargo.toml");
    let minimum = rust
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .expect("a rust-version");
    let used = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUST_VERSION="))
        .expect("a version");
    let minor = |version: &str| {
        version
            .trim_matches('"')
            .split('.')
            .nth(1)
            .and_then(|n| n.parse::<u32>().ok())
    };
    assert!(minor(used) >= minor(minimum), "{used} is older than {minimum}");
}

#[test]
fn the_image_listens_on_all_addresses_and_takes_its_registry_from_the_environment() {
    let config = load(
        &read("deploy/container.toml"),
        &[("REFSHIM_UPSTREAM", "https://ghcr.io")],
    );
    assert!(config.server.listen.ip().is_unspecified() && config.admin.listen.ip().is_unspecified());
    let dockerfile = read("deploy/Dockerfile");
    for address in [config.server.listen, config.admin.listen] {
        let exposed = dockerfile
            .lines()
            .find(|line| line.starts_with("EXPOSE "))
            .expect("EXPOSE");
        assert!(exposed.contains(&address.port().to_string()), "{exposed}");
    }
}

#[test]
fn the_compose_file_keeps_to_the_specification() {
    let text = run(
        "compose-spec",
        &["--format", "json", "deploy/compose/docker-compose.yml"],
    );
    let project: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let service = &project["services"]["refshim"];
    let environment = service["environment"].as_object().expect("an environment");
    let variables: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("a text")))
        .collect();
    load(&read("deploy/container.toml"), &variables);
    for port in service["ports"].as_array().expect("ports") {
        assert_eq!(port["host_ip"], "127.0.0.1", "{port}");
    }
    assert!(
        project["services"]["registry"]["ports"].is_null(),
        "nobody goes past refshim"
    );
}

#[test]
fn the_systemd_unit_is_valid_and_confined() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = folder.path().join("refshim.service");
    // It must name a program that is there.
    let text = read("deploy/systemd/refshim.service").replace("/usr/local/bin/refshim", env!("CARGO_BIN_EXE_refshim"));
    std::fs::write(&unit, text).expect("the unit is written");
    let analyse = |arguments: &[&str]| {
        let output = Command::new(find("systemd-analyze"))
            .args(arguments)
            .arg(&unit)
            .output();
        let output = output.expect("systemd-analyze runs");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(output.status.success(), "{arguments:?}: {printed}");
        printed
    };
    assert_eq!(analyse(&["verify"]), "", "no warnings");
    // Exposure in tenths: open addresses are what is left.
    analyse(&["security", "--offline=true", "--threshold=15", "--no-pager"]);
}
