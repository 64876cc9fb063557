//! Parsers of single configuration values. Their errors say what to write instead.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tracing_subscriber::filter::Targets;
use url::Url;

use crate::oci::SiblingTemplate;

/// Longest duration accepted: a year, so that adding it to a time cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| text.trim().to_owned())
}

/// An empty text is none.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// `30s`, `10m`, `1h 30m`
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = text(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err(D::Error::custom(format!(
            "'{text}' is longer than a year, the longest duration"
        ))),
        Err(_) => Err(D::Error::custom(format!(
            "'{text}' is not a duration: write it like 30s, 10m or 1h"
        ))),
    }
}

/// `1048576`, `512KiB`, `64MiB`, `2GiB`
pub(super) fn byte_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    sized(deserializer, 1)
}

/// As [`byte_size`], but 0 is allowed.
pub(super) fn byte_size_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    sized(deserializer, 0)
}

fn sized<'de, D: Deserializer<'de>>(deserializer: D, least: u64) -> Result<u64, D::Error> {
    let text = text(deserializer)?;
    parse_byte_size(&text).filter(|&bytes| bytes >= least).ok_or_else(|| {
        D::Error::custom(format!(
            "'{text}' is not a size in bytes: write it like 1048576 or 64MiB"
        ))
    })
}

pub(super) fn byte_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let bytes = byte_size(deserializer)?;
    usize::try_from(bytes).map_err(|_| {
        D::Error::custom(format!(
            "{bytes} bytes are more than this machine can address: write a smaller size"
        ))
    })
}

/// How sibling repositories are named; an empty text is none.
pub(super) fn sibling_template<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SiblingTemplate>, D::Error> {
    match text(deserializer)?.as_str() {
        "" => Ok(None),
        template => SiblingTemplate::parse(template).map(Some).map_err(D::Error::custom),
    }
}

fn parse_byte_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match usize::deserialize(deserializer)? {
        0 => Err(D::Error::custom("must be at least 1")),
        number => Ok(number),
    }
}

pub(super) fn some_at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    at_least_one(deserializer).map(Some)
}

pub(super) fn at_least_one_of_32_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = at_least_one(deserializer)?;
    u32::try_from(number).map_err(|_| D::Error::custom(format!("{number} is too large: write at most {}", u32::MAX)))
}

pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    registry_url(&text(deserializer)?).map_err(D::Error::custom)
}

/// Parses the URL of a registry: http or https, a host and an optional path prefix.
///
/// # Errors
/// One line without the key.
pub fn registry_url(text: &str) -> Result<Url, String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(format!("'{text}' must start with http:// or https://"));
    }
    let url = Url::parse(text).map_err(|error| format!("'{text}' is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it holds a password.
        return Err("must not contain a user or password: set upstream.credentials instead".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("'{text}' must not contain '?' or '#'"));
    }
    if url
        .path_segments()
        .is_some_and(|mut segments| segments.any(|s| s == "v2"))
    {
        return Err(format!("'{text}' must be the registry's root, without /v2"));
    }
    Ok(url)
}

/// An absolute URL without a path.
pub(super) fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = text(deserializer)?;
    let url = registry_url(&text).map_err(D::Error::custom)?;
    if url.path() != "/" {
        return Err(D::Error::custom(format!("'{text}' must not have a path")));
    }
    Ok(Some(url))
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A level, or directives such as `info,refshim=debug`.
pub(super) fn log_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = text(deserializer)?;
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_known = |directive: &&str| match directive.split_once('=') {
        Some((target, level)) => !target.is_empty() && !target.contains('[') && is_level(level),
        // Any word would be taken for a module's name otherwise.
        None => is_level(directive),
    };
    let joined = directives.join(",");
    if !directives.iter().all(is_known) || joined.parse::<Targets>().is_err() {
        let problem =
            "is not a log level: write error, warn, info, debug or trace, or directives like info,refshim=debug";
        return Err(D::Error::custom(format!("'{text}' {problem}")));
    }
    Ok(joined)
}

/// One of the `known` words.
pub(super) fn choice<'de, D, T>(deserializer: D, known: &[(&str, T)]) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Copy,
{
    let text = text(deserializer)?;
    find(&text, known).ok_or_else(|| D::Error::custom(format!("'{text}' is not one of {}", names(known))))
}

/// A list of the `known` words. The error names all that are not.
pub(super) fn choices<'de, D, T>(deserializer: D, known: &[(&str, T)]) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Copy + Ord,
{
    let words = texts(deserializer)?;
    let wrong: Vec<String> = words
        .iter()
        .filter(|word| find(word, known).is_none())
        .map(|word| format!("'{word}'"))
        .collect();
    if !wrong.is_empty() {
        let problem = format!("{} not among {}", wrong.join(", "), names(known));
        return Err(D::Error::custom(problem));
    }
    Ok(words.iter().filter_map(|word| find(word, known)).collect())
}

fn find<T: Copy>(word: &str, known: &[(&str, T)]) -> Option<T> {
    known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

fn names<T>(known: &[(&str, T)]) -> String {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// A list of texts, or a single text with commas, as environment variables have it.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    deserializer.deserialize_any(Texts)
}

/// A list of hosts as in [`texts`], each with or without a port, converted to lower case.
pub(super) fn host_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let hosts = texts(deserializer)?;
    let is_host = |text: &str| text.parse::<http::uri::Authority>().is_ok() && !text.contains('@');
    let wrong: Vec<&String> = hosts.iter().filter(|host| !is_host(host)).collect();
    if !wrong.is_empty() {
        let problem = format!("{wrong:?} not a host: write it like docker.io or refs.example.org:5100");
        return Err(D::Error::custom(problem));
    }
    Ok(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = BTreeSet<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(items.map(str::to_owned).collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut texts = BTreeSet::new();
        while let Some(item) = items.next_element::<String>()? {
            texts.insert(item);
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_sizes() {
        assert_eq!(parse_byte_size("4194304"), Some(4 << 20));
        assert_eq!(parse_byte_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_byte_size("1 GiB"), Some(1 << 30));
        for wrong in ["", "MiB", "4MB", "-1", "1.5MiB", "99999999999999GiB"] {
            assert_eq!(parse_byte_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_registry_url_is_a_root() {
        for right in [
            "http://127.0.0.1:5000",
            "https://ghcr.io/",
            "https://example.org/registry",
        ] {
            assert!(registry_url(right).is_ok(), "{right}");
        }
        for wrong in [
            "ftp://x",
            "ghcr.io",
            "http://",
            "https://user:secret@ghcr.io",
            "https://ghcr.io/?a=b",
            "https://ghcr.io/v2/",
        ] {
            let problem = registry_url(wrong).unwrap_err();
            assert!(!problem.contains("secret") && !problem.contains('\n'), "{problem}");
        }
    }
}
