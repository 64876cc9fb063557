//! Promise: the command line explains itself (examples, completions, manual), shows progress to people only, and `--output json` has
//! the fields that docs/cli.md shows.

use crate::support;
use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::cli::refshim;
use crate::support::content::{IMAGE, INDEX, Pushed};
use crate::support::process::Process;
use crate::support::{Endpoint, eventually, within};

const SUBCOMMANDS: [&str; 11] = [
    "serve",
    "check",
    "referrers",
    "tree",
    "copy",
    "audit",
    "materialize",
    "gc",
    "demo",
    "completions",
    "man",
];

#[tokio::test]
async fn every_subcommand_has_examples() {
    let overview = refshim(&["--help"]).await.ok();
    for subcommand in SUBCOMMANDS {
        assert!(overview.contains(&format!("\n  {subcommand}")), "{overview}");
        let help = refshim(&[subcommand, "--help"]).await.ok();
        let example = format!("\n  refshim {subcommand}");
        assert!(help.contains("xamples:\n") && help.contains(&example), "{help}");
        // Nobody asked for colours, and nobody would see them.
        assert!(!help.contains('\u{1b}'), "{help}");
    }
    assert!(overview.contains("Examples:"), "{overview}");
}

#[tokio::test]
async fn shells_take_their_completions() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef refshim"),
        ("fish", "complete -c refshim"),
    ] {
        let script = refshim(&["completions", shell]).await.ok();
        assert!(script.contains(word) && script.contains("materialize"), "{shell}");
    }
    let script = refshim(&["completions", "bash"]).await.ok();
    let ask = "COMP_WORDS=(refshim ma); COMP_CWORD=1; _refshim refshim ma refshim; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash")
        .args(["--norc", "-c", &format!("{script}\n{ask}")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bash.stdout).trim(),
        "materialize man",
        "{bash:?}"
    );
}

#[tokio::test]
async fn the_manual_has_a_page_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    refshim(&["man", folder.path().to_str().unwrap()]).await.ok();
    for subcommand in SUBCOMMANDS {
        let page = std::fs::read_to_string(folder.path().join(format!("refshim-{subcommand}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("xamples:"), "{page}");
        for section in ["\"EXIT STATUS\"", "FILES", "ENVIRONMENT", "\"SEE ALSO\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{section} in {page}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), SUBCOMMANDS.len() + 1);
    let missing = folder.path().join("no/such");
    let error = refshim(&["man", missing.to_str().unwrap()]).await.refused(1);
    assert!(error.contains("name an existing folder"), "{error}");
}

/// `refshim demo`, whose content is the same everywhere, with an index and a dead link tag.
struct Demo {
    registry: Endpoint,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Demo {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_refshim"));
        command.args(["demo", "--listen", "127.0.0.1:0"]);
        let mut process = Process::start("refshim demo", command, &folder.path().join("log"));
        let url = eventually("the demo introduces itself", async || {
            assert!(process.exited().is_none(), "{}", process.output());
            let text = process.output();
            let (_, rest) = text.split_once("without the referrers API: ")?;
            text.contains("Ctrl-C")
                .then(|| rest.split_whitespace().next().unwrap_or_default().to_owned())
        });
        let registry = Endpoint::new(&url.await);
        let image = registry.manifest("demo/app", "1.0").await.expect_status(200);
        let image = Pushed::of(IMAGE, &image.json());
        let listed = support::content::index([image.descriptor()]);
        registry.put_manifest("demo/app", "multi", INDEX, &listed).await;
        Self {
            registry,
            _process: process,
            _folder: folder,
        }
    }

    fn name(&self, reference: &str) -> String {
        format!("{}/demo/app{reference}", self.registry.authority())
    }

    async fn add_a_dead_tag(&self) {
        let tag = format!("sha256-{}.sig", "0".repeat(64));
        let image = self.registry.manifest("demo/app", "1.0").await;
        let image = Pushed::of(IMAGE, &image.json());
        self.registry.put_tag("demo/app", &tag, &image).await;
    }
}

/// Every path of keys to the type of its value. What a list holds is taken together; annotations are anybody's.
fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    let mut paths = BTreeMap::new();
    walk(value, String::new(), &mut paths);
    paths
}

fn walk(value: &Value, path: String, paths: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            items.iter().for_each(|item| walk(item, format!("{path}[]"), paths));
            "list"
        }
        Value::Object(members) => {
            for (key, member) in members.iter().filter(|_| !path.ends_with("annotations")) {
                walk(member, format!("{path}.{key}"), paths);
            }
            "object"
        }
    };
    paths.insert(path, kind);
}

/// The example below the heading of docs/cli.md.
fn documented(heading: &str) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    let text = std::fs::read_to_string(file).unwrap();
    let section = text.split(&format!("\n### {heading}\n")).nth(1).expect(heading);
    let example = section
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split("\n```")
        .next()
        .unwrap();
    serde_json::from_str(example).unwrap()
}

#[track_caller]
fn is_documented(heading: &str, printed: &Value) {
    assert_eq!(shape(printed), shape(&documented(heading)), "{heading}: {printed:#}");
}

#[tokio::test]
async fn json_has_the_fields_that_are_documented() {
    let demo = Demo::start().await;
    let (image, multi, repository) = (demo.name(":1.0"), demo.name(":multi"), demo.name(""));
    let json = ["--output", "json"];
    for (heading, arguments) in [
        ("refshim referrers", &["referrers", &image][..]),
        ("refshim tree", &["tree", &multi]),
        (
            "refshim check",
            &["check", "--upstream", demo.registry.url(), "--repository", "demo/app"],
        ),
        (
            "refshim materialize",
            &["materialize", &repository, "--as", "proposal-d"],
        ),
        ("refshim gc --keep-list", &["gc", &repository, "--keep-list"]),
    ] {
        let printed = refshim(&[arguments, &json].concat()).await.json();
        is_documented(heading, &printed);
    }
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", folder.path().join("app").display());
    let copied = refshim(&[&["copy", &image, &layout], &json[..]].concat()).await.json();
    is_documented("refshim copy", &copied);
    demo.add_a_dead_tag().await;
    let planned = refshim(&[&["audit", "--dry-run", &repository], &json[..]].concat())
        .await
        .json();
    is_documented("refshim audit --dry-run", &planned);
    let ended = refshim(&[&["audit", &repository], &json[..]].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    is_documented("refshim audit", &serde_json::from_str(&ended.stdout).unwrap());
    let ended = refshim(&[&["gc", &repository, "--delete"], &json[..]].concat()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    is_documented("refshim gc", &serde_json::from_str(&ended.stdout).unwrap());
}

#[test]
fn shapes_tell_fields_and_types_apart() {
    let one = json!({"a": [{"b": 1}, {"c": null}], "annotations": {"x": "y"}});
    let other = json!({"a": [{"b": 2, "c": null}], "annotations": {}});
    assert_eq!(shape(&one), shape(&other));
    assert_ne!(
        shape(&one),
        shape(&json!({"a": [{"b": "1"}, {"c": null}], "annotations": {}}))
    );
}

/// Progress is for a terminal; that it is nowhere else, every other test that reads standard error shows.
#[tokio::test]
async fn progress_is_shown_on_a_terminal() {
    let demo = Demo::start().await;
    let folder = tempfile::tempdir().unwrap();
    let typescript = folder.path().join("typescript");
    let line = format!("{} gc {}", env!("CARGO_BIN_EXE_refshim"), demo.name(""));
    let mut script = tokio::process::Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line])
        .arg(&typescript)
        .env("TERM", "xterm");
    script.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let ended = within("the run ends", script.output()).await.unwrap();
    let seen = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{seen}");
    assert!(
        seen.contains("reading tags: ") && seen.contains("link tags are dead"),
        "{seen}"
    );
}
