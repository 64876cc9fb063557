//! Documentation, alerts and dashboard against a real scrape.

use std::collections::{BTreeMap, BTreeSet};

use refshim::testing::cache::{Kind, Tier};
use refshim::testing::events::DropReason;
use refshim::testing::metrics::{Endpoint, SignedPull};
use refshim::testing::registry::{BackoffOutcome, RequestKind, RequestOutcome};
use serde_json::{Value, json};

use crate::deploy::files::{path, read, run, yaml};
use crate::deploy::scrape::{Families, scrape};

/// Prometheus adds them.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

#[tokio::test]
async fn the_documentation_names_every_metric_and_label() {
    let scraped = scrape().await.0;
    let documented: BTreeMap<String, (String, BTreeSet<String>)> = ["| `refshim_", "| `process_"]
        .into_iter()
        .flat_map(rows)
        .map(|cells| {
            (
                code(&cells[0]).remove(0),
                (cells[1].clone(), code(&cells[2]).into_iter().collect()),
            )
        })
        .collect();
    let scraped: BTreeMap<_, _> = scraped
        .into_iter()
        .map(|(name, family)| (name, (family.kind, family.labels)))
        .collect();
    assert_eq!(documented, scraped);
}

#[test]
fn the_documentation_names_every_value_of_a_label() {
    let documented: BTreeMap<String, BTreeSet<String>> = rows_of(labels(), "| `")
        .map(|cells| (code(&cells[0]).remove(0), code(&cells[1]).into_iter().collect()))
        .collect();
    for (label, values) in known_values() {
        let missing: Vec<_> = values.difference(&documented[label]).collect();
        assert!(missing.is_empty(), "{label}: {missing:?}");
    }
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_what_there_is() {
    let families = scrape().await;
    let mut queries = 0;
    for document in yaml(&read("deploy/prometheus/alerts.yml"))
        .into_iter()
        .chain([dashboard()])
    {
        texts(&document, &mut |text| {
            queries += check_query(&families, text);
        });
    }
    assert!(queries > 20, "only {queries} queries were found");
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    run("promtool", &["check", "rules", "deploy/prometheus/alerts.yml"]);
    run("promtool", &["test", "rules", "deploy/prometheus/alerts_test.yml"]);
    let tested = read("deploy/prometheus/alerts_test.yml");
    for rule in yaml(&read("deploy/prometheus/alerts.yml"))[0]["groups"][0]["rules"]
        .as_array()
        .expect("rules")
    {
        let name = rule["alert"].as_str().expect("a name");
        assert!(
            tested.contains(&format!("alertname: {name}\n        exp_alerts")),
            "{name} is never seen firing"
        );
    }
}

#[test]
fn the_dashboard_s_queries_are_promql_and_its_panels_do_not_overlap() {
    let dashboard = dashboard();
    let mut rules = Vec::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(taken.insert((panel["id"].to_string(), 0)), "id {} twice", panel["id"]);
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a position");
        assert!(at("x") + at("w") <= 24, "{} is too wide", panel["title"]);
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((format!("{x} {y}"), 1)), "{} overlaps", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a query");
            let expression = [
                ("$__rate_interval", "5m"),
                ("$__range", "1h"),
                ("$job", ".*"),
                ("$instance", ".*"),
                ("$upstream", ".*"),
            ]
            .iter()
            .fold(expression.to_owned(), |text, (variable, value)| {
                text.replace(variable, value)
            });
            rules.push(json!({"record": format!("panel:{}", rules.len()), "expr": expression}));
        }
    }
    let file = tempfile::Builder::new()
        .suffix(".yml")
        .tempfile()
        .expect("a temporary file");
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), groups.to_string()).expect("it is written");
    run(
        "promtool",
        &["check", "rules", file.path().to_str().expect("a path in UTF-8")],
    );
}

#[tokio::test]
async fn every_metric_is_on_a_panel_of_the_dashboard() {
    let families = scrape().await;
    let mut queries = String::new();
    texts(&dashboard()["panels"], &mut |text| queries.push_str(text));
    let is_shown = |series: &String| {
        queries
            .match_indices(series.as_str())
            .any(|(at, _)| !queries[at + series.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    };
    let missing = families
        .0
        .iter()
        .filter(|(_, family)| !family.series.iter().any(is_shown));
    let missing: Vec<_> = missing.map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_alert_links_to_what_to_do() {
    let headings: BTreeSet<String> = read("docs/alerts.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_lowercase)
        .collect();
    let rules = yaml(&read("deploy/prometheus/alerts.yml"));
    let rules = rules[0]["groups"][0]["rules"].as_array().expect("rules").clone();
    for rule in &rules {
        let name = rule["alert"].as_str().expect("a name").to_lowercase();
        assert_eq!(rule["annotations"]["runbook_url"], format!("docs/alerts.md#{name}"));
        assert!(headings.contains(&name), "docs/alerts.md has no section {name}");
    }
    assert_eq!(headings.len(), rules.len(), "a section without an alert: {headings:?}");
}

fn dashboard() -> Value {
    let file = std::fs::File::open(path("deploy/grafana/refshim.json")).expect("the dashboard");
    serde_json::from_reader(file).expect("JSON")
}

/// The cells of the documentation's table rows that begin like this.
fn rows(beginning: &str) -> impl Iterator<Item = Vec<String>> {
    rows_of(read("docs/metrics.md"), beginning)
}

/// The section of the documentation about labels.
fn labels() -> String {
    let text = read("docs/metrics.md");
    let (_, rest) = text.split_once("## Labels").expect("a section");
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

fn rows_of(text: String, beginning: &str) -> impl Iterator<Item = Vec<String>> {
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter(|line| line.starts_with(beginning))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect();
    rows.into_iter()
}

/// The texts between backticks.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn known_values() -> [(&'static str, BTreeSet<String>); 10] {
    let texts = |values: &[&str]| values.iter().map(|value| value.to_string()).collect();
    [
        ("certificate", texts(&["server", "admin", "client"])),
        ("entry", texts(&Kind::ALL.map(Kind::as_str))),
        ("tier", texts(&Tier::ALL.map(Tier::as_str))),
        ("endpoint", texts(&Endpoint::ALL.map(Endpoint::as_str))),
        ("signed", texts(&SignedPull::ALL.map(SignedPull::as_str))),
        ("kind", texts(&RequestKind::ALL.map(RequestKind::as_str))),
        ("outcome", texts(&RequestOutcome::ALL.map(RequestOutcome::as_str))),
        ("reason", texts(&DropReason::ALL.map(DropReason::as_str))),
        ("how", texts(&BackoffOutcome::ALL.map(BackoffOutcome::as_str))),
        ("status", texts(&["1xx", "2xx", "3xx", "4xx", "5xx"])),
    ]
}

/// Calls `see` with every text in a document.
fn texts(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, see)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, see)),
        _ => {}
    }
}

/// Checks series, label names and label values in a query. Returns how many series it named.
fn check_query(families: &Families, text: &str) -> usize {
    let mut named = 0;
    let starts = ["refshim_", "process_"]
        .into_iter()
        .flat_map(|prefix| text.match_indices(prefix));
    for (start, _) in starts {
        named += 1;
        let rest = &text[start..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let family = families.of_series(&rest[..end]);
        let family = family.unwrap_or_else(|| panic!("no series is called {}: {text}", &rest[..end]));
        let matchers = rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        for matcher in matchers.iter().flat_map(|(inside, _)| inside.split(", ")) {
            let (label, values) = matcher
                .split_once(['=', '!'])
                .unwrap_or_else(|| panic!("{matcher} in {text}"));
            if TARGET_LABELS.contains(&label) {
                continue;
            }
            assert!(
                family.labels.contains(label),
                "{} has no label {label}: {text}",
                &rest[..end]
            );
            let values = values.trim_start_matches(['=', '~']).trim_matches('"');
            for (_, known) in known_values().iter().filter(|(name, _)| *name == label) {
                assert!(
                    values.split('|').all(|value| known.contains(value)),
                    "{label} is never {values}: {text}"
                );
            }
        }
    }
    named
}
