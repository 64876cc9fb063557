//! Content descriptors (OCI image-spec, "Content Descriptors").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::Digest;
use super::weight::{allocated, shared_text, tree};

/// The operating system of entries that do not run (Proposal D, BuildKit).
pub(super) const UNKNOWN_SYSTEM: &str = "unknown";

/// Key to value, ordered by key, so that what is printed is stable.
pub type Annotations = BTreeMap<String, String>;

/// A descriptor: the media type, digest and size of some content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The content's media type.
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// The artifact type of a manifest (OCI 1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// The content itself in base64, if the index inlines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Proposal B: what this descriptor's content refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<Descriptor>>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            artifact_type: None,
            annotations: Annotations::new(),
            data: None,
            reference: None,
        }
    }

    /// Reads a descriptor from foreign JSON. `None` if it has no valid digest. Other members of a wrong type count as absent, because a
    /// descriptor is only a hint: refshim reads the content itself.
    pub fn from_json(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        Some(Self {
            media_type: text("mediaType").unwrap_or_default().to_owned(),
            digest: Digest::parse(text("digest")?).ok()?,
            size: object.get("size").and_then(Value::as_u64).unwrap_or_default(),
            artifact_type: text("artifactType").filter(|t| !t.is_empty()).map(str::to_owned),
            annotations: object.get("annotations").map(annotations_from_json).unwrap_or_default(),
            data: text("data").map(str::to_owned),
            // serde_json's recursion limit bounds this.
            reference: object.get("reference").and_then(Self::from_json).map(Box::new),
        })
    }

    /// Bytes of memory that it uses, including everything that it owns.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.held()
    }

    /// As [`Descriptor::weight`], without the struct itself, for a descriptor that is part of something counted.
    pub fn held(&self) -> usize {
        let texts = [Some(&self.media_type), self.artifact_type.as_ref(), self.data.as_ref()];
        let texts = texts.into_iter().flatten().map(|text| allocated(text.len()));
        let annotations = self.annotations.iter();
        let annotations = annotations.map(|(key, value)| allocated(key.len()) + allocated(value.len()));
        shared_text(self.digest.as_str())
            + texts.sum::<usize>()
            + annotations.sum::<usize>()
            + tree(self.annotations.len(), size_of::<(String, String)>())
            + self.reference.as_ref().map_or(0, |reference| reference.weight())
    }

    /// The inlined content, if there is any and it matches the digest and the size.
    pub fn inlined(&self) -> Option<bytes::Bytes> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(self.data.as_deref()?)
            .ok()?;
        (bytes.len() as u64 == self.size && self.digest.matches(&bytes) == Some(true)).then(|| bytes.into())
    }
}

/// Whether an entry of an index is for a platform to run on.
pub fn is_for_platform(entry: &Value) -> bool {
    let system = entry.get("platform").and_then(|platform| platform.get("os"));
    let system = system.and_then(Value::as_str);
    system.is_some_and(|system| !matches!(system, "" | UNKNOWN_SYSTEM))
}

/// The members of a JSON object that are strings; others are left out.
pub fn annotations_from_json(value: &Value) -> Annotations {
    let members = value.as_object().into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_stranger_chose_weighs() {
        let light = Descriptor::new("a/b", Digest::sha256(b""), 0);
        let long = "x".repeat(1000);
        let annotated = Descriptor {
            annotations: [("k".to_owned(), long.clone())].into(),
            ..light.clone()
        };
        for heavy in [
            Descriptor::new(long.clone(), Digest::sha256(b""), 0),
            Descriptor {
                artifact_type: Some(long.clone()),
                ..light.clone()
            },
            Descriptor {
                data: Some(long.clone()),
                ..light.clone()
            },
            Descriptor {
                reference: Some(Box::new(annotated.clone())),
                ..light.clone()
            },
            annotated,
        ] {
            assert!(heavy.weight() > light.weight() + 900, "{heavy:?}");
        }
    }
}
