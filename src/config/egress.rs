//! The HTTP proxies through which refshim reaches registries and webhooks: their `proxy` and the usual variables of the environment.

use std::fmt;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::error::{ConfigError, ConfigErrors};
use super::values;

/// What a proxy's URL must look like. The rejected text is never repeated: it may hold a password.
const FORM: &str = "write it like http://proxy.example.org:3128, or http://user:password@proxy.example.org:3128";

/// The URL of an HTTP proxy, spoken to with or without TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Without a scheme, `http://` is meant, as curl and Go's clients take it.
    fn parse(text: &str) -> Option<Self> {
        let url = match text.contains("://") {
            true => Url::parse(text).ok()?,
            false => Url::parse(&format!("http://{text}")).ok()?,
        };
        let is_root = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        (is_http && is_root && url.as_str().parse::<http::Uri>().is_ok()).then_some(Self(url))
    }

    /// The whole URL, including its password.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

/// Prints the URL without user and password.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The same.
impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `upstream.proxy`, and `proxy` of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// What the variables of the environment say.
    #[default]
    Environment,
    /// No proxy, whatever the environment says.
    Direct,
    /// This one, instead of those of the environment.
    Url(ProxyUrl),
}

impl<'de> Deserialize<'de> for ProxyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match values::text(deserializer)?.as_str() {
            "environment" => Ok(Self::Environment),
            "none" => Ok(Self::Direct),
            text => ProxyUrl::parse(text).map(Self::Url).ok_or_else(|| {
                let problem = format!("is neither the URL of an HTTP proxy nor environment or none: {FORM}");
                serde::de::Error::custom(problem)
            }),
        }
    }
}

/// A proxy, and what named it: a variable, or the key of a [`ProxyChoice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedProxy {
    /// Where it listens.
    pub url: ProxyUrl,
    /// The variable or key.
    pub set_by: &'static str,
}

impl fmt::Display for NamedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.url, self.set_by)
    }
}

/// Which proxies lead to which hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressConfig {
    /// For `http://`.
    pub http: Option<NamedProxy>,
    /// For `https://`.
    pub https: Option<NamedProxy>,
    /// Hosts that are reached without a proxy, as `NO_PROXY` lists them.
    pub no_proxy: String,
}

impl EgressConfig {
    /// Reads the variables of this process.
    pub fn of_process() -> Result<Self, ConfigErrors> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            // A value that is not UTF-8 is none of a URL, and is reported as such.
            Some((name, value.to_string_lossy().into_owned()))
        });
        let mut problems = Vec::new();
        let config = Self::of_variables(&variables.collect::<Vec<_>>(), &mut problems);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(ConfigErrors(problems)),
        }
    }

    /// Reads variables by their names, in capitals or not; capitals win. An empty one counts as unset.
    pub(super) fn of_variables(variables: &[(String, String)], problems: &mut Vec<ConfigError>) -> Self {
        let variables = Variables(variables);
        let mut proxy = |names: &[&'static str]| {
            let (set_by, text) = names.iter().find_map(|name| Some((*name, variables.get(name)?)))?;
            let url = ProxyUrl::parse(text);
            if url.is_none() && !problems.iter().any(|problem| problem.key == set_by) {
                let problem = format!("is not the URL of an HTTP proxy, the only kind that refshim uses: {FORM}");
                problems.push(ConfigError::new(set_by, problem));
            }
            Some(NamedProxy { url: url?, set_by })
        };
        let all = ["ALL_PROXY", "all_proxy"];
        Self {
            http: proxy(&["HTTP_PROXY", "http_proxy", all[0], all[1]]),
            https: proxy(&["HTTPS_PROXY", "https_proxy", all[0], all[1]]),
            no_proxy: ["NO_PROXY", "no_proxy"]
                .iter()
                .find_map(|name| variables.get(name))
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// These, as the key `set_by` changes them. `NO_PROXY` counts for the proxy that the key names too, as it does for curl.
    pub(super) fn with(self, chosen: &ProxyChoice, set_by: &'static str) -> Self {
        let named = |url: &ProxyUrl| {
            Some(NamedProxy {
                url: url.clone(),
                set_by,
            })
        };
        match chosen {
            ProxyChoice::Environment => self,
            ProxyChoice::Direct => Self::default(),
            ProxyChoice::Url(url) => Self {
                http: named(url),
                https: named(url),
                ..self
            },
        }
    }
}

/// Variables of an environment.
struct Variables<'a>(&'a [(String, String)]);

impl<'a> Variables<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (EgressConfig, Vec<ConfigError>) {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let mut problems = Vec::new();
        let config = EgressConfig::of_variables(&variables, &mut problems);
        (config, problems)
    }

    fn shown(proxy: &Option<NamedProxy>) -> String {
        proxy.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn variables_in_either_spelling_name_proxies() {
        for (variables, http, https) in [
            (&[][..], "", ""),
            (&[("HTTPS_PROXY", "http://p:1")], "", "http://p:1 (HTTPS_PROXY)"),
            (&[("https_proxy", "p:1")], "", "http://p:1 (https_proxy)"),
            (
                &[("http_proxy", "https://p"), ("HTTP_PROXY", "http://q")],
                "http://q (HTTP_PROXY)",
                "",
            ),
            (
                &[("ALL_PROXY", "http://a:1"), ("https_proxy", "http://p:1")],
                "http://a:1 (ALL_PROXY)",
                "http://p:1 (https_proxy)",
            ),
            (
                &[("HTTPS_PROXY", " "), ("all_proxy", "http://a:1")],
                "http://a:1 (all_proxy)",
                "http://a:1 (all_proxy)",
            ),
        ] {
            let (config, problems) = read(variables);
            assert_eq!((shown(&config.http), shown(&config.https)), (http.into(), https.into()));
            assert!(problems.is_empty(), "{problems:?}");
        }
        assert_eq!(read(&[("no_proxy", "a.example,.b")]).0.no_proxy, "a.example,.b");
    }

    #[test]
    fn what_is_no_proxy_is_reported_once_and_without_its_password() {
        for wrong in [
            "ftp://u:hush@p",
            "http://u:hush@",
            "socks5://u:hush@p:1",
            "http://u:hush@p/x",
        ] {
            let (config, problems) = read(&[("ALL_PROXY", wrong)]);
            assert_eq!(config, EgressConfig::default());
            let [problem] = &problems[..] else {
                panic!("{wrong}: {problems:?}")
            };
            assert!(problem.to_string().starts_with("ALL_PROXY: is not"), "{problem}");
            assert!(!problem.to_string().contains("hush"), "{problem}");
        }
        // One that is not used does no harm.
        let both = [("ALL_PROXY", "socks5://p"), ("HTTP_PROXY", "p"), ("HTTPS_PROXY", "p")];
        assert!(read(&both).1.is_empty());
    }

    #[test]
    fn no_password_is_printed() {
        let (config, _) = read(&[("HTTPS_PROXY", "http://alice:hush@p.example:3128")]);
        let printed = format!("{config:?} {}", shown(&config.https));
        assert!(!printed.contains("hush") && !printed.contains("alice"), "{printed}");
        assert!(config.https.unwrap().url.reveal().contains("alice:hush@"));
    }

    #[test]
    fn an_upstreams_own_proxy_replaces_those_of_the_environment() {
        let (config, _) = read(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "a")]);
        let own = ProxyChoice::Url(ProxyUrl::parse("http://own:2").unwrap());
        let with_own = config.clone().with(&own, "upstream.proxy");
        assert_eq!(shown(&with_own.http), "http://own:2 (upstream.proxy)");
        assert_eq!(shown(&with_own.https), "http://own:2 (upstream.proxy)");
        assert_eq!(with_own.no_proxy, "a");
        assert_eq!(config.clone().with(&ProxyChoice::Direct, ""), EgressConfig::default());
        assert_eq!(config.clone().with(&ProxyChoice::Environment, ""), config);
    }
}
