//! By which tags name their subject.

use std::fmt;

use super::digest::{Digest, hex_length, is_lower_hex};

/// `<ref>` is cut to this many characters (Proposal D; OCI 1.1 for the referrers tag).
const REF_LENGTH: usize = 64;
/// The algorithm is cut to this many characters (OCI 1.1 referrers tag).
const ALGORITHM_LENGTH: usize = 32;

/// `<alg>-<ref>`, by which a tag names its subject. It is not a [`Digest`], because a sha512 is cut to its first 64 digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectKey(String);

impl SubjectKey {
    /// The key of a digest: the algorithm cut to 32 characters, the encoded part to 64, and characters that a tag may not contain replaced by `-`.
    pub fn of(digest: &Digest) -> Self {
        let cut = |text: &str, length: usize| -> String {
            let tag_safe = |c: char| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                    c
                } else {
                    '-'
                }
            };
            text.chars().take(length).map(tag_safe).collect()
        };
        let algorithm = cut(digest.algorithm(), ALGORITHM_LENGTH);
        Self(format!("{algorithm}-{}", cut(digest.encoded(), REF_LENGTH)))
    }

    /// Parses `<alg>-<ref>`. `None` where an ordinary tag only begins like that.
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, reference) = text.split_once('-')?;
        let full = hex_length(algorithm)?;
        // Most writers cut long digests to 64 characters, some do not.
        let is_whole = (REF_LENGTH..=full).contains(&reference.len()) && is_lower_hex(reference);
        is_whole.then(|| Self(format!("{algorithm}-{}", &reference[..REF_LENGTH])))
    }

    /// The text, `<alg>-<ref>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest, if the key contains all of it.
    pub fn digest(&self) -> Option<Digest> {
        let (algorithm, encoded) = self.0.split_once('-')?;
        hex_length(algorithm).filter(|length| *length <= REF_LENGTH)?;
        Digest::parse(&format!("{algorithm}:{encoded}")).ok()
    }

    /// Whether `bytes` are the content of the subject.
    pub fn names(&self, bytes: &[u8]) -> bool {
        let algorithm = self.0.split_once('-').map(|(algorithm, _)| algorithm);
        let digest = algorithm.and_then(|algorithm| Digest::of(algorithm, bytes));
        digest.is_some_and(|digest| Self::of(&digest) == *self)
    }

    /// A name that sorts just before all link tags of this subject: a listing with it as `last` starts at them.
    pub fn seek_before(&self) -> &str {
        // Every key is non-empty ASCII.
        &self.0[..self.0.len() - 1]
    }
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_starts_before_every_tag_of_the_subject() {
        let key = SubjectKey::of(&Digest::sha256(b"x"));
        assert!(key.seek_before() < key.as_str());
        assert!(key.as_str() < format!("{key}.sig").as_str());
    }
}
