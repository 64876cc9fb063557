//! Promise: exit codes 0, 1 and 2 mean done, failed and wrong usage; an error is one line on standard error that says what is
//! wrong and how to mend it.

use std::io::Write as _;
use std::process::{Command, Output};

/// Runs the program in an environment without anybody's settings or credentials.
fn refshim(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_refshim"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// The lines on standard error.
fn errors(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Standard error must be this one line's beginning.
#[track_caller]
fn assert_refused(output: &Output, code: i32, beginning: &str) {
    let errors = errors(output);
    assert_eq!(output.status.code(), Some(code), "{errors:?}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with(beginning), "{errors:?}");
    assert!(output.stdout.is_empty());
}

/// An address on which nothing listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["help", "tree"], &["check", "--help"]] {
        let output = refshim(arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_fits_the_terminal() {
    for subcommand in ["serve", "check", "gc"] {
        let output = refshim(&["help", subcommand], &[("COLUMNS", "72")]);
        let text = String::from_utf8(output.stdout).unwrap();
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 72).collect();
        assert!(wide.is_empty(), "{subcommand}: {wide:#?}");
    }
}

#[test]
fn no_subcommand_shows_help_and_is_wrong_usage() {
    let output = refshim(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).iter().any(|line| line.contains("Usage: refshim")));
}

#[test]
fn wrong_usage_is_one_line() {
    let cases: [(&[&str], &str); 5] = [
        (&["frobnicate"], "refshim: unrecognized subcommand 'frobnicate'"),
        (
            &["tree"],
            "refshim: the following required arguments were not provided: <REF>",
        ),
        (
            &["tree", "app:v1"],
            "refshim: invalid value 'app:v1' for '<REF>': 'app:v1' is not a reference",
        ),
        (
            &["check", "--upstrem", "x"],
            "refshim: unexpected argument '--upstrem' found",
        ),
        (
            &["referrers", "--output", "xml", "localhost/a"],
            "refshim: invalid value 'xml' for '--output",
        ),
    ];
    for (arguments, beginning) in cases {
        assert_refused(&refshim(arguments, &[]), 2, beginning);
    }
}

#[test]
fn what_was_probably_meant_is_said_with_where_to_read_on() {
    for (arguments, end) in [
        (&["chekc"][..], "; did you mean 'check'?; see 'refshim help'"),
        (
            &["check", "--upstrem", "x"],
            "; did you mean '--upstream'?; see 'refshim help check'",
        ),
        (&["tree"], "; see 'refshim help tree'"),
    ] {
        let output = refshim(arguments, &[]);
        let errors = errors(&output);
        assert!(errors[0].ends_with(end), "{errors:?}");
    }
}

#[test]
fn the_version_says_what_was_built() {
    let output = refshim(&["--version"], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = concat!("refshim ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(
        text.starts_with(expected) && text.contains("features)") || text.contains("features "),
        "{text}"
    );
}

#[test]
fn problems_in_a_file_have_their_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    file.write_all(b"[cache]\n\nfresh_for = 'soon'\n[upstream]\nurl = 'ftp://x'\n")
        .unwrap();
    let output = refshim(&["check", "-c", &path, "-o", "json"], &[]);
    let mut errors = errors(&output);
    errors.sort();
    let expected = [
        format!("refshim: cache.fresh_for: 'soon' is not a duration: write it like 30s, 10m or 1h ({path}, line 3)"),
        format!(
            "refshim: upstream: write [[upstream]] with two brackets instead of [upstream]: there may be several ({path}, line 4)"
        ),
        "refshim: upstream[0].url: 'ftp://x' must start with http:// or https://".to_owned(),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, beginning) in errors.iter().zip(&expected) {
        assert!(error.starts_with(beginning.as_str()), "{errors:?}");
    }
    file.write_all(b"[server\n").unwrap();
    let output = refshim(&["check", "-c", &path], &[]);
    assert_refused(&output, 2, &format!("refshim: {path}: TOML parse error at line 6"));
}

#[test]
fn a_wrong_key_value_or_url_is_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[server]\nlisen = 1\n[cache]\nfresh_for = 'soon'\n[[upstream]]\nurl = 'ftp://x'\n")
        .unwrap();
    let output = refshim(&["check", "--config", file.path().to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(2));
    let mut errors = errors(&output);
    errors.sort();
    let beginnings = [
        "refshim: cache.fresh_for: 'soon' is not a duration: write it like 30s, 10m or 1h",
        "refshim: server.lisen: unknown key: did you mean 'listen'? Known are listen",
        "refshim: upstream[0].url: 'ftp://x' must start with http:// or https://",
    ];
    assert_eq!(errors.len(), beginnings.len(), "{errors:?}");
    for (error, beginning) in errors.iter().zip(beginnings) {
        assert!(error.starts_with(beginning), "{errors:?}");
    }
}

#[test]
fn flags_and_environment_are_named_as_the_origin() {
    let output = refshim(&["check", "--upstream", "ftp://x"], &[]);
    assert_refused(
        &output,
        2,
        "refshim: upstream[0].url: 'ftp://x' must start with http:// or https:// (set by --upstream)",
    );
    let output = refshim(&["check"], &[("REFSHIM_UPSTREAM", "ftp://y")]);
    assert_refused(
        &output,
        2,
        "refshim: upstream[0].url: 'ftp://y' must start with http:// or https:// (set by REFSHIM_UPSTREAM)",
    );
    let output = refshim(&["check"], &[("REFSHIM_CONFIG", "/no/such/file")]);
    assert_refused(&output, 2, "refshim: /no/such/file: cannot be read");
    let output = refshim(&["check"], &[]);
    assert_refused(&output, 2, "refshim: upstream: is missing: give --upstream URL");
}

#[test]
fn a_registry_that_is_not_there_is_a_failure() {
    let address = nowhere();
    let output = refshim(&["referrers", &format!("{address}/app:v1")], &[]);
    assert_refused(
        &output,
        1,
        &format!("refshim: http://{address}/: the registry cannot be reached"),
    );
    let output = refshim(
        &["check", "--upstream", &format!("http://{address}"), "--output", "json"],
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["upstreams"][0]["reachable"], false);
    assert_eq!(errors(&output).len(), 1);
}
