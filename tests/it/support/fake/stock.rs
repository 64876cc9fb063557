//! Filling a fake behind its back: no authorisation, no objections, nothing written down.

use refshim::testing::oci::{Digest, Reference, RepositoryName};
use serde_json::Value;

use super::Fake;
use crate::support::Pushed;
use crate::support::content::{IMAGE, artifact, bare_image};

fn repository(name: &str) -> RepositoryName {
    RepositoryName::parse(name).expect("a repository name")
}

impl Fake {
    pub fn blob(&self, name: &str, bytes: impl Into<bytes::Bytes>) -> Digest {
        self.shared.registry.store().put_blob(&repository(name), bytes)
    }

    /// All tags of a repository, whatever its listing shows.
    pub fn tags(&self, name: &str) -> Vec<String> {
        let tags = self.shared.registry.store().tags(&repository(name)).unwrap_or_default();
        tags.iter().map(ToString::to_string).collect()
    }

    /// Stores a manifest under a tag, or under its digest where `tag` is empty.
    pub fn put(&self, name: &str, tag: &str, media_type: &str, manifest: &Value) -> Pushed {
        let pushed = Pushed::of(media_type, manifest);
        self.put_pushed(name, tag, &pushed);
        pushed
    }

    /// One more tag for a manifest.
    pub fn put_pushed(&self, name: &str, tag: &str, pushed: &Pushed) {
        let reference = if tag.is_empty() { &pushed.digest } else { tag };
        let reference = Reference::parse(reference).expect("a tag or a digest");
        let mut store = self.shared.registry.store();
        let stored = store.put_manifest(&repository(name), &reference, &pushed.media_type, pushed.bytes.clone());
        stored.expect("a manifest of that digest");
    }

    /// A small image whose digest depends on `title` only.
    pub fn image(&self, name: &str, tag: &str, title: &str) -> Pushed {
        self.blob(name, "{}");
        self.put(name, tag, IMAGE, &bare_image(title))
    }

    /// An OCI 1.1 artifact.
    pub fn artifact(&self, name: &str, tag: &str, subject: &Pushed, artifact_type: &str, title: &str) -> Pushed {
        self.blob(name, "{}");
        self.put(name, tag, IMAGE, &artifact(subject, artifact_type, title))
    }

    /// An artifact under the Proposal D tag of its subject.
    pub fn tagged_artifact(&self, name: &str, subject: &Pushed, artifact_type: &str, title: &str) -> Pushed {
        let pushed = Pushed::of(IMAGE, &artifact(subject, artifact_type, title));
        let tag = pushed.proposal_d_tag(subject, "sbom");
        self.artifact(name, &tag, subject, artifact_type, title)
    }
}
