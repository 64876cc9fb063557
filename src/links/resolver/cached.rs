//! How answers and blobs are weighed, written down and believed.

use bytes::Bytes;

use crate::cache::{Cached, from_json, to_json};
use crate::oci::{Descriptor, Digest, Links, Referrer};

impl Cached for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(self.to_vec())
    }

    /// Nobody is believed but the digest.
    fn decode(digest: &str, bytes: Self) -> Option<Self> {
        let digest = Digest::parse(digest).ok()?;
        (digest.matches(&bytes) == Some(true)).then_some(bytes)
    }
}

impl Cached for Links {
    fn weight(&self) -> usize {
        let entry = |r: &Referrer| {
            let objects = r.objects.iter().flatten().map(Descriptor::weight);
            size_of::<Referrer>() + r.descriptor.weight() + objects.sum::<usize>()
        };
        // Printed, it is kept once more.
        2 * self.referrers.iter().map(entry).sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(subject: &str, bytes: Bytes) -> Option<Self> {
        from_json::<Self>(&bytes).filter(|links| links.subject.as_str() == subject)
    }
}
