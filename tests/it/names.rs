//! Promise: modules, types, functions and fields are called as the specification and the field call them, and a type's name
//! says which one it is: none stands in two modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::layering::source_files;

/// Names of our own making that were given up, and what is said instead.
const GIVEN_UP: [(&str, &str); 60] = [
    ("Ask", "ReadRequest"),
    ("Below", "ReferrerTree"),
    ("Callers", "ClientAuth"),
    ("DeepLink", "HeldLink"),
    ("Deleted", "Tombstones"),
    ("Dialect", "LinkSource"),
    ("Door", "ProxyAuth"),
    ("Doors", "ListenerSecurity"),
    ("Entrance", "Listener"),
    ("FallbackIndex", "ReferrersTagIndex"),
    ("Flights", "SingleFlight"),
    ("Greeting", "ServerIdentity"),
    ("Heard", "OpenResponse"),
    ("HeldRoom", "ResponseBudget"),
    ("Keeper", "ConnectionTask"),
    ("Landed", "Outcome"),
    ("Lately", "RecentlyParsed"),
    ("Learned", "Capability"),
    ("LearnedLink", "HeldLink"),
    ("Lesson", "ParsedManifest"),
    ("Links", "ReferrerList"),
    ("Phase", "IdleDeadline"),
    ("Place", "RepositoryContext"),
    ("PushRoom", "RequestBudget"),
    ("Reserved", "Reservation"),
    ("Resolved", "Lookup"),
    ("Router", "UpstreamSelector"),
    ("Scope", "RepositoryKey, or a token's scope in full"),
    ("Seat", "ConnectionPermit"),
    ("Stalling", "WriteTimeout"),
    ("Stamped", "CacheEntry"),
    ("Standing", "Validity"),
    ("Touch", "Invalidation"),
    ("Trouble", "ErrorPage, CommandError"),
    ("Turn", "Permit, Attempt"),
    ("Visit", "RoutedRequest"),
    ("Way", "UpstreamView"),
    ("deep", "ordinary_tags"),
    ("door", "auth"),
    ("doors", "security"),
    ("doubtful", "unverified"),
    ("held_room", "response_budget"),
    ("hopeless", "down"),
    ("knock", "ping"),
    ("lately", "recently_parsed"),
    ("lead", "select_upstream"),
    ("learned", "observed"),
    ("led", "leader"),
    ("link_kind", "reference_type"),
    ("look_at", "verify"),
    ("notices", "notifications"),
    ("pauses", "backoff"),
    ("pull_up", "entries"),
    ("push_room", "request_budget"),
    ("seat", "permit"),
    ("tag_source", "link_tags"),
    ("timed", "idle_timeout"),
    ("told", "published"),
    ("trial", "credential_check"),
    ("vouched", "verified"),
];

/// Types that a trait or a build without a feature calls so.
const OFTEN: [&str; 10] = [
    "Data", "Ecr", "Err", "Error", "Future", "Response", "Target", "Traces", "Value", "Writer",
];

/// What a line declares: its keyword and name. Fields are told by their indentation and colon.
fn declared(line: &str) -> Option<(&str, &str)> {
    let code = line.trim_start();
    let code = match code.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => code.strip_prefix("pub ").unwrap_or(code),
    };
    let (word, rest) = code.split_once(' ')?;
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = |text: &'static [char]| rest.split(text).next();
    match word {
        "async" | "const" | "unsafe" | "extern" => declared(rest),
        "struct" | "enum" | "trait" | "type" | "fn" | "mod" => {
            let name = name(&['<', '(', '{', ';', ':', ' ', '='])?;
            is_name(name).then_some((word, name))
        }
        field if line.starts_with("    ") => {
            let field = field.strip_suffix(':')?;
            is_name(field).then_some(("field", field))
        }
        _ => None,
    }
}

/// The lines of a file that are no comments and stand before its tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let name = |file: &Path| file.strip_prefix(&root).unwrap().display().to_string();
    files
        .iter()
        .map(|file| (name(file), std::fs::read_to_string(file).unwrap()))
        .collect()
}

#[test]
fn no_name_is_a_riddle() {
    let given_up: BTreeMap<_, _> = GIVEN_UP.into_iter().collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (kind, name) in code(&text).filter_map(declared) {
            if let Some(instead) = given_up.get(name) {
                wrong.push(format!("src/{file}: {kind} {name} (say {instead})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_types_name_says_which_one_it_is() {
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources() {
        let is_test = file.contains("tests");
        for (kind, name) in code(&text).filter_map(declared).filter(|_| !is_test) {
            if !["fn", "mod", "field"].contains(&kind) && !OFTEN.contains(&name) {
                modules.entry(name.to_owned()).or_default().insert(file.clone());
            }
        }
    }
    let doubled: Vec<_> = modules.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(doubled.is_empty(), "types of one name: {doubled:#?}");
}

#[test]
fn declarations_are_found() {
    let lines = [
        ("pub(super) struct Way<'a> {", Some(("struct", "Way"))),
        ("    pub async fn lead(&self) {", Some(("fn", "lead"))),
        ("pub(in crate::proxy) type Turn = ();", Some(("type", "Turn"))),
        ("mod deep;", Some(("mod", "deep"))),
        ("    pub(super) door: Door,", Some(("field", "door"))),
        ("    let door = Door::new();", None),
        ("    Deleted,", None),
    ];
    for (line, expected) in lines {
        assert_eq!(declared(line), expected, "{line}");
    }
}
