//! How answers are weighed, written down and believed.

use bytes::Bytes;

use crate::cache::{Cached, from_json, to_json};
use crate::oci::weight::{allocated, shared_text, tree};
use crate::oci::{Descriptor, LinkSource, Referrer, ReferrerList};

/// A printed list without its entries: what stands around them, its digest, and what shares it. Every list that is asked for is
/// printed, and kept so.
const PRINTED_FRAME: usize = 96 + 96 + 32;

impl Cached for ReferrerList {
    fn weight(&self) -> usize {
        let held = |referrer: &Referrer| {
            let objects = referrer.objects.iter();
            let objects = objects.map(|objects| {
                let held: usize = objects.iter().map(Descriptor::held).sum();
                held + allocated(objects.capacity() * size_of::<Descriptor>())
            });
            let adopted = referrer
                .adopted
                .iter()
                .map(|original| shared_text(original.digest.as_str()));
            referrer.descriptor.held()
                + objects.sum::<usize>()
                + adopted.sum::<usize>()
                + tree(referrer.sources.len(), size_of::<LinkSource>())
        };
        let printed: usize = self
            .referrers
            .iter()
            .map(|referrer| printed_length(&referrer.descriptor))
            .sum();
        // Its subject is that of its key.
        size_of::<Self>()
            + allocated(self.referrers.capacity() * size_of::<Referrer>())
            + self.referrers.iter().map(held).sum::<usize>()
            + PRINTED_FRAME
            + allocated(printed)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(subject: &str, bytes: Bytes) -> Option<Self> {
        from_json::<Self>(&bytes).filter(|links| links.subject.as_str() == subject)
    }
}

/// The length of an entry in a printed list.
fn printed_length(descriptor: &Descriptor) -> usize {
    let mut counter = Counter(0);
    // Counting does not fail; what could not be printed would take nothing.
    let _ = serde_json::to_writer(&mut counter, descriptor);
    counter.0 + 1
}

/// Counts what is written.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
