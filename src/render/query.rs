//! Query strings of the referrers APIs.

use std::num::NonZeroUsize;

use percent_encoding::percent_decode_str;

/// The decoded parameters of a request, in their order. Keys may repeat, and unknown ones are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// An invalid parameter, which is a client error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `n` is no positive number.
    #[error("n={0:?} is not a positive number of entries")]
    InvalidN(String),
    /// `nextToken` was issued for another question, or by nobody.
    #[error("nextToken was not issued for this question; start again without it")]
    InvalidToken,
}

impl Query {
    /// Parses the text after the `?`. A raw `+` is a plus, not a space, because clients send media types with `+` unencoded.
    pub fn parse(raw: Option<&str>) -> Self {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of `key`.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.pairs().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Every value of `key`.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter(move |(k, _)| *k == key).map(|(_, value)| value)
    }

    /// All parameters in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The page size `n`. Zero is rejected, because paging would never end.
    pub fn n(&self) -> Result<Option<NonZeroUsize>, QueryError> {
        let Some(text) = self.first("n") else {
            return Ok(None);
        };
        let invalid = || QueryError::InvalidN(text.chars().take(32).collect());
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        // A number that does not fit is larger than any list.
        let n = text.parse().unwrap_or(usize::MAX);
        NonZeroUsize::new(n).map(Some).ok_or_else(invalid)
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_percent_but_keeps_a_raw_plus() {
        let query = Query::parse(Some("artifactType=a%2Fb%2Bc&artifactType=a/d+e&&x&ns=docker.io&y=%zz"));
        let types: Vec<_> = query.all("artifactType").collect();
        assert_eq!(types, ["a/b+c", "a/d+e"]);
        assert_eq!(
            (query.first("x"), query.first("y"), query.first("z")),
            (Some(""), Some("%zz"), None)
        );
    }

    #[test]
    fn n_is_a_positive_number() {
        let n = |raw: &str| Query::parse(Some(raw)).n();
        assert_eq!(n(""), Ok(None));
        assert_eq!(n("n=7").unwrap().unwrap().get(), 7);
        assert_eq!(n("n=99999999999999999999999").unwrap(), NonZeroUsize::new(usize::MAX));
        for bad in ["n=", "n=0", "n=-1", "n=+1", "n=x", "n=1.5"] {
            assert!(n(bad).is_err(), "{bad}");
        }
    }
}
