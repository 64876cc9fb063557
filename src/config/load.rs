//! From a file, the environment and flags to one checked [`Config`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ::config::{ConfigError as RawError, File, FileFormat, Value, ValueKind};
use serde::Deserialize as _;

use super::check::check;
use super::egress::EgressConfig;
use super::env::{Variable, variable};
use super::error::{ConfigError, ConfigErrors, ConfigOrigin};
use super::lines::line_of;
use super::misfit::{Misfit, one_line};
use super::{Config, LogFormat};

/// The variable with the level of the log that other Rust programs read too.
const LEVEL_OF_OTHERS: &str = "RUST_LOG";
/// Most problems that are reported. It also bounds the loop in [`parse`].
const MAX_PROBLEMS: usize = 100;

/// The values of command-line flags, which take precedence over the environment and the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The first upstream's URL.
    pub upstream: Option<String>,
    /// The first upstream's `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `server.listen`.
    pub listen: Option<SocketAddr>,
    /// `admin.listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `log.level`.
    pub log_level: Option<String>,
    /// `log.format`.
    pub log_format: Option<LogFormat>,
    /// Serve the web pages.
    pub ui: bool,
}

impl Overrides {
    /// Key, value, flag.
    fn entries(&self) -> impl Iterator<Item = (&'static str, String, &'static str)> {
        let log_format = self.log_format.and_then(|format| {
            let named = LogFormat::NAMES.into_iter().find(|(_, value)| *value == format);
            named.map(|(name, _)| name.to_owned())
        });
        let ca_file = self.ca_file.as_ref().map(|file| file.display().to_string());
        [
            ("upstream[0].url", self.upstream.clone(), "--upstream"),
            ("upstream[0].ca_file", ca_file, "--ca-file"),
            ("server.listen", self.listen.map(|a| a.to_string()), "--listen"),
            (
                "admin.listen",
                self.admin_listen.map(|a| a.to_string()),
                "--admin-listen",
            ),
            ("log.level", self.log_level.clone(), "--log-level"),
            ("log.format", log_format, "--log-format"),
            ("server.ui", self.ui.then(|| "true".to_owned()), "--ui"),
        ]
        .into_iter()
        .filter_map(|(key, value, flag)| Some((key, value?, flag)))
    }
}

/// Loads the configuration from `file` (if given), this process's environment and `overrides`.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigErrors> {
    let environment = std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    });
    load_with(file, environment, overrides)
}

/// [`load`] with the given environment.
pub fn load_with(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let mut settings = Settings::default();
    let environment: Vec<(String, String)> = environment.into_iter().collect();
    let egress = EgressConfig::of_variables(&environment, &mut problems);
    // What other Rust programs read: our own variable comes after it.
    if let Some((name, level)) = environment
        .iter()
        .find(|(name, level)| name == LEVEL_OF_OTHERS && !level.is_empty())
    {
        settings.set("log.level", level.clone(), name);
    }
    for (name, value) in environment {
        match variable(&name) {
            Ok(Variable::Key(key)) => settings.set(&key, value, &name),
            Ok(Variable::Other) => {}
            Err(problem) => problems.push(problem),
        }
    }
    for (key, value, flag) in overrides.entries() {
        settings.set(key, value, flag);
    }
    let file = file.map(ConfigFile::read).transpose()?;
    let mut tree = settings.merge_over(file.as_ref())?;
    accept_single_upstream(&mut tree, &mut problems);
    let mut config = parse(tree, &mut problems);
    for upstream in &mut config.upstreams {
        upstream.egress = egress.clone().with(&upstream.proxy, "upstream.proxy");
    }
    for webhook in &mut config.events.webhooks {
        webhook.egress = egress.clone().with(&webhook.proxy, "events.webhooks.proxy");
    }
    check(&mut config, &mut problems);
    if problems.is_empty() {
        return Ok(config);
    }
    for problem in &mut problems {
        let setting = settings.origins.get(&problem.key).cloned().map(ConfigOrigin::Setting);
        problem.origin = setting.or_else(|| file.as_ref()?.place_of(&problem.key));
    }
    Err(ConfigErrors(problems))
}

/// Values that replace those of the file, and the variable or flag that set each.
#[derive(Default)]
struct Settings {
    values: BTreeMap<String, String>,
    origins: BTreeMap<String, String>,
}

impl Settings {
    /// Replaces an earlier value of the same key.
    fn set(&mut self, key: &str, value: String, origin: &str) {
        self.values.insert(key.to_owned(), value);
        self.origins.insert(key.to_owned(), origin.to_owned());
    }

    fn merge_over(&self, file: Option<&ConfigFile>) -> Result<Value, ConfigErrors> {
        let place = file.map_or("configuration", |file| &file.name);
        let problem = |error: RawError| ConfigErrors::from(ConfigError::new(place, one_line(&error)));
        let mut builder = ::config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(File::from_str(&file.text, FileFormat::Toml));
        }
        for (key, value) in &self.values {
            builder = builder.set_override(key, value.as_str()).map_err(problem)?;
        }
        Ok(builder.build().map_err(problem)?.cache)
    }
}

/// The configuration file.
struct ConfigFile {
    /// As it was named.
    name: String,
    text: String,
}

impl ConfigFile {
    fn read(file: &Path) -> Result<Self, ConfigErrors> {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(ConfigError::new(name, format!("cannot be read: {error}")).into()),
        }
    }

    /// Where it has `key`, or the table in which that is missing.
    fn place_of(&self, key: &str) -> Option<ConfigOrigin> {
        let line = line_of(&self.text, key)?;
        Some(ConfigOrigin::File(self.name.clone(), line))
    }
}

/// Reports `[upstream]`, and reads on as if it were right.
fn accept_single_upstream(tree: &mut Value, problems: &mut Vec<ConfigError>) {
    let ValueKind::Table(table) = &mut tree.kind else {
        return;
    };
    let Some(upstream) = table.get_mut("upstream") else {
        return;
    };
    if matches!(upstream.kind, ValueKind::Table(_)) {
        let single = std::mem::replace(&mut upstream.kind, ValueKind::Nil);
        upstream.kind = ValueKind::Array(vec![Value::new(None, single)]);
        let problem = "write [[upstream]] with two brackets instead of [upstream]: there may be several";
        problems.push(ConfigError::new("upstream", problem));
    }
}

/// Deserialises `tree` and collects all errors in `problems`. serde stops at the first error, so this removes the offending key and tries
/// again; a removed key has its default in the result.
fn parse(mut tree: Value, problems: &mut Vec<ConfigError>) -> Config {
    while problems.len() < MAX_PROBLEMS {
        let misfit = match Config::deserialize(tree.clone()) {
            Ok(config) => return config,
            Err(error) => Misfit::new(&error, &tree),
        };
        let key = misfit.path.to_string();
        // What is left of a list's item is still an item, and no better.
        if problems.last().is_none_or(|last| last.key != key) {
            problems.push(ConfigError::new(key, misfit.problem));
        }
        if !misfit.path.remove_from(&mut tree) {
            break;
        }
    }
    Config::default()
}
