//! Content digests, `<algorithm>:<encoded>` (OCI image-spec, "Digests").

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Longest digest accepted, in characters. The spec sets no limit; sha512 needs 135.
const MAX_LENGTH: usize = 256;

/// A well-formed digest. Registered algorithms have exactly their number of lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Arc<str>,
    colon: usize,
}

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a digest: expected <algorithm>:<encoded>, such as sha256 and 64 hex digits", .0.escape_debug())]
pub struct InvalidDigest(pub String);

/// Hex digits of the encoded part of a registered algorithm.
pub(super) fn hex_length(algorithm: &str) -> Option<usize> {
    match algorithm {
        "sha256" | "blake3" => Some(64),
        "sha384" => Some(96),
        "sha512" => Some(128),
        _ => None,
    }
}

/// Looks at all of the text, many bytes at a time, because nearly every text is.
pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .fold(true, |is_hex, byte| is_hex & matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `[a-z0-9]+([+._-][a-z0-9]+)*`
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn is_encoded(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

impl Digest {
    /// Parses `<algorithm>:<encoded>`.
    ///
    /// # Errors
    /// If the text does not match the grammar, or has the wrong number of digits for its algorithm.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest(text.chars().take(MAX_LENGTH).collect());
        if text.len() > MAX_LENGTH {
            return Err(invalid());
        }
        let (algorithm, encoded) = text.split_once(':').ok_or_else(invalid)?;
        let well_formed = match hex_length(algorithm) {
            Some(length) => encoded.len() == length && is_lower_hex(encoded),
            None => is_algorithm(algorithm) && is_encoded(encoded),
        };
        if !well_formed {
            return Err(invalid());
        }
        Ok(Self {
            text: text.into(),
            colon: algorithm.len(),
        })
    }

    /// The sha256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        let text = format!("sha256:{}", hex(&Sha256::digest(bytes)));
        Self {
            text: text.into(),
            colon: "sha256".len(),
        }
    }

    /// The encoded parts of the digests of `bytes`, by every algorithm that refshim implements.
    pub fn encoded_by_all(bytes: &[u8]) -> [String; 4] {
        [
            hex(&Sha256::digest(bytes)),
            hex(&Sha384::digest(bytes)),
            hex(&Sha512::digest(bytes)),
            hex(blake3::hash(bytes).as_bytes()),
        ]
    }

    /// The digest of `bytes` by `algorithm`. `None` if refshim does not implement it.
    pub fn of(algorithm: &str, bytes: &[u8]) -> Option<Self> {
        let encoded = match algorithm {
            "sha256" => hex(&Sha256::digest(bytes)),
            "sha384" => hex(&Sha384::digest(bytes)),
            "sha512" => hex(&Sha512::digest(bytes)),
            "blake3" => hex(blake3::hash(bytes).as_bytes()),
            _ => return None,
        };
        Some(Self {
            text: format!("{algorithm}:{encoded}").into(),
            colon: algorithm.len(),
        })
    }

    /// Whether `bytes` have this digest. `None` if refshim does not implement the algorithm.
    pub fn matches(&self, bytes: &[u8]) -> Option<bool> {
        Some(Self::of(self.algorithm(), bytes)? == *self)
    }

    /// Whether refshim implements the algorithm, so that content can be checked against this digest.
    pub fn is_computable(&self) -> bool {
        Self::of(self.algorithm(), &[]).is_some()
    }

    /// Whether all its digits are zeros. Clients ask for the referrers of such a digest to find out whether a registry has the API.
    pub fn is_zero(&self) -> bool {
        self.encoded().bytes().all(|byte| byte == b'0')
    }

    /// The part before the colon, such as `sha256`.
    pub fn algorithm(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The part after the colon.
    pub fn encoded(&self) -> &str {
        &self.text[self.colon + 1..]
    }

    /// The text, `<algorithm>:<encoded>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The text itself, shared.
impl From<&Digest> for Arc<str> {
    fn from(digest: &Digest) -> Self {
        digest.text.clone()
    }
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_registered_and_unregistered_algorithms() {
        for text in [
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
            "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
        ] {
            assert_eq!(Digest::parse(text).map(|d| d.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refuses_nonsense() {
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            "SHA256:00",
            ":00",
            "a:b:c",
            "sha-:x",
            &upper,
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn matches_only_its_own_bytes() {
        let digest = Digest::sha256(b"");
        assert_eq!(digest.matches(b""), Some(true));
        assert_eq!(digest.matches(b"x"), Some(false));
        assert_eq!(Digest::parse("md5:00").unwrap().matches(b""), None);
    }

    /// The empty input's digests, as published for each algorithm.
    #[test]
    fn registered_algorithms_can_be_computed() {
        for text in [
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ] {
            let digest = Digest::parse(text).unwrap();
            assert_eq!(digest.matches(b""), Some(true), "{text}");
            assert!(digest.is_computable());
        }
        assert!(!Digest::parse("md5:00").unwrap().is_computable());
    }
}
