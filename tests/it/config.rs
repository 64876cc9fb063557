//! Promise: the configuration is merged from file, environment and flags, everything that is wrong is said at once, and
//! `config.example.toml` shows every key with its default.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use refshim::testing::config::{Config, Depth, LogFormat, Overrides, UpstreamConfig, load_with};
use refshim::testing::oci::LinkSource;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");

fn load(file: &str, environment: &[(&str, &str)], overrides: &Overrides) -> Result<Config, Vec<String>> {
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file.as_bytes()).unwrap();
    load_file(on_disk.path(), environment, overrides)
}

fn load_file(file: &Path, environment: &[(&str, &str)], overrides: &Overrides) -> Result<Config, Vec<String>> {
    let environment = environment
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    load_with(Some(file), environment, overrides).map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    load(file, environment, &Overrides::default()).unwrap_err()
}

#[test]
fn the_example_holds_the_defaults() {
    let example = load_file(Path::new(EXAMPLE), &[], &Overrides::default()).unwrap();
    let defaults = Config {
        upstreams: vec![UpstreamConfig::new("https://ghcr.io".parse().unwrap())],
        ..Config::default()
    };
    assert_eq!(format!("{example:#?}"), format!("{defaults:#?}"));
}

/// The keys of `section`, as the error about an unknown one lists them.
fn keys_of(section: &str) -> BTreeSet<String> {
    let file = match section {
        "" => "zz = 1\n[[upstream]]\nurl = 'http://r'".to_owned(),
        "upstream" => "[[upstream]]\nurl = 'http://r'\nzz = 1".to_owned(),
        "events.webhooks" => format!(
            "[[events.webhooks]]\nurl = 'http://r'\nsecret = '{}'\nzz = 1\n[[upstream]]\nurl = 'http://r'",
            "A".repeat(32)
        ),
        "upstream.credentials" => "[[upstream]]\nurl = 'http://r'\n[upstream.credentials]\nzz = 1".to_owned(),
        _ => format!("[{section}]\nzz = 1\n[[upstream]]\nurl = 'http://r'"),
    };
    let problems = problems(&file, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (_, list) = problems[0].split_once("expected ").unwrap();
    let list = list.split(" (").next().unwrap_or_default();
    let list = list.trim_start_matches("one of ").replace(" or ", ", ");
    list.split(", ").map(str::to_owned).collect()
}

/// The keys of each section of the example, those that are commented out included.
fn keys_of_the_example() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let mut section = String::new();
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(table) = line.trim_start_matches("# ").strip_prefix('[') {
            section = table.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            keys.entry(section.clone()).or_default().insert(key.to_owned());
        }
    }
    keys
}

#[test]
fn the_example_shows_every_key() {
    let example = keys_of_the_example();
    let inside = |section: &str| -> BTreeSet<String> {
        let sections = example.keys();
        let nested = sections.filter_map(|name| match name.rsplit_once('.') {
            Some((parent, name)) => (parent == section).then(|| name.to_owned()),
            None => section.is_empty().then(|| name.to_owned()),
        });
        nested.collect()
    };
    assert_eq!(inside(""), keys_of(""));
    // What stands below links.credentials are names of upstreams.
    for (section, keys) in example.iter().filter(|(section, _)| *section != "links.credentials") {
        let all: BTreeSet<String> = keys.union(&inside(section)).cloned().collect();
        assert_eq!(all, keys_of(section), "[{section}]");
    }
}

#[test]
fn the_commented_keys_of_the_example_are_right_too() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") || rest.starts_with("[["))
                .unwrap_or(line)
        })
        // Files that are not there, and what only makes sense with another kind of credentials.
        .filter(|line| {
            let of_another_kind = ["username", "password", "region", "endpoint", "otlp_endpoint"];
            let key = line.split_once(" = ").map_or("", |(key, _)| key);
            !line.contains("file = ") && !of_another_kind.contains(&key)
        })
        .collect();
    let config = load(&lines.join("\n"), &[], &Overrides::default()).unwrap();
    assert_eq!(config.server.public_url.unwrap().as_str(), "https://refs.example.org/");
}

#[test]
fn flags_beat_environment_beats_file() {
    let file =
        "[server]\nlisten = '127.0.0.1:1'\n[log]\nformat = 'text'\n[[upstream]]\nurl = 'http://file'\nretries = 7";
    let environment = [
        ("REFSHIM_SERVER__LISTEN", "127.0.0.1:2"),
        ("REFSHIM_UPSTREAM__0__URL", "http://environment"),
        ("REFSHIM_ADMIN__LISTEN", "127.0.0.1:3"),
        ("REFSHIM_CACHE__FRESH_FOR", "1m 30s"),
        ("REFSHIM_CACHE__MANIFEST_BYTES", "1048576"),
        ("REFSHIM_LINKS__SOURCES", "subject, cosign-tag"),
        ("REFSHIM_WRITING__LINKS", "proposal-d"),
    ];
    let overrides = Overrides {
        upstream: Some("http://flag".into()),
        log_format: Some(LogFormat::Json),
        ..Overrides::default()
    };
    let config = load(file, &environment, &overrides).unwrap();
    assert_eq!(config.upstreams[0].url.as_str(), "http://flag/");
    assert_eq!(
        (config.upstreams[0].name.as_str(), config.upstreams[0].retries),
        ("default", 7)
    );
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.admin.listen.port(), 3);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.cache.fresh_for, Duration::from_secs(90));
    assert_eq!(config.cache.manifest_bytes, 1 << 20);
    assert_eq!(
        config.links.sources,
        [LinkSource::Subject, LinkSource::CosignTag].into()
    );
    assert_eq!(config.links.depth, Depth::Auto);
    assert!(config.writing.links.proposal_d && !config.writing.links.referrers_tag);
}

#[test]
fn one_upstream_from_a_flag_is_enough() {
    let overrides = Overrides {
        upstream: Some("https://ghcr.io".into()),
        ..Overrides::default()
    };
    let config = load_with(None, [], &overrides).unwrap();
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].name, "default");
}

#[test]
fn everything_wrong_is_said_at_once_and_names_its_key() {
    let file = r#"
        unknown = 1
        [server]
        listen = "nowhere"
        lisen = "127.0.0.1:1"
        rewrite_realm = "perhaps"
        [log]
        format = "xml"
        level = "loud"
        [[upstream]]
        url = "ftp://x"
        idle_timeout = "5 parsecs"
        retries = -1
        scan_concurrency = 0
        [[upstream]]
        name = "two"
        ca_file = "/no/such/file.pem"
        [cache]
        access_for = "2m"
        list_bytes = "4MB"
        [links]
        sources = ["subject", "psychic", "telepathic"]
        [tags]
        hide = ["none", "cosign"]
    "#;
    let found = problems(
        file,
        &[("REFSHIM_ADMIN__LISTEN", "nowhere"), ("REFSHIM_ADMIN_LISTEN", "x")],
    );
    for expected in [
        "unknown: unknown key, expected one of server, admin",
        "server.listen: 'nowhere' is not an address: write it like 127.0.0.1:5100",
        "server.lisen: unknown key: did you mean 'listen'? Known are listen",
        "server.rewrite_realm: ",
        "log.format: 'xml' is not one of text, json",
        "log.level: 'loud' is not a log level",
        "upstream[0].url: 'ftp://x' must start with http:// or https://",
        "upstream[0].idle_timeout: '5 parsecs' is not a duration: write it like 30s",
        "upstream[0].retries: ",
        "upstream[0].scan_concurrency: must be at least 1",
        "upstream[1].url: is missing",
        "upstream[1].ca_file: '/no/such/file.pem' is not a file",
        "cache.access_for: must be at most 60s",
        "cache.list_bytes: '4MB' is not a size in bytes",
        "links.sources: 'psychic', 'telepathic' not among subject, ",
        "tags.hide: 'none' must be the only entry",
        "REFSHIM_ADMIN_LISTEN: is no known variable",
        "admin.listen: 'nowhere' is not an address: write it like 127.0.0.1:5100, localhost:5100, :5100 or [::]:5100 (set by REFSHIM_ADMIN__LISTEN)",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{expected}\nnot in\n{found:#?}"
        );
    }
    assert_eq!(found.len(), 18, "{found:#?}");
    assert!(found.iter().all(|line| !line.contains('\n')), "{found:#?}");
}

#[test]
fn sections_of_the_wrong_shape_are_named() {
    let found = problems("server = 1\nupstream = [5, { url = 'http://r' }]", &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("server: ") || found[1].starts_with("server: "),
        "{found:#?}"
    );
    assert!(found.iter().any(|line| line.starts_with("upstream[0]: ")), "{found:#?}");
}

#[test]
fn a_list_of_the_wrong_items_does_not_hide_what_else_is_wrong() {
    let found = problems(
        "x = 1\n'a|b' = 1\n[cache]\nwarm = [[1]]\n[[upstream]]\nurl = 'http://r'\nns = [[1], 2]\nhosts = [[1]]\nretries = -1\n[links]\nlisted = 1\n\
         [log]\nlevel = 'a|b'",
        &[],
    );
    let mut keys: Vec<&str> = found.iter().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    keys.sort_unstable();
    let expected = [
        "a|b",
        "cache.warm[0]",
        "links.listed",
        "log.level",
        "upstream[0].hosts[0]",
        "upstream[0].ns[0]",
        "upstream[0].retries",
        "x",
    ];
    assert_eq!(keys, expected, "{found:#?}");
    assert!(
        found.iter().any(|line| line.starts_with("log.level: 'a|b' is not")),
        "{found:#?}"
    );
}

#[test]
fn broken_toml_and_missing_files_are_one_line() {
    let found = problems("[server\nlisten = 1", &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("line 1") && !found[0].contains('\n'), "{found:#?}");
    let found = load_file(Path::new("/no/such/refshim.toml"), &[], &Overrides::default()).unwrap_err();
    assert!(
        found[0].starts_with("/no/such/refshim.toml: cannot be read"),
        "{found:#?}"
    );
}

#[test]
fn upstreams_need_names_of_their_own_and_listeners_addresses() {
    let file = "[[upstream]]\nurl='http://a'\n[[upstream]]\nurl='http://b:1'\n[[upstream]]\nurl='http://c'\nname='default'\n\
                [admin]\nlisten='127.0.0.1:5100'";
    let found = problems(file, &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("upstream[2].name: 'default' is also the name of an earlier upstream"),
        "{found:#?}"
    );
    assert!(found[1].starts_with("admin.listen: "), "{found:#?}");
    let found = load_with(None, [], &Overrides::default()).unwrap_err();
    assert!(
        found
            .to_string()
            .starts_with("upstream: is missing: give --upstream URL"),
        "{found}"
    );
}

#[test]
fn the_level_of_other_programs_counts_where_ours_is_not_set() {
    let file = "[log]\nlevel = 'error'\n[[upstream]]\nurl = 'http://r'\n";
    let level = |environment: &[(&str, &str)], flag: Option<&str>| {
        let overrides = Overrides {
            log_level: flag.map(str::to_owned),
            ..Overrides::default()
        };
        load(file, environment, &overrides).unwrap().log.level
    };
    let (rust, own) = (("RUST_LOG", "debug"), ("REFSHIM_LOG__LEVEL", "warn"));
    assert_eq!(level(&[], None), "error");
    assert_eq!(level(&[("RUST_LOG", "")], None), "error");
    assert_eq!(level(&[rust], None), "debug");
    assert_eq!(level(&[own, rust], None), "warn");
    assert_eq!(level(&[own, rust], Some("trace")), "trace");
}

#[test]
fn a_level_is_one_word_or_one_for_each_module_and_all_else_is_refused() {
    let of = |level: &str| {
        let overrides = Overrides {
            log_level: Some(level.to_owned()),
            ..Overrides::default()
        };
        load("[[upstream]]\nurl = 'http://r'\n", &[], &overrides).map(|config| config.log.level)
    };
    for (level, read) in [
        ("off", "off"),
        ("Info", "Info"),
        ("warn, refshim=DEBUG", "warn,refshim=DEBUG"),
        ("refshim::http=off,trace", "refshim::http=off,trace"),
    ] {
        assert_eq!(of(level).unwrap(), read);
    }
    for level in [
        "",
        ",",
        "refshim",
        "refshim=",
        "=debug",
        "refshim=loud",
        "refshim[request]=debug",
        "info,,warn",
    ] {
        let error = of(level).unwrap_err().join("; ");
        assert!(
            error.contains("is not a log level: write error, warn"),
            "{level}: {error}"
        );
    }
}

#[test]
fn half_of_a_key_pair_is_refused() {
    let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let file = |table: &str, key: &str| format!("[{table}]\n{key} = '{there}'\n[[upstream]]\nurl = 'http://r'");
    for (table, key, missing) in [
        ("server.tls", "cert_file", &["server.tls.key_file"][..]),
        ("server.tls", "key_file", &["server.tls.cert_file"]),
        ("admin.tls", "client_ca_file", &["admin.tls.cert_file"]),
    ] {
        let problems = problems(&file(table, key), &[]);
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.split(':').next().unwrap())
            .collect();
        assert_eq!(keys, missing, "{problems:?}");
    }
}

#[cfg(not(feature = "ecr"))]
#[test]
fn what_this_build_lacks_is_said_in_one_line() {
    let file = "[[upstream]]\nurl = 'https://a.dkr.ecr.b.amazonaws.com'\n[upstream.credentials]\nkind = 'ecr'\n";
    let problems = problems(file, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("upstream[0].credentials.kind: "),
        "{problems:?}"
    );
    assert!(
        problems[0].contains("'cargo build --release --features ecr,otel'"),
        "{problems:?}"
    );
}

#[test]
fn a_region_without_ecr_is_refused() {
    let file = "[[upstream]]\nurl = 'https://ghcr.io'\n[upstream.credentials]\nregion = 'eu-west-1'\n";
    let problems = problems(file, &[]);
    assert!(problems[0].contains("must be \"ecr\""), "{problems:?}");
}

#[cfg(not(feature = "otel"))]
#[test]
fn a_collector_needs_a_build_that_can_send_to_it() {
    let problems = problems(
        "[telemetry]\notlp_endpoint = 'http://127.0.0.1:4318'\n[[upstream]]\nurl = 'https://ghcr.io'\n",
        &[],
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("'cargo build --release --features ecr,otel'"),
        "{problems:?}"
    );
}

#[test]
fn no_blob_may_be_remembered() {
    let file = "[cache]\nsmall_blob = 0\n[[upstream]]\nurl = 'http://r'";
    let config = load(file, &[], &Overrides::default()).unwrap();
    assert_eq!(config.cache.small_blob, 0);
}

#[test]
fn the_older_spelling_of_how_links_are_written_still_works_alone() {
    let writing = |text: &str| {
        let file = format!("[[upstream]]\nurl = 'http://r'\n[writing]\n{text}");
        load(&file, &[], &Overrides::default()).map(|config| {
            let links = config.writing.links;
            (links.proposal_d, links.referrers_tag)
        })
    };
    for (text, written) in [
        ("", (true, true)),
        ("maintain_fallback_tag = true", (true, true)),
        ("maintain_fallback_tag = false", (true, false)),
        ("links = ['referrers-tag']", (false, true)),
        ("links = []", (false, false)),
        // Both say the same.
        ("links = ['referrers-tag']\nmaintain_fallback_tag = true", (false, true)),
    ] {
        assert_eq!(writing(text), Ok(written), "{text}");
    }
    let contradiction = writing("links = ['proposal-d']\nmaintain_fallback_tag = true").unwrap_err();
    assert_eq!(contradiction.len(), 1, "{contradiction:?}");
    assert!(
        contradiction[0].starts_with("writing: maintain_fallback_tag = true contradicts links"),
        "{contradiction:?}"
    );
    let unknown = writing("links = ['cosign']").unwrap_err();
    assert!(
        unknown[0].starts_with("writing.links: 'cosign' not among proposal-d, referrers-tag"),
        "{unknown:?}"
    );
}

#[test]
fn another_repository_for_links_is_named_after_each_repository_of_the_same_registry() {
    let upstreams = "[[upstream]]\nurl = 'http://a'\n[[upstream]]\nurl = 'http://b'\nlinks_repository = ''\n\
                     [[upstream]]\nurl = 'http://c'\nlinks_repository = 'refs/{name}'\n";
    let file = format!("{upstreams}[links]\nrepository = '{{name}}.refs'");
    let config = load(&file, &[], &Overrides::default()).unwrap();
    let named = config
        .upstreams
        .iter()
        .map(|upstream| upstream.siblings.as_ref().map(ToString::to_string));
    let expected = [Some("{name}.refs".to_owned()), None, Some("refs/{name}".to_owned())];
    assert_eq!(named.collect::<Vec<_>>(), expected);
    let wrong = "[[upstream]]\nurl = 'http://a'\n[links]\nrepository = 'https://ghcr.io/{name}'\n";
    let problems = problems(wrong, &[]);
    assert!(
        problems.len() == 1 && problems[0].contains("links.repository"),
        "{problems:?}"
    );
    assert!(problems[0].contains("another registry"), "{problems:?}");
}

const TWO: &str =
    "[[upstream]]\nname = 'a'\nurl = 'http://a'\n[[upstream]]\nname = 'b'\nurl = 'http://b'\nhosts = ['b']\n";
const ACCOUNT: &str = "[links.credentials.b]\nkind = 'static'\nusername = 'x'\npassword = 'y'\n";

#[test]
fn another_upstream_keeps_the_links_of_those_that_name_it() {
    let file = format!("{TWO}[links]\nrepository = '{{name}}'\nupstream = 'b'\n{ACCOUNT}");
    let config = load(&file, &[], &Overrides::default()).unwrap();
    let (a, b) = (&config.upstreams[0], &config.upstreams[1]);
    assert_eq!(a.siblings_upstream.as_deref(), Some("b"));
    assert_eq!(b.kept_for_others[0].0, "a");
    // That keeps its own with its images.
    assert_eq!((&b.siblings, &b.siblings_upstream), (&None, &None));
    // One upstream may differ.
    let own = TWO.replace(
        "'http://a'",
        "'http://a'\nlinks_upstream = 'a'\nlinks_repository = '{name}.refs'",
    );
    let file = format!("{own}[links]\nrepository = '{{name}}'\nupstream = 'b'\n{ACCOUNT}");
    let problems = load(&file, &[], &Overrides::default()).unwrap();
    assert_eq!(problems.upstreams[0].siblings_upstream, None);
}

#[test]
fn another_upstream_for_links_that_cannot_keep_them_is_refused() {
    for (upstreams, links, key, reason) in [
        (
            TWO.to_owned(),
            "repository = '{name}'\nupstream = 'b'",
            "links.credentials.b",
            "an account of its own",
        ),
        (
            TWO.to_owned(),
            "repository = '{name}'\nupstream = 'c'",
            "links.upstream",
            "not the name of an upstream",
        ),
        (
            TWO.to_owned(),
            "upstream = 'b'",
            "links.upstream",
            "no effect without links.repository",
        ),
        (
            TWO.to_owned(),
            "repository = '{name}'",
            "links.repository",
            "the repository itself",
        ),
        (
            format!("{TWO}[[upstream]]\nname = 'c'\nurl = 'http://c'\nhosts = ['c']\n"),
            "repository = '{name}.refs'\nupstream = 'b'",
            "upstream[1].links_repository",
            "links of the upstreams 'a' and 'c'",
        ),
        (
            TWO.replace(
                "'http://b'",
                "'http://b'\nlinks_repository = 'b/{name}'\nlinks_upstream = 'a'",
            ),
            "repository = '{name}'\nupstream = 'b'",
            "upstream[1].links_upstream",
            "cannot keep those of upstream 'a'",
        ),
        (
            TWO.replace("'http://b'", "'http://b'\nlinks_repository = '{name}.refs'"),
            "repository = '{name}'\nupstream = 'b'",
            "upstream[1].links_repository",
            "in one repository",
        ),
    ] {
        let account = if key.contains("credentials") { "" } else { ACCOUNT };
        let found = problems(&format!("{upstreams}[links]\n{links}\n{account}"), &[]);
        let found = found.join("\n");
        assert!(found.contains(key) && found.contains(reason), "{key}: {found}");
    }
}

#[test]
fn links_that_are_kept_elsewhere_need_a_tag() {
    let file = "[[upstream]]\nurl = 'http://a'\n[links]\nrepository = '{name}.refs'\n[writing]\nlinks = []\n";
    let problems = problems(file, &[]);
    assert!(
        problems.len() == 1 && problems[0].contains("writing.links"),
        "{problems:?}"
    );
}
