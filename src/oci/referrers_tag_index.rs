//! The image index behind an OCI 1.1 referrers tag, kept as JSON so that members and entries of other writers stay unchanged.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::descriptor::{Descriptor, UNKNOWN_SYSTEM};
use super::digest::Digest;
use super::manifest::Manifest;
use super::media_type::{ManifestKind, OCI_IMAGE_INDEX};
use super::subject_key::SubjectKey;

#[derive(Clone, Debug, PartialEq)]
pub struct ReferrersTagIndex {
    /// All members but `manifests`.
    members: Map<String, Value>,
    manifests: Vec<Value>,
}

impl Default for ReferrersTagIndex {
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

impl ReferrersTagIndex {
    /// `None` if the bytes are not an index.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::from_members(serde_json::from_slice(bytes).ok()?)
    }

    fn from_members(mut members: Map<String, Value>) -> Option<Self> {
        let manifests = match members.remove("manifests") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(manifests)) => manifests,
            Some(_) => return None,
        };
        Some(Self { members, manifests })
    }

    /// The list of referrers behind the referrers tag of `subject`: an OCI image index without members of its own (but
    /// annotations), whose entries are not images for a platform (distribution-spec 1.1, "Referrers Tag Schema"). `None` for anything else: the
    /// subject itself (which `cosign copy` and GitLab put there), a multi-platform image, an artifact, a build cache, or something unknown.
    /// That belongs to somebody else, and must be neither read as a list nor overwritten.
    pub fn of_tag(subject: &SubjectKey, media_type: &str, bytes: &[u8]) -> Option<Self> {
        let members: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let manifest = Manifest::from_members(&members, media_type).ok()?;
        let index = Self::from_members(members)?;
        (index.is_list(subject, &manifest) && !subject.names(bytes)).then_some(index)
    }

    /// The index that a client pushes to the referrers tag of `subject`, whatever it lists: one entry that refshim does not understand must not
    /// make it drop those of others. `manifest` and `members` are the parsed `bytes`. `None` if it is not an image index.
    pub fn of_client(
        subject: &SubjectKey,
        manifest: &Manifest,
        members: Map<String, Value>,
        bytes: &[u8],
    ) -> Option<Self> {
        let is_index = manifest.media_type == OCI_IMAGE_INDEX && !subject.names(bytes);
        is_index.then(|| Self::from_members(members)).flatten()
    }

    /// Whether an index that is no subject itself is a list of referrers of `subject` ([`Self::of_tag`]). `manifest` is the index, read
    /// as a manifest.
    pub fn is_list(&self, subject: &SubjectKey, manifest: &Manifest) -> bool {
        manifest.media_type == OCI_IMAGE_INDEX
            && manifest.own_subjects().is_empty()
            && self.says_nothing_of_itself()
            && self.manifests.iter().all(|entry| is_referrer(entry, subject))
    }

    /// Whether it has no other members than lists of referrers have.
    fn says_nothing_of_itself(&self) -> bool {
        let is_one_of_a_list = |(member, value): (&String, &Value)| match member.as_str() {
            "schemaVersion" => *value == 2,
            "mediaType" => *value == OCI_IMAGE_INDEX,
            "annotations" => true,
            _ => value.is_null() || *value == "",
        };
        self.members.contains_key("schemaVersion") && self.members.iter().all(is_one_of_a_list)
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

    /// Adds the descriptor, or replaces the one with the same digest.
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

    /// Whether an entry is for a platform to run on, which makes the index a multi-platform image and not a list of referrers.
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

    /// Adds the entries of `other` that are missing here, except those in `gone`.
    pub fn take_over(&mut self, other: &Self, gone: &[Digest]) {
        for entry in &other.manifests {
            let digest = digest_of(entry).and_then(|text| Digest::parse(text).ok());
            if digest.is_some_and(|digest| !self.holds(&digest) && !gone.contains(&digest)) {
                self.manifests.push(entry.clone());
            }
        }
    }
}

/// Whether an entry of an index may be a referrer of `subject`: a manifest of a known kind, not the subject, and not for a platform to
/// run on.
fn is_referrer(entry: &Value, subject: &SubjectKey) -> bool {
    let Some(descriptor) = Descriptor::from_json(entry) else {
        return false;
    };
    let system = entry.get("platform").and_then(|platform| platform.get("os"));
    let runs = system.is_some_and(|system| !matches!(system.as_str(), Some("" | UNKNOWN_SYSTEM)));
    ManifestKind::of(&descriptor.media_type).is_some() && !runs && SubjectKey::of(&descriptor.digest) != *subject
}

fn digest_of(entry: &Value) -> Option<&str> {
    entry.get("digest")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type::{DOCKER_MANIFEST_LIST, OCI_IMAGE_MANIFEST};

    #[test]
    fn keeps_what_others_wrote() {
        let theirs = json!({"digest": Digest::sha256(b"a"), "size": 1, "x-their-own": true});
        let bytes = json!({"schemaVersion": 2, "annotations": {"k": "v"}, "manifests": [theirs]}).to_string();
        let mut index = ReferrersTagIndex::parse(bytes.as_bytes()).unwrap();
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
            ReferrersTagIndex::parse(json!({"manifests": [entry]}).to_string().as_bytes()).unwrap()
        };
        assert!(index(json!({"os": "linux", "architecture": "arm64"})).is_image());
        assert!(!index(json!({"os": "unknown", "architecture": "unknown"})).is_image());
        assert!(!index(Value::Null).is_image());
    }

    /// What `bytes` of `media_type` are under the referrers tag of the digest of "subject".
    fn is_list(media_type: &str, manifest: &Value) -> bool {
        let key = SubjectKey::of(&Digest::sha256(b"subject"));
        ReferrersTagIndex::of_tag(&key, media_type, manifest.to_string().as_bytes()).is_some()
    }

    #[test]
    fn lists_of_referrers_are_known_by_what_they_say() {
        let digest = Digest::sha256(b"a");
        let entry = json!({"mediaType": OCI_IMAGE_MANIFEST, "digest": digest, "size": 1});
        let unknown = json!({"mediaType": OCI_IMAGE_INDEX, "digest": digest, "size": 1, "artifactType": "x/y",
            "platform": {"os": "unknown", "architecture": "unknown"}});
        for list in [
            json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": []}),
            // Go prints an empty list so.
            json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": null}),
            json!({"schemaVersion": 2, "manifests": [entry]}),
            json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": [entry, unknown], "annotations": {"k": "v"}}),
        ] {
            assert!(is_list(OCI_IMAGE_INDEX, &list), "{list}");
        }
    }

    #[test]
    fn whatever_else_has_the_name_of_a_referrers_tag_is_no_list() {
        let digest = Digest::sha256(b"a");
        let entry = |media_type: &str| json!({"mediaType": media_type, "digest": digest, "size": 1});
        let index = |entry: Value| json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": [entry]});
        let with = |member: &str, value: Value| {
            let mut index = index(entry(OCI_IMAGE_MANIFEST));
            index[member] = value;
            index
        };
        let mut platform = entry(OCI_IMAGE_MANIFEST);
        platform["platform"] = json!({"os": "linux", "architecture": "arm64"});
        let mut subject = entry(OCI_IMAGE_MANIFEST);
        subject["digest"] = json!(Digest::sha256(b"subject"));
        for other in [
            // An image for a platform, an originator's index that holds the subject, a build cache, no descriptor at all.
            index(platform),
            index(subject),
            index(entry("application/vnd.oci.image.layer.v1.tar+gzip")),
            index(json!("x")),
            // Artifacts.
            with("artifactType", json!("x/y")),
            with("subject", entry(OCI_IMAGE_MANIFEST)),
            with("config", entry("x/y")),
            with("layers", json!([entry("x/y")])),
            with("mediaType", json!(DOCKER_MANIFEST_LIST)),
            with("manifests", json!("x")),
            json!({}),
            json!([]),
        ] {
            assert!(!is_list(OCI_IMAGE_INDEX, &other), "{other}");
        }
        for media_type in [OCI_IMAGE_MANIFEST, DOCKER_MANIFEST_LIST, "text/html"] {
            let body = json!({"schemaVersion": 2, "manifests": []});
            assert!(!is_list(media_type, &body), "{media_type}");
        }
    }

    #[test]
    fn the_subject_itself_is_no_list_whatever_it_looks_like() {
        let bytes = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": []}).to_string();
        for algorithm in ["sha256", "sha512"] {
            let key = SubjectKey::of(&Digest::of(algorithm, bytes.as_bytes()).unwrap());
            assert_eq!(ReferrersTagIndex::of_tag(&key, OCI_IMAGE_INDEX, bytes.as_bytes()), None);
        }
    }

    #[test]
    fn takes_over_all_but_what_is_gone() {
        let entry = |name: &str| Descriptor::new("x/y", Digest::sha256(name.as_bytes()), 1);
        let (a, b, c) = (entry("a"), entry("b"), entry("c"));
        let (mut old, mut new) = (ReferrersTagIndex::default(), ReferrersTagIndex::default());
        for known in [&a, &b, &c] {
            old.add(known);
        }
        new.add(&c);
        new.take_over(&old, std::slice::from_ref(&a.digest));
        assert_eq!(new.digests(), [c.digest, b.digest]);
    }
}
