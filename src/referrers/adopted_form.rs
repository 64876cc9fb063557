//! What adopted forms are made of, as it is remembered: enough to make one again from its original, and nothing that is believed
//! before the bytes that come of it have the digest that was asked for.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, from_json, to_json};
use crate::oci::adoption::{Adoption, AdoptionSubject};
use crate::oci::weight::{allocated, shared_text};
use crate::oci::{AdoptedOriginal, Digest};
use crate::registry::RawManifest;

/// How one adopted form is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AdoptedForm {
    pub original: AdoptedOriginal,
    #[serde(flatten)]
    pub adoption: Adoption,
}

impl AdoptedForm {
    /// The adopted form, where that has the digest `wanted`.
    pub fn make(&self, original: &RawManifest, wanted: &Digest) -> Option<Arc<RawManifest>> {
        let bytes = self.adoption.apply(&original.bytes, &original.media_type)?;
        let is_it = original.digest == self.original.digest && wanted.matches(&bytes) == Some(true);
        is_it.then(|| {
            Arc::new(RawManifest {
                digest: wanted.clone(),
                media_type: original.media_type.clone(),
                bytes,
            })
        })
    }
}

impl Cached for AdoptedForm {
    fn weight(&self) -> usize {
        size_of::<Self>() + shared_text(self.original.digest.as_str()) + self.adoption.held()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }
}

/// A subject as the registry served it to this process. What others say of it could not be checked.
pub(super) struct ServedSubject(pub AdoptionSubject);

impl Cached for ServedSubject {
    fn weight(&self) -> usize {
        size_of::<Self>() + allocated(self.0.media_type.len()) + shared_text(self.0.digest.as_str())
    }

    fn encode(&self) -> Option<Vec<u8>> {
        None
    }

    fn decode(_: &str, _: Bytes) -> Option<Self> {
        None
    }
}

/// Says that this process made all adopted forms of a repository that it could.
pub(super) struct AllMade;

impl Cached for AllMade {
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
