//! What is remembered by being there at all.

use bytes::Bytes;

use crate::cache::Cached;

/// Marks what its key names.
pub(super) struct Marker;

impl Cached for Marker {
    fn weight(&self) -> usize {
        0
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        bytes.is_empty().then_some(Self)
    }
}

/// Marks what the registry told one credential of this process.
pub(super) struct ToldNothing;

impl Cached for ToldNothing {
    fn weight(&self) -> usize {
        0
    }

    fn encode(&self) -> Option<Vec<u8>> {
        None
    }

    fn decode(_: &str, _: Bytes) -> Option<Self> {
        None
    }
}
