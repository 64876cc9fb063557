//! Entries without `subject`: listed in the form that names it, as they are, or not at all (`links.without_subject`).
//!
//! Adopted is what OCI 1.1 clients could not copy otherwise: OCI image manifests and indexes whose subject the registry gives this caller,
//! and which nothing refers to that the scan knows of: what refers to such a manifest names its own digest, so it keeps that. That
//! is looked up in what was read anyway: the listing, what stands behind ordinary tags, what passed through.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::context::Scan;
use super::sources::observed;
use super::sources::ordinary_tags::links::ReferredTo;
use crate::cache::Key;
use crate::config::WithoutSubject;
use crate::oci::adoption::{self, Adoption, AdoptionSubject, ArtifactContent, ArtifactHint};
use crate::oci::media_type::ManifestKind;
use crate::oci::{AdoptedOriginal, Descriptor, Digest, Manifest, Referrer, SubjectKey, tag_scheme, timestamp};
use crate::referrers::adopted_form::{AdoptedForm, ServedSubject};
use crate::referrers::basis::RememberedAnswer;
use crate::referrers::error::ResolveError;
use crate::referrers::given::DigestAnswer;
use crate::referrers::names::ScannedNames;
use crate::registry::{RawManifest, UpstreamError};

/// An entry that was read, and what decides how it is listed.
pub(super) struct VerifiedEntry {
    pub referrer: Referrer,
    pub manifest: EntryManifest,
}

/// What an entry's manifest says of its subject.
pub(super) enum EntryManifest {
    /// It names it, as OCI 1.1 has it.
    WithSubject(ArtifactContent),
    WithoutSubject(Box<Unnamed>),
    /// There is none: it is a blob.
    None,
    /// It could not be checked.
    Unread,
}

/// A manifest that does not name its subject.
pub(super) struct Unnamed {
    pub raw: Arc<RawManifest>,
    pub content: ArtifactContent,
    pub hint: ArtifactHint,
    pub is_in_index: bool,
}

/// What a scan found that refers to anything at all.
pub(in crate::referrers) struct KnownReferences<'a> {
    pub names: &'a ScannedNames,
    pub behind_tags: &'a ReferredTo,
    /// Whether this caller may be shown what passed through.
    pub observed: bool,
}

/// The entries as they are listed, one for each digest.
pub(super) async fn listed(
    scan: &Scan,
    found: Vec<VerifiedEntry>,
    references: &KnownReferences<'_>,
) -> Result<BTreeMap<Digest, Referrer>, ResolveError> {
    let mut entries = BTreeMap::new();
    let mut unnamed = Vec::new();
    let mut named: HashMap<ArtifactContent, Vec<Digest>> = HashMap::new();
    let is_listed = scan.stores.config.without_subject != WithoutSubject::Omit;
    for VerifiedEntry { referrer, manifest } in found {
        match manifest {
            EntryManifest::WithoutSubject(_) | EntryManifest::None if !is_listed => {}
            EntryManifest::WithoutSubject(other) => unnamed.push((referrer, other)),
            EntryManifest::WithSubject(content) => {
                named
                    .entry(content)
                    .or_default()
                    .push(referrer.descriptor.digest.clone());
                merge(&mut entries, referrer);
            }
            EntryManifest::None | EntryManifest::Unread => merge(&mut entries, referrer),
        }
    }
    let subject = match scan.stores.config.without_subject {
        WithoutSubject::Adopt if !unnamed.is_empty() => subject(scan).await?,
        WithoutSubject::Adopt | WithoutSubject::List | WithoutSubject::Omit => None,
    };
    for (referrer, unnamed) in unnamed {
        let adopted = match &subject {
            Some(subject) => adopt(scan, subject, &unnamed).await,
            None => None,
        };
        let Some(adopted) = adopted else {
            merge(&mut entries, referrer);
            continue;
        };
        let twins = named.get(&unnamed.content).into_iter().flatten();
        let twin = twins.filter(|digest| entries.get(digest).is_some_and(|twin| adopted.is_named_as(twin)));
        match twin.min().cloned().and_then(|digest| entries.get_mut(&digest)) {
            Some(twin) => {
                twin.sources.extend(referrer.sources);
                twin.descriptor.artifact_type = adopted.descriptor.artifact_type;
            }
            None if references.lead_to(scan, &unnamed.raw.digest).await => merge(&mut entries, referrer),
            None => merge(&mut entries, adopted.referrer(referrer)),
        }
    }
    Ok(entries)
}

/// What is found in two ways, or in both forms, is one entry, in its own form.
fn merge(entries: &mut BTreeMap<Digest, Referrer>, entry: Referrer) {
    match entries.get_mut(&entry.descriptor.digest) {
        Some(known) => known.sources.extend(entry.sources),
        None => {
            entries.insert(entry.descriptor.digest.clone(), entry);
        }
    }
}

/// The adopted form of one entry.
struct Adopted {
    descriptor: Descriptor,
    original: AdoptedOriginal,
}

impl Adopted {
    /// Whether `twin`, which is the same artifact with a subject of its own, is called the same, or nothing.
    fn is_named_as(&self, twin: &Referrer) -> bool {
        let (own, twins) = (&self.descriptor.artifact_type, &twin.descriptor.artifact_type);
        own == twins || adoption::is_unnamed(twins.as_deref())
    }

    /// The entry in place of that of its original.
    fn referrer(self, original: Referrer) -> Referrer {
        Referrer {
            created: timestamp::created(&self.descriptor.annotations),
            descriptor: self.descriptor,
            sources: original.sources,
            objects: None,
            adopted: Some(self.original),
        }
    }
}

/// `None` for what is listed as it is. How it is made is remembered, whether it is listed or not: who was told of it by another process,
/// or a while ago, is to be given it.
async fn adopt(scan: &Scan, subject: &AdoptionSubject, unnamed: &Unnamed) -> Option<Adopted> {
    let raw = &unnamed.raw;
    if !raw.digest.is_computable() {
        return None;
    }
    let adoption = Adoption::of(&raw.bytes, &raw.media_type, subject, unnamed.hint)?;
    let bytes = adoption.apply(&raw.bytes, &raw.media_type)?;
    if bytes.len() > scan.stores.manifests.limit {
        return None;
    }
    let digest = Digest::sha256(&bytes);
    let manifest = Manifest::parse(&bytes, &raw.media_type).ok()?;
    let form = AdoptedForm {
        original: AdoptedOriginal {
            digest: raw.digest.clone(),
            is_in_index: unnamed.is_in_index,
        },
        adoption,
    };
    let adopted = Adopted {
        descriptor: manifest.descriptor(digest.clone(), bytes.len() as u64),
        original: form.original.clone(),
    };
    remember(scan, &digest, form).await;
    Some(adopted)
}

async fn remember(scan: &Scan, digest: &Digest, form: AdoptedForm) {
    let cache = &scan.stores.manifests.cache;
    let key = Key::adopted(&scan.context.repository_key, digest);
    let known = cache.get::<AdoptedForm>(&key).await;
    let is_known = known.is_some_and(|known| known.age < scan.stores.config.deep_refresh && *known.value == form);
    if !is_known {
        cache.put(key, Arc::new(form)).await;
    }
}

/// The subject as the registry serves it, asked for at most every `deep_refresh`; `None` where it does not give it to this caller.
/// Where it fails to say, entries are listed as they are for now: that needs no subject, and leaves none out.
async fn subject(scan: &Scan) -> Result<Option<AdoptionSubject>, ResolveError> {
    let (manifests, recheck) = (&scan.stores.manifests, scan.stores.config.deep_refresh);
    let key = Key::adoption_subject(&scan.context.repository_key, scan.subject.as_str());
    if let Some(served) = manifests.cache.get::<ServedSubject>(&key).await
        && served.age < recheck
    {
        return Ok(Some(served.value.0.clone()));
    }
    let remembered = manifests.find(&scan.context, &scan.subject).await;
    let remembered = remembered
        .filter(|found| found.verified && found.value.was_given_within(recheck, manifests.cache.now()))
        .map(|found| {
            (
                found.value.manifest.media_type.clone(),
                found.value.manifest.bytes.len() as u64,
            )
        });
    let served = match remembered {
        Some(served) => Some(served),
        None => match scan.subject_answer().await {
            Ok(DigestAnswer::Given) => scan.subject_head(),
            Ok(_) => base_subject(scan).await?,
            Err(unfinished @ UpstreamError::Unfinished { .. }) => return Err(unfinished.into()),
            Err(error) => {
                tracing::debug!(subject = %scan.subject, %error, "entries without a subject are listed as they are");
                scan.unsettle();
                None
            }
        },
    };
    let Some((media_type, size)) = served.filter(|(media_type, _)| ManifestKind::of(media_type).is_some()) else {
        return Ok(None);
    };
    let subject = AdoptionSubject {
        media_type,
        digest: scan.subject.clone(),
        size,
    };
    manifests.cache.put(key, Arc::new(ServedSubject(subject.clone()))).await;
    Ok(Some(subject))
}

/// The same where this repository keeps the links of another, in which the subject is.
async fn base_subject(scan: &Scan) -> Result<Option<(String, u64)>, ResolveError> {
    match scan.subject_of_base().await {
        Ok(served) => Ok(served),
        Err(unfinished @ UpstreamError::Unfinished { .. }) => Err(unfinished.into()),
        Err(error) => {
            tracing::debug!(subject = %scan.subject, %error, "entries without a subject are listed as they are");
            scan.unsettle();
            Ok(None)
        }
    }
}

impl KnownReferences<'_> {
    /// Whether something is known that refers to this manifest.
    async fn lead_to(&self, scan: &Scan, digest: &Digest) -> bool {
        let key = SubjectKey::of(digest);
        let listed = self.names.listed();
        let mut tags = listed.into_iter().flat_map(|names| names.with_prefix(key.as_str()));
        let is_tagged = tags.any(|tag| tag_scheme::parse_of(&key, tag).is_some_and(|link| !link.is_envelope()));
        if is_tagged || self.behind_tags.contains(digest) {
            return true;
        }
        self.observed && (observed::knows_of(scan, digest).await || was_answered(scan, digest).await)
    }
}

/// Whether a list of what refers to this manifest is remembered, with entries.
async fn was_answered(scan: &Scan, digest: &Digest) -> bool {
    let key = Key::answer(&scan.context.repository_key, &scan.context.epoch, digest);
    let answer = scan.stores.manifests.cache.get::<RememberedAnswer>(&key).await;
    answer.is_some_and(|answer| !answer.value.links.referrers.is_empty())
}
