//! `refshim demo`: one command, no registry at hand.

use crate::support;
use std::path::Path;
use std::process::Command;

use crate::support::process::{self, Process};
use crate::support::{Endpoint, Registry, Tools, eventually};

struct Demo {
    process: Process,
    _folder: tempfile::TempDir,
}

fn start(listen: &str) -> Demo {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_refshim"));
    command.args(["demo", "--listen", listen]);
    let process = Process::start("refshim demo", command, &folder.path().join("log"));
    Demo {
        process,
        _folder: folder,
    }
}

impl Demo {
    /// What it prints, once it is all there.
    async fn introduction(&mut self) -> String {
        eventually("the demo introduces itself", async || {
            if let Some(status) = self.process.exited() {
                panic!("it ended ({status}): {}", self.process.output());
            }
            Some(self.process.output()).filter(|text| text.contains("Ctrl-C"))
        })
        .await
    }
}

/// The word of `text` that follows `marker`.
fn word<'a>(text: &'a str, marker: &str) -> &'a str {
    let rest = text.split(marker).nth(1).unwrap_or_default();
    rest.split_whitespace().next().unwrap_or_default()
}

#[tokio::test]
async fn it_shows_what_the_registry_cannot_and_ends_when_told() {
    let mut demo = start("127.0.0.1:0");
    let text = demo.introduction().await;
    let registry = Endpoint::new(word(&text, "without the referrers API:"));
    let refshim = Endpoint::new(word(&text, "in front of it:"));
    let digest = word(&text, "/referrers/").to_owned();
    registry.referrers_reply("demo/app", &digest).await.expect_status(404);
    let listed = refshim.referrers("demo/app", &digest).await;
    let types: Vec<_> = listed
        .iter()
        .map(|entry| entry["artifactType"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "application/vnd.dev.sigstore.bundle.v0.3+json",
            "application/spdx+json",
            "application/vnd.dev.cosign.artifact.sig.v1+json"
        ]
    );
    demo.process.terminate();
    assert!(demo.process.wait().await.success());
}

/// The lines are for copying, so they are run as they are.
#[tokio::test]
async fn the_lines_that_it_prints_work() {
    let mut demo = start("127.0.0.1:0");
    let text = demo.introduction().await;
    let tools = Tools::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("  ")) {
        let command = line.split("  # ").next().unwrap();
        let mut words = command.split_whitespace();
        let program = words.next().unwrap();
        let arguments: Vec<&str> = words.collect();
        match program {
            "oras" => drop(tools.oras(&arguments).await.ok()),
            "cosign" => drop(tools.cosign(&arguments).await.ok()),
            "regctl" => drop(tools.regctl("unused.invalid", &arguments).await.ok()),
            "refshim" => {
                let mut own = Command::new(env!("CARGO_BIN_EXE_refshim"));
                let ran = own.args(&arguments).output().unwrap();
                assert!(ran.status.success(), "{command}: {ran:?}");
            }
            // What the other test does itself.
            "curl" => {}
            other => panic!("{other} is not installed for the tests"),
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut demo = start(&taken.local_addr().unwrap().to_string());
    assert_eq!(demo.process.wait().await.code(), Some(1));
    let text = demo.process.output();
    assert!(text.contains("in use") && text.contains("--listen"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// The shell blocks below a heading of the README.
fn shell_blocks(heading: &str) -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(file).expect("the README");
    let section = text.split_once(&format!("## {heading}\n")).expect("the heading").1;
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("an end").to_owned());
    blocks.collect()
}

/// As it stands there, but for ports that are free.
#[tokio::test]
async fn the_readme_s_ten_minutes_go_as_they_say() {
    let registry = Registry::v2().await;
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_refshim")).parent().unwrap();
    let tools = process::find("oras");
    let path = format!(
        "{}:{}:{}",
        program.display(),
        tools.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let upstream = registry.url().rsplit_once(':').unwrap().1.to_owned();
    let blocks = shell_blocks("In ten minutes");
    let expected = [
        ["\"tags\":[\"1.0\"", "vnd.dev.cosign.artifact.sig.v1+json"],
        ["reachable", "application/spdx+json"],
    ];
    assert_eq!(blocks.len(), expected.len());
    for (block, expected) in blocks.iter().zip(expected) {
        let script = block
            .replace("refshim demo", "refshim demo --listen 127.0.0.1:5100")
            .replace(
                "refshim serve",
                "refshim serve --listen 127.0.0.1:5100 --admin-listen 127.0.0.1:5101",
            );
        let ports = [
            ("5000", upstream.clone()),
            ("5100", process::free_port().to_string()),
            ("5101", process::free_port().to_string()),
        ];
        // In two steps: a free port may begin like one of these.
        let script = ports.iter().fold(script, |script, (port, _)| {
            script.replace(&format!(":{port}"), &format!(":PORT{port}"))
        });
        let script = ports.iter().fold(script, |script, (port, free)| {
            script.replace(&format!("PORT{port}"), free)
        });
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
        let run = tokio::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", &path)
            .env("HOME", folder.path())
            .kill_on_drop(true)
            .output();
        let output = support::within("the README's lines", run).await.unwrap();
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{script}\n{printed}");
        for text in expected {
            assert!(printed.contains(text), "{text}\n{printed}");
        }
    }
}
