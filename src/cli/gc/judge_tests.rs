//! Tests of what is judged dead.

use serde_json::{Value, json};

use super::*;
use crate::cli::gc::snapshot::{EnvelopeContent, EnvelopedManifest};
use crate::oci::media_type::{OCI_ARTIFACT_MANIFEST, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};
use crate::oci::{Descriptor, Manifest, envelope, tag_scheme};
use crate::registry::RawManifest;

pub(in crate::cli::gc) fn digest(name: &str) -> Digest {
    Digest::sha256(name.as_bytes())
}

pub(in crate::cli::gc) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

pub(in crate::cli::gc) fn descriptor(digest: &Digest) -> Value {
    json!({"mediaType": OCI_IMAGE_MANIFEST, "digest": digest, "size": 1})
}

impl Snapshot {
    /// Adds a manifest whose digest is made of its name, under tags.
    pub(in crate::cli::gc) fn with(mut self, name: &str, media_type: &str, manifest: &Value, tags: &[&str]) -> Self {
        let raw = RawManifest {
            digest: digest(name),
            media_type: media_type.to_owned(),
            bytes: manifest.to_string().into(),
        };
        self.manifests.insert(digest(name), ReadManifest::of(&raw));
        for text in tags {
            self.tags.insert(tag(text), Some(digest(name)));
        }
        self
    }

    pub(in crate::cli::gc) fn image(self, name: &str, tags: &[&str]) -> Self {
        self.with(name, OCI_IMAGE_MANIFEST, &json!({"config": {}}), tags)
    }

    pub(in crate::cli::gc) fn referrer(self, name: &str, subject: &Digest, tags: &[&str]) -> Self {
        self.with(name, OCI_IMAGE_MANIFEST, &json!({"subject": descriptor(subject)}), tags)
    }

    pub(in crate::cli::gc) fn index(self, name: &str, entries: &[Value], tags: &[&str]) -> Self {
        self.with(
            name,
            OCI_IMAGE_INDEX,
            &json!({"schemaVersion": 2, "manifests": entries}),
            tags,
        )
    }

    /// An envelope called `name` of an artifact called `original`, under its envelope tag and others.
    pub(in crate::cli::gc) fn envelope(
        self,
        name: &str,
        original: &str,
        subject: Option<&Digest>,
        is_there: bool,
        tags: &[&str],
    ) -> Self {
        let mut manifest = json!({"artifactType": "a/b"});
        if let Some(subject) = subject {
            manifest["subject"] = descriptor(subject);
        }
        let parsed = Manifest::parse(manifest.to_string().as_bytes(), OCI_ARTIFACT_MANIFEST).unwrap();
        let kept = Descriptor::new(OCI_ARTIFACT_MANIFEST, digest(original), 1);
        let sealed: Value = serde_json::from_slice(&envelope::seal(&kept, &parsed)).unwrap();
        let envelope_tag = tag_scheme::envelope_tag(&digest(original)).unwrap();
        let tags: Vec<&str> = tags.iter().copied().chain([envelope_tag.as_str()]).collect();
        let mut snapshot = self.with(name, OCI_IMAGE_MANIFEST, &sealed, &tags);
        let held = snapshot.manifests.get_mut(&digest(name)).unwrap();
        assert_eq!(held.seals().unwrap().digest, digest(original));
        held.sealed = Some(EnvelopeContent {
            digest: digest(original),
            original: is_there.then_some(EnvelopedManifest { manifest: Some(parsed) }),
        });
        snapshot
    }
}

pub(in crate::cli::gc) fn key(subject: &Digest) -> String {
    crate::oci::SubjectKey::of(subject).to_string()
}

/// The dead tags and why, `gone` being asked about and absent: everything else exists.
fn dead(snapshot: &Snapshot, gone: &[&Digest]) -> Vec<(String, MissingContent)> {
    let mut exists = questions(snapshot);
    exists.retain(|digest| !gone.contains(&digest));
    let verdict = judge(snapshot, &exists);
    verdict
        .dead
        .into_iter()
        .map(|dead| (dead.tag.to_string(), dead.gone))
        .collect()
}

#[test]
fn every_kind_of_link_tag_dies_with_its_subject() {
    let gone = digest("gone");
    let tags = [
        format!("{}.sig", key(&gone)),
        format!("{}.0123456789abcdef.sbom", key(&gone)),
        key(&gone),
    ];
    let snapshot = Snapshot::default()
        .image("signature", &[&tags[0]])
        .referrer("sbom", &gone, &[&tags[1]])
        .index("list", &[descriptor(&digest("sbom"))], &[&tags[2]]);
    let reason = MissingContent::Subject([gone.clone()].into());
    let mut expected: Vec<_> = tags.iter().map(|tag| (tag.clone(), reason.clone())).collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(dead(&snapshot, &[&gone]), expected);
    assert_eq!(dead(&snapshot, &[]), []);
}

#[test]
fn a_subject_that_was_read_needs_no_question() {
    let tag = format!("{}.sig", key(&digest("image")));
    let snapshot = Snapshot::default().image("image", &["v1"]).image("signature", &[&tag]);
    assert_eq!(questions(&snapshot), BTreeSet::new());
    assert_eq!(judge(&snapshot, &BTreeSet::new()).links, 1);
    assert_eq!(dead(&snapshot, &[]), []);
}

#[test]
fn a_tag_without_anything_behind_it_is_dead_whatever_its_subject() {
    let name = format!("{}.sig", key(&digest("image")));
    let mut snapshot = Snapshot::default().image("image", &["v1"]);
    snapshot.tags.insert(tag(&name), None);
    snapshot.tags.insert(tag("ordinary"), None);
    assert_eq!(dead(&snapshot, &[]), [(name, MissingContent::Target)]);
}

#[test]
fn what_users_put_under_such_a_name_is_theirs() {
    let gone = digest("gone");
    let platform = |name: &str| {
        let mut entry = descriptor(&digest(name));
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        entry
    };
    let own = digest("itself");
    let snapshot = Snapshot::default()
        // An image under a name that only a list of referrers has.
        .image("one", &[&key(&gone)])
        // An originator's index under Proposal D tags.
        .index(
            "multi",
            &[platform("amd64")],
            &[&format!("{}.0123456789abcdef.img", key(&gone))],
        )
        // A digest kept by a tag of its own name.
        .index("itself", &[], &[&key(&own)])
        // A type that happens to be called like an envelope.
        .image("not sealed", &[&format!("{}.0123456789abcdef.envelope", key(&gone))]);
    assert_eq!(snapshot.link_tags().count(), 0);
    assert_eq!(dead(&snapshot, &[&gone]), []);
}

#[test]
fn a_list_of_what_is_gone_is_dead_and_one_with_a_rest_is_not() {
    let image = digest("image");
    let entries = [descriptor(&digest("a")), descriptor(&digest("b"))];
    let snapshot = Snapshot::default()
        .image("image", &["v1"])
        .index("list", &entries, &[&key(&image)]);
    let gone = [&digest("a"), &digest("b")];
    let reason = MissingContent::Entries([digest("a"), digest("b")].into());
    assert_eq!(dead(&snapshot, &gone), [(key(&image), reason)]);
    assert_eq!(dead(&snapshot, &gone[..1]), []);
    let exists = [digest("b")].into();
    let stale = judge(&snapshot, &exists).stale;
    assert_eq!(stale.len(), 1);
    assert_eq!(stale[0].entries, [digest("a")].into());
    let empty = Snapshot::default()
        .image("image", &["v1"])
        .index("list", &[], &[&key(&image)]);
    assert_eq!(dead(&empty, &[]), []);
}

#[test]
fn a_cut_digest_is_judged_only_where_something_tells_the_rest() {
    let long = Digest::parse(&format!("sha512:{}", "a".repeat(128))).unwrap();
    let stated = format!("{}.0123456789abcdef.sbom", key(&long));
    let unstated = format!("{}.sig", key(&long));
    let snapshot = Snapshot::default()
        .referrer("sbom", &long, &[&stated])
        .image("signature", &[&unstated]);
    assert_eq!(
        dead(&snapshot, &[&long]),
        [(stated, MissingContent::Subject([long].into()))]
    );
    assert_eq!(judge(&snapshot, &BTreeSet::new()).unclear, [tag(&unstated)]);
}

#[test]
fn an_envelope_dies_with_its_subject_or_its_content() {
    let (gone, image) = (digest("gone"), digest("image"));
    let link = |subject: &Digest| format!("{}.0123456789abcdef.sbom", key(subject));
    let base = || Snapshot::default().image("image", &["v1"]);
    let envelope_tag = tag_scheme::envelope_tag(&digest("artifact")).unwrap().to_string();

    let live = base().envelope("envelope", "artifact", Some(&image), true, &[&link(&image)]);
    assert_eq!(dead(&live, &[]), []);

    let orphan = base().envelope("envelope", "artifact", Some(&gone), true, &[&link(&gone)]);
    let both: BTreeSet<String> = dead(&orphan, &[&gone]).into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(both, [link(&gone), envelope_tag.clone()].into());

    let hollow = base().envelope("envelope", "artifact", Some(&image), false, &[&link(&image)]);
    assert!(
        dead(&hollow, &[])
            .iter()
            .all(|(_, reason)| matches!(reason, MissingContent::Original(_)))
    );
    assert_eq!(dead(&hollow, &[]).len(), 2);

    // Nothing it refers to, or a name that somebody gave it: it stands for itself.
    let alone = base().envelope("envelope", "artifact", None, true, &[]);
    assert_eq!(dead(&alone, &[]), []);
    let named = base().envelope("envelope", "artifact", Some(&gone), true, &["release"]);
    assert_eq!(dead(&named, &[&gone]), []);
}

#[test]
fn the_original_in_an_envelope_is_a_live_subject() {
    let artifact = digest("artifact");
    let snapshot = Snapshot::default()
        .envelope("envelope", "artifact", None, true, &["a1"])
        .image("signature", &[&format!("{}.sig", key(&artifact))]);
    assert_eq!(questions(&snapshot), BTreeSet::new());
    assert_eq!(dead(&snapshot, &[]), []);
}

#[test]
fn a_manifest_goes_only_with_all_its_names() {
    let (gone, live) = (digest("gone"), digest("live"));
    let dead_tag = format!("{}.sig", key(&gone));
    let keeps = |snapshot: &Snapshot, needed: &[&Digest], of: &str| {
        let mut exists = questions(snapshot);
        exists.remove(&gone);
        let verdict = judge(snapshot, &exists);
        assert!(!verdict.dead.is_empty());
        let needed = needed.iter().map(|&digest| digest.clone()).collect();
        super::keeps(snapshot, &verdict, &exists, &needed, &digest(of))
    };
    let alone = Snapshot::default().image("signature", &[&dead_tag]);
    assert_eq!(keeps(&alone, &[], "signature"), None);
    assert!(
        keeps(&alone, &[&digest("signature")], "signature")
            .unwrap()
            .contains("needs it")
    );

    let also_ordinary = Snapshot::default().image("signature", &[&dead_tag, "keep"]);
    assert!(keeps(&also_ordinary, &[], "signature").unwrap().contains("keep"));

    let live_tag = format!("{}.sig", key(&live));
    let also_live = Snapshot::default()
        .image("live", &["v1"])
        .image("signature", &[&dead_tag, &live_tag]);
    assert!(keeps(&also_live, &[], "signature").unwrap().contains(&live_tag));

    let other_dead = format!("{}.0123456789abcdef.sig", key(&gone));
    let twice_dead = Snapshot::default().image("signature", &[&dead_tag, &other_dead]);
    assert_eq!(keeps(&twice_dead, &[], "signature"), None);

    let refers_elsewhere = Snapshot::default().referrer("signature", &live, &[&dead_tag]);
    assert!(
        keeps(&refers_elsewhere, &[], "signature")
            .unwrap()
            .contains(live.as_str())
    );
}
