//! Repository names, tags and references (distribution-spec 1.1, "Pulling manifests").

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;

/// Longest repository name (distribution-spec: registry host and name together rarely exceed 255).
const MAX_NAME: usize = 255;
/// Longest tag (distribution-spec).
pub const MAX_TAG: usize = 128;

/// A repository name: components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by `/`. Cannot hold `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// How a request names a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By a tag.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

/// The text that is not a repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a repository name", .0.escape_debug())]
pub struct InvalidName(pub String);

/// The text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a tag", .0.escape_debug())]
pub struct InvalidTag(pub String);

fn is_component(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alnum(first) || !alnum(last) {
        return false;
    }
    bytes
        .split(|&b| alnum(b))
        .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|&b| b == b'-'))
}

impl RepositoryName {
    /// Parses a repository name.
    ///
    /// # Errors
    /// If it does not match the grammar or is longer than 255 characters.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= MAX_NAME && text.split('/').all(is_component) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName(text.chars().take(MAX_NAME).collect()))
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a tag may contain the byte after its first character (distribution-spec, "Pulling manifests").
pub(super) fn may_be_in_a_tag(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The text itself, shared.
impl From<&RepositoryName> for Arc<str> {
    fn from(name: &RepositoryName) -> Self {
        name.0.clone()
    }
}

impl Tag {
    /// Parses a tag.
    ///
    /// # Errors
    /// If it does not match the grammar.
    pub fn parse(text: &str) -> Result<Self, InvalidTag> {
        let mut bytes = text.bytes();
        let well_formed = text.len() <= MAX_TAG
            && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && bytes.all(may_be_in_a_tag);
        if well_formed {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTag(text.chars().take(MAX_TAG).collect()))
        }
    }

    /// The text of the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reference {
    /// Parses a digest if the text contains a colon, otherwise a tag. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            Digest::parse(text).ok().map(Self::Digest)
        } else {
            Tag::parse(text).ok().map(Self::Tag)
        }
    }

    /// The text of the tag or digest.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! text_type {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_type!(RepositoryName);
text_type!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "a/b", "lib.x/y_z/q__r/s---t", "referrers", "v3/manifests", "0/1"] {
            assert!(RepositoryName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "/", "a/", "/a", "A", "a..b", "..", "a/../b", "a___b", "a.-b", "-a", "a%2fb", "a b", "_oci",
        ] {
            assert!(RepositoryName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        assert!(Tag::parse(&"x".repeat(128)).is_ok());
        for bad in [
            String::new(),
            "x".repeat(129),
            ".a".into(),
            "-a".into(),
            "a/b".into(),
            "a\n".into(),
        ] {
            assert!(Tag::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
