//! Manifests and small blobs as they are remembered: the bytes, what the registry sent along, and when it last gave them by
//! their digest. Bytes are immutable; that they are there and may be read is not.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ETAG, VARY};
use http::{HeaderMap, HeaderValue};

use crate::cache::Cached;
use crate::oci::Digest;
use crate::oci::weight::{allocated, shared_text};
use crate::registry::RawManifest;

/// Bytes that are shared are counted beside by whoever shares them.
const SHARED_BYTES: usize = 32;

/// What shared bytes take up.
fn bytes_weight(bytes: &Bytes) -> usize {
    allocated(bytes.len()) + SHARED_BYTES
}

/// Bytes that a map of headers takes for each line that it has room for, the value's text not counted.
const HEADER_PLACE: usize = 112;

/// Headers that the registry sent with something that is remembered.
#[derive(Clone, Debug, Default)]
pub struct ServedHeaders {
    headers: Arc<HeaderMap>,
    /// The `Origin` of the request that they answered: what a registry lets browsers do may depend on it.
    origin: Option<HeaderValue>,
}

impl ServedHeaders {
    /// `headers` are those that may be sent again, to others.
    pub fn new(sent: &HeaderMap, origin: Option<&HeaderValue>) -> Self {
        let mut headers = HeaderMap::with_capacity(sent.len());
        for (name, value) in sent {
            headers.append(name.clone(), copied(value));
        }
        Self {
            headers: Arc::new(headers),
            origin: origin.map(copied),
        }
    }

    /// The headers themselves.
    pub fn as_map(&self) -> &HeaderMap {
        &self.headers
    }

    /// What the registry may be asked by whether the content is still the same and may still be read.
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    /// Whether the registry would send the same to a request of this `Origin`, as far as that can be told.
    pub fn suit(&self, origin: Option<&HeaderValue>) -> bool {
        if origin.is_none() || origin == self.origin.as_ref() {
            return true;
        }
        let allowed = self.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        let for_all = allowed.is_some_and(|allowed| self.origin.is_none() || allowed == "*");
        for_all && !self.vary_by_origin()
    }

    fn vary_by_origin(&self) -> bool {
        let lines = self.headers.get_all(VARY).iter();
        let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        names.any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"origin")
        })
    }

    /// Bytes beside those of the structure itself.
    fn weight(&self) -> usize {
        let values = self.headers.values().chain(&self.origin);
        let values: usize = values.map(|value| allocated(value.len()) + SHARED_BYTES).sum();
        let map = allocated(size_of::<HeaderMap>() + 16) + allocated(self.headers.capacity() * HEADER_PLACE);
        values + map
    }
}

/// What came off a connection is a part of its buffer, which would stay in memory with it.
fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// What is remembered of one manifest or blob, for a caller who may have it.
#[derive(Clone, Debug)]
pub struct Known<T> {
    pub content: T,
    pub headers: ServedHeaders,
    pub age: Duration,
    /// Whether it may be given without asking: the registry itself gave it by this digest a moment ago.
    pub is_current: bool,
    /// Whether the registry keeps it under another digest, an envelope's or an original's, and may fail at its own.
    pub is_kept_elsewhere: bool,
}

/// How the registry came to give a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// By its digest, or it took it: it has said that this very digest is there.
    ByDigest,
    /// By a tag. A policy that withholds the digest may let the tag resolve.
    ByTag,
    /// In an envelope, which the registry gave then, as time since 1970.
    Sealed(Option<Duration>),
}

/// A manifest in memory.
#[derive(Clone, Debug)]
pub struct RememberedManifest {
    /// The manifest.
    pub manifest: Arc<RawManifest>,
    /// The headers with which the registry served it.
    pub headers: ServedHeaders,
    /// When the registry last gave it by its digest, as time since 1970.
    pub given: Option<Duration>,
    /// Whether it was read from an envelope.
    pub is_sealed: bool,
}

impl RememberedManifest {
    /// A manifest that the registry did not give by its digest yet.
    pub fn new(manifest: RawManifest, headers: ServedHeaders) -> Self {
        Self {
            manifest: Arc::new(manifest),
            headers,
            given: None,
            is_sealed: false,
        }
    }

    /// Whether the registry gave it by its digest less than `window` before `now`.
    pub fn was_given_within(&self, window: Duration, now: Duration) -> bool {
        self.given.is_some_and(|given| now.saturating_sub(given) < window)
    }
}

impl Cached for RememberedManifest {
    fn weight(&self) -> usize {
        let raw = &self.manifest;
        // Its digest is that of its key.
        let held =
            allocated(size_of::<RawManifest>() + 16) + bytes_weight(&raw.bytes) + allocated(raw.media_type.len());
        size_of::<Self>() + held + self.headers.weight()
    }

    /// The media type, a line feed, the manifest's bytes. When the registry gave it to whom is this process's knowledge.
    fn encode(&self) -> Option<Vec<u8>> {
        Some([self.manifest.media_type.as_bytes(), b"\n", &self.manifest.bytes].concat())
    }

    /// Nobody is believed but the digest.
    fn decode(digest: &str, mut bytes: Bytes) -> Option<Self> {
        let digest = Digest::parse(digest).ok()?;
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let media_type = String::from_utf8(bytes.split_to(end).into()).ok()?;
        bytes.advance(1);
        let is_it = digest.matches(&bytes) == Some(true);
        let manifest = RawManifest {
            digest,
            media_type,
            bytes,
        };
        is_it.then(|| Self::new(manifest, ServedHeaders::default()))
    }
}

/// A small blob in memory, as the registry gave it by its digest.
#[derive(Clone, Debug)]
pub(super) struct RememberedBlob {
    pub bytes: Bytes,
    pub headers: ServedHeaders,
}

impl Cached for RememberedBlob {
    fn weight(&self) -> usize {
        size_of::<Self>() + bytes_weight(&self.bytes) + self.headers.weight()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(self.bytes.to_vec())
    }

    /// Nobody is believed but the digest.
    fn decode(digest: &str, bytes: Bytes) -> Option<Self> {
        let digest = Digest::parse(digest).ok()?;
        (digest.matches(&bytes) == Some(true)).then(|| Self {
            bytes,
            headers: ServedHeaders::default(),
        })
    }
}

/// An index that refshim made itself, and the subject whose referrers it lists.
#[derive(Clone, Debug)]
pub(super) struct SynthesisedIndex {
    pub subject: Digest,
    pub bytes: Bytes,
}

impl Cached for SynthesisedIndex {
    fn weight(&self) -> usize {
        size_of::<Self>() + shared_text(self.subject.as_str()) + bytes_weight(&self.bytes)
    }

    /// The subject, a line feed, the index.
    fn encode(&self) -> Option<Vec<u8>> {
        Some([self.subject.as_str().as_bytes(), b"\n", &self.bytes].concat())
    }

    /// Nobody is believed but the digest.
    fn decode(digest: &str, mut bytes: Bytes) -> Option<Self> {
        let digest = Digest::parse(digest).ok()?;
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let subject = Digest::parse(std::str::from_utf8(&bytes.split_to(end)).ok()?).ok()?;
        bytes.advance(1);
        (digest.matches(&bytes) == Some(true)).then_some(Self { subject, bytes })
    }
}

/// An index that refshim made itself, for a caller who may read the repository.
#[derive(Clone, Debug)]
pub struct MadeIndex {
    pub subject: Digest,
    pub bytes: Bytes,
    /// Whether it was made no longer ago than answers stay fresh. Afterwards it is given only while it still is the list.
    pub is_current: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>, lines: &[(&'static str, &str)]) -> ServedHeaders {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        let origin: Option<HeaderValue> = origin.map(|origin| origin.parse().unwrap());
        ServedHeaders::new(&map, origin.as_ref())
    }

    #[test]
    fn what_was_said_to_one_origin_is_not_said_to_another() {
        let (a, b) = (
            HeaderValue::from_static("http://a"),
            HeaderValue::from_static("http://b"),
        );
        let allow = "access-control-allow-origin";
        for (origin, lines, suits_a, suits_b) in [
            (None, &[][..], false, false),
            (Some("http://a"), &[], true, false),
            (Some("http://a"), &[(allow, "http://a")], true, false),
            (Some("http://a"), &[(allow, "*")], true, true),
            (
                Some("http://a"),
                &[(allow, "*"), ("vary", "Accept, origin")],
                true,
                false,
            ),
            // Sent unasked: the registry sends it always.
            (None, &[(allow, "http://a")], true, true),
            (None, &[(allow, "http://a"), ("vary", "Origin")], false, false),
        ] {
            let sent = headers(origin, lines);
            assert_eq!(
                (sent.suit(Some(&a)), sent.suit(Some(&b))),
                (suits_a, suits_b),
                "{origin:?} {lines:?}"
            );
            assert!(sent.suit(None));
        }
    }

    #[test]
    fn only_bytes_of_their_digest_are_read_back() {
        let digest = Digest::sha256(b"{}");
        let subject = Digest::sha256(b"s");
        let index = SynthesisedIndex {
            subject: subject.clone(),
            bytes: Bytes::from_static(b"{}"),
        };
        let read = |text: Vec<u8>| SynthesisedIndex::decode(digest.as_str(), text.into());
        assert_eq!(read(index.encode().unwrap()).unwrap().subject, subject);
        assert!(read(b"{}".to_vec()).is_none() && read(format!("{subject}\n[]").into_bytes()).is_none());
        assert!(read(b"x\n{}".to_vec()).is_none());
    }
}
