//! Which repositories are meant, by patterns of their names.

use std::fmt;

use regex_lite::Regex;
use serde::{Deserialize, Deserializer};

use super::values;

/// Names of repositories in which `*` stands for any characters, slashes too.
#[derive(Clone)]
pub struct RepositoryPatterns(Vec<(String, Regex)>);

impl RepositoryPatterns {
    fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let parsed = patterns.into_iter().map(|text| {
            let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/*".contains(&b);
            let pattern = format!("^{}$", regex_lite::escape(text).replace(r"\*", ".*"));
            match Regex::new(&pattern) {
                Ok(pattern) if !text.is_empty() && text.bytes().all(is_allowed) => Ok((text.to_owned(), pattern)),
                _ => Err(format!(
                    "'{text}' is not a pattern of repositories: write it like o/app, o/* or *"
                )),
            }
        });
        let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
        match parsed.is_empty() {
            true => Err("names no repository: leave it out for all of them".to_owned()),
            false => Ok(Self(parsed)),
        }
    }

    /// Whether the repository called `name` is one of them.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|(_, pattern)| pattern.is_match(name))
    }
}

/// All repositories.
impl Default for RepositoryPatterns {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a literal that is a pattern")]
        Self::parse(["*"]).expect("a pattern")
    }
}

impl fmt::Debug for RepositoryPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(text, _)| text)).finish()
    }
}

impl<'de> Deserialize<'de> for RepositoryPatterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = values::texts(deserializer)?;
        Self::parse(texts.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything_and_a_dot_is_a_dot() {
        for (pattern, name, matches) in [
            ("*", "a/b/c", true),
            ("o/*", "o/a/b", true),
            ("o/*", "o", false),
            ("o/*", "oo/a", false),
            ("*/app", "o/app", true),
            ("o/*-dev", "o/app-dev", true),
            ("o/*-dev", "o/app-dev2", false),
            ("a.b", "a.b", true),
            ("a.b", "axb", false),
        ] {
            let patterns = RepositoryPatterns::parse([pattern]).unwrap();
            assert_eq!(patterns.matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_repository_is_called_is_refused() {
        for wrong in [&[][..], &["O/*"], &["o/app", ""], &["^o"], &["o app"]] {
            assert!(RepositoryPatterns::parse(wrong.iter().copied()).is_err(), "{wrong:?}");
        }
    }
}
