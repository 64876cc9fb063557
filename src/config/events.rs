//! Who is told of links that come and go.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::egress::{EgressConfig, ProxyChoice};
use super::error::ConfigError;
use super::repository_patterns::RepositoryPatterns;
use super::values;
use super::webhook_secret::{self, WebhookSecret};

/// The section `[events]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// The `source` of every event (CloudEvents): which refshim tells it.
    #[serde(deserialize_with = "source")]
    pub source: String,
    /// The `[[events.webhooks]]` tables of the file.
    pub webhooks: Vec<WebhookConfig>,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            source: "urn:refshim".to_owned(),
            webhooks: Vec::new(),
        }
    }
}

/// One `[[events.webhooks]]` table: a receiver of events.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its name in logs and metrics. Where the configuration gives none, the URL's host, with its port.
    pub name: String,
    /// Where events are posted to.
    pub url: WebhookUrl,
    /// The key that signs, if it is not in a file.
    #[serde(deserialize_with = "secret")]
    pub secret: Option<WebhookSecret>,
    /// File with the key, or with the new and the old one, a line each. Read again for each attempt.
    pub secret_file: Option<PathBuf>,
    /// The types of events that it gets.
    #[serde(deserialize_with = "types")]
    pub types: BTreeSet<EventType>,
    /// The repositories, as clients name them, whose events it gets.
    pub repositories: RepositoryPatterns,
    /// Longest time for one attempt.
    #[serde(deserialize_with = "values::duration")]
    pub timeout: Duration,
    /// How often an event is sent at most.
    #[serde(deserialize_with = "values::at_least_one")]
    pub attempts: usize,
    /// The mean pause after the first failure; each further one doubles it.
    #[serde(deserialize_with = "values::duration")]
    pub retry_pause: Duration,
    /// Older events are dropped.
    #[serde(deserialize_with = "values::duration")]
    pub max_age: Duration,
    /// Number of events that may wait; further ones are dropped.
    #[serde(deserialize_with = "values::at_least_one")]
    pub queue: usize,
    /// Through which HTTP proxy the receiver is reached.
    pub proxy: ProxyChoice,
    /// PEM file of certificates to trust instead of the system's: of authorities, or the receiver's own.
    pub ca_file: Option<PathBuf>,
    /// The proxies that `proxy` and the environment add up to.
    #[serde(skip)]
    pub egress: EgressConfig,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: WebhookUrl::missing(),
            secret: None,
            secret_file: None,
            types: EventType::NAMES.map(|(_, known)| known).into(),
            repositories: RepositoryPatterns::default(),
            // What Standard Webhooks recommends at least.
            timeout: Duration::from_secs(15),
            attempts: 20,
            retry_pause: Duration::from_secs(1),
            max_age: Duration::from_secs(3600),
            queue: 1000,
            proxy: ProxyChoice::default(),
            ca_file: None,
            egress: EgressConfig::default(),
        }
    }
}

/// What may happen to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// A referrer was linked.
    Linked,
    /// A link was removed.
    Removed,
}

impl EventType {
    /// Each by its word in the configuration.
    const NAMES: [(&'static str, Self); 2] = [("linked", Self::Linked), ("removed", Self::Removed)];
}

/// The URL of a receiver. Printed without path and query, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// The placeholder for a missing one, which no text parses as.
    fn missing() -> Self {
        #[expect(clippy::expect_used, reason = "a literal that is a URL")]
        Self(Url::parse("missing:").expect("a URL"))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let form = "is not the URL of a receiver: write it like https://scanner.example.org/hooks/refshim";
        let url = Url::parse(text).map_err(|_| form)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.as_str().parse::<http::Uri>().is_err() {
            return Err(form);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user or password: receivers know refshim by its signature");
        }
        match url.fragment() {
            None => Ok(Self(url)),
            Some(_) => Err("must not contain '#'"),
        }
    }

    /// The whole URL.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

/// Prints scheme, host and port.
impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.authority())
    }
}

/// The same.
impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<'de> Deserialize<'de> for WebhookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&values::text(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = values::text(deserializer)?;
    let is_reference = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    match is_reference {
        true => Ok(text),
        false => Err(serde::de::Error::custom(
            "is not a URI reference (RFC 3986): write it like https://refs.example.org or urn:refshim:eu",
        )),
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WebhookSecret>, D::Error> {
    let text = values::text(deserializer)?;
    let parsed = WebhookSecret::parse(&text).map(Some);
    parsed.ok_or_else(|| serde::de::Error::custom(webhook_secret::FORM))
}

fn types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<EventType>, D::Error> {
    values::choices(deserializer, &EventType::NAMES)
}

/// Gives receivers without a name their default one, and reports what is missing or given twice.
pub(super) fn check(config: &mut EventsConfig, problems: &mut Vec<ConfigError>) {
    let mut names = BTreeSet::new();
    for (index, webhook) in config.webhooks.iter_mut().enumerate() {
        let key = |name: &str| format!("events.webhooks[{index}].{name}");
        let is_reported = |problems: &[ConfigError], name: &str| problems.iter().any(|known| known.key == key(name));
        if webhook.url == WebhookUrl::missing() && !is_reported(problems, "url") {
            let problem = "is missing: give the receiver's URL, such as https://scanner.example.org/hooks/refshim";
            problems.push(ConfigError::new(key("url"), problem));
        }
        if webhook.name.is_empty() {
            webhook.name = webhook.url.0.authority().to_owned();
        }
        if !names.insert(webhook.name.clone()) {
            let problem = format!(
                "'{}' is also the name of an earlier webhook: give each a different name",
                webhook.name
            );
            problems.push(ConfigError::new(key("name"), problem));
        }
        let problem = match (&webhook.secret, &webhook.secret_file) {
            (Some(_), Some(_)) => "is given twice, by secret and by secret_file: keep one",
            (None, None) if !is_reported(problems, "secret") => {
                "is missing: receivers know refshim by its signature. Give secret_file, or secret by its variable"
            }
            _ => continue,
        };
        problems.push(ConfigError::new(key("secret"), problem));
    }
}
