//! The image index behind an OCI 1.1 referrers tag, as JSON: what other writers put there is kept as it is.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::descriptor::Descriptor;
use super::digest::Digest;
use super::media_type::OCI_IMAGE_INDEX;

/// The platform of entries that do not run (Proposal D, BuildKit).
const UNKNOWN_SYSTEM: &str = "unknown";

#[derive(Clone, Debug, PartialEq)]
pub struct FallbackIndex {
    /// All members but `manifests`.
    members: Map<String, Value>,
    manifests: Vec<Value>,
}

impl Default for FallbackIndex {
    fn default() -> Self {
        let mut members = Map::new();
        members.insert("schemaVersion".to_owned(), json!(2));
        members.insert("mediaType".to_owned(), json!(OCI_IMAGE_INDEX));
        Self {
            members,
            manifests: Vec::new(),
        }
    }
}

impl FallbackIndex {
    /// `None` when the bytes are no index.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut members: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let manifests = match members.remove("manifests") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(manifests)) => manifests,
            Some(_) => return None,
        };
        Some(Self { members, manifests })
    }

    pub fn print(&self) -> Bytes {
        let mut members = self.members.clone();
        members.insert("manifests".to_owned(), Value::Array(self.manifests.clone()));
        Bytes::from(Value::Object(members).to_string())
    }

    pub fn holds(&self, digest: &Digest) -> bool {
        self.manifests
            .iter()
            .any(|entry| digest_of(entry) == Some(digest.as_str()))
    }

    /// The digests of all entries.
    pub fn digests(&self) -> Vec<Digest> {
        let texts = self.manifests.iter().filter_map(digest_of);
        texts.filter_map(|text| Digest::parse(text).ok()).collect()
    }

    /// Puts the descriptor in, in the place of one with the same digest.
    pub fn add(&mut self, descriptor: &Descriptor) {
        let mut same = self
            .manifests
            .iter_mut()
            .filter(|entry| digest_of(entry) == Some(descriptor.digest.as_str()));
        match same.next() {
            Some(entry) => *entry = json!(descriptor),
            None => self.manifests.push(json!(descriptor)),
        }
    }

    /// Whether an entry is for a platform to run on: then the index is an image and no list of referrers.
    pub fn is_image(&self) -> bool {
        let systems = self
            .manifests
            .iter()
            .filter_map(|entry| entry.get("platform")?.get("os")?.as_str());
        systems.into_iter().any(|system| system != UNKNOWN_SYSTEM)
    }

    pub fn remove(&mut self, digest: &Digest) {
        self.manifests.retain(|entry| digest_of(entry) != Some(digest.as_str()));
    }

    /// Takes over the entries of `other` that are not here yet, but for those that are `gone`.
    pub fn take_over(&mut self, other: &Self, gone: &[Digest]) {
        for entry in &other.manifests {
            let digest = digest_of(entry).and_then(|text| Digest::parse(text).ok());
            if digest.is_some_and(|digest| !self.holds(&digest) && !gone.contains(&digest)) {
                self.manifests.push(entry.clone());
            }
        }
    }
}

fn digest_of(entry: &Value) -> Option<&str> {
    entry.get("digest")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_others_wrote() {
        let theirs = json!({"digest": Digest::sha256(b"a"), "size": 1, "x-their-own": true});
        let bytes = json!({"schemaVersion": 2, "annotations": {"k": "v"}, "manifests": [theirs]}).to_string();
        let mut index = FallbackIndex::parse(bytes.as_bytes()).unwrap();
        let ours = Descriptor::new("x/y", Digest::sha256(b"b"), 1);
        index.add(&ours);
        index.add(&ours);
        let printed: Value = serde_json::from_slice(&index.print()).unwrap();
        assert_eq!(printed["manifests"], json!([theirs, ours]));
        assert_eq!(printed["annotations"], json!({"k": "v"}));
        index.add(&Descriptor::new("x/y", Digest::sha256(b"a"), 1));
        assert_eq!(index.digests(), [Digest::sha256(b"a"), Digest::sha256(b"b")]);
    }

    #[test]
    fn an_index_with_a_platform_to_run_on_is_an_image() {
        let index = |platform: Value| {
            let entry = json!({"digest": Digest::sha256(b"a"), "size": 1, "platform": platform});
            FallbackIndex::parse(json!({"manifests": [entry]}).to_string().as_bytes()).unwrap()
        };
        assert!(index(json!({"os": "linux", "architecture": "arm64"})).is_image());
        assert!(!index(json!({"os": "unknown", "architecture": "unknown"})).is_image());
        assert!(!index(Value::Null).is_image());
    }

    #[test]
    fn takes_over_all_but_what_is_gone() {
        let entry = |name: &str| Descriptor::new("x/y", Digest::sha256(name.as_bytes()), 1);
        let (a, b, c) = (entry("a"), entry("b"), entry("c"));
        let (mut old, mut new) = (FallbackIndex::default(), FallbackIndex::default());
        for known in [&a, &b, &c] {
            old.add(known);
        }
        new.add(&c);
        new.take_over(&old, std::slice::from_ref(&a.digest));
        assert_eq!(new.digests(), [c.digest, b.digest]);
    }
}
