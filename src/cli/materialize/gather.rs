//! Reading what plans are made from. An error in any part is an error of the whole: a plan from half a scan would lose links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::progress;
use crate::cli::session::Session;
use crate::oci::media_type::ManifestKind;
use crate::oci::{
    Descriptor, Digest, LinkSource, LinkTagKind, Reference, Referrer, ReferrersTagIndex, SubjectKey, Tag,
    reference_type, tag_scheme,
};
use crate::registry::{RawManifest, TagNames, UpstreamError};

use super::As;
use super::plan::{self, Carrier, Existing, FoundReferrer, OtherEntry, Plan, PlannedRemoval};

/// Subjects read at the same time, each with several requests.
const PARALLEL: usize = 8;

pub(super) struct Gather<'a> {
    session: &'a Session,
    form: As,
    /// Whether Proposal D tags are to be removed.
    prunes: bool,
    names: Arc<TagNames>,
}

impl<'a> Gather<'a> {
    pub(super) async fn new(session: &'a Session, form: As, prunes: bool) -> Result<Self, CliError> {
        let names = session.resolver().tags(session.repository(), session.caller()).await;
        Ok(Self {
            session,
            form,
            prunes,
            names: session.found(names)?.unwrap_or_default(),
        })
    }

    /// What is to be done for each subject that has referrers.
    pub(super) async fn plans(&self, subjects: BTreeSet<Digest>) -> Result<Vec<Plan>, CliError> {
        let bar = progress::bar("looking for links", subjects.len());
        stream::iter(subjects)
            .map(|subject| self.plan(subject))
            .buffered(PARALLEL)
            .inspect(|_| bar.inc(1))
            .try_filter_map(async |plan| Ok(plan))
            .try_collect()
            .await
    }

    async fn plan(&self, subject: Digest) -> Result<Option<Plan>, CliError> {
        let links = self.session.referrers(&subject).await?;
        if links.referrers.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for referrer in &links.referrers {
            found.push(self.inspect(&subject, referrer).await?);
        }
        Ok(match self.form {
            As::ProposalD => Some(plan::proposal_d(&subject, &found)),
            As::ReferrersTag => match tag_scheme::referrers_tag(&subject) {
                Some(tag) => {
                    let existing = self.existing(&tag, &found).await?;
                    let mut plan = plan::referrers_tag(&subject, &tag, &found, &existing);
                    if self.prunes {
                        plan.removals = self.removals(&plan).await?;
                    }
                    Some(plan)
                }
                None => None,
            },
        })
    }

    /// The Proposal D tags of the plan's subject that point at nothing but what the referrers tag will list.
    async fn removals(&self, plan: &Plan) -> Result<Vec<PlannedRemoval>, CliError> {
        let key = SubjectKey::of(&plan.subject);
        let mut removals = Vec::new();
        for name in self.names.iter().filter(|name| name.starts_with(key.as_str())) {
            let link = tag_scheme::parse(name).filter(|link| link.subject == key);
            let is_link = link.is_some_and(
                |link| matches!(link.kind, LinkTagKind::ProposalD { kind, .. } if kind != tag_scheme::ENVELOPE_KIND),
            );
            let (true, Ok(tag)) = (is_link, Tag::parse(name)) else {
                continue;
            };
            let digest = self.session.digest_of(&Reference::Tag(tag.clone())).await?;
            if let Some(digest) = digest.filter(|digest| plan.holds(digest)) {
                removals.push(PlannedRemoval { tag, digest });
            }
        }
        Ok(removals)
    }

    async fn inspect(&self, subject: &Digest, referrer: &Referrer) -> Result<FoundReferrer, CliError> {
        let mut found = FoundReferrer {
            referrer: referrer.clone(),
            carrier: Carrier::Itself,
            tag: None,
            tag_holds: None,
        };
        let is_there = referrer.sources.contains(&LinkSource::ProposalDTag);
        if self.form == As::ProposalD && is_there {
            return Ok(found);
        }
        found.carrier = self.carrier(referrer).await?;
        if self.form == As::ProposalD && found.carrier != Carrier::Elsewhere {
            found.tag = self.proposal_d_tag(subject, referrer).await?;
            if let Some(tag) = &found.tag {
                found.tag_holds = self.session.digest_of(&Reference::Tag(tag.clone())).await?;
            }
        }
        Ok(found)
    }

    /// How the registry keeps the referrer.
    async fn carrier(&self, found: &Referrer) -> Result<Carrier, CliError> {
        let referrer = &found.descriptor;
        if ManifestKind::of(&referrer.media_type).is_none() {
            return Ok(Carrier::Elsewhere);
        }
        // The envelope first: where it is, Distribution 2.8 fails when it is asked for the original.
        if let Some(envelope) = self.envelope(referrer).await? {
            return Ok(Carrier::Envelope(envelope));
        }
        let reference = Reference::Digest(referrer.digest.clone());
        Ok(match self.session.digest_of(&reference).await? {
            Some(_) => Carrier::Itself,
            None if found.adopted.is_some() => Carrier::Original,
            None => Carrier::Elsewhere,
        })
    }

    async fn envelope(&self, referrer: &Descriptor) -> Result<Option<Descriptor>, CliError> {
        let tag = tag_scheme::envelope_tag(&referrer.digest).filter(|tag| self.names.contains(tag.as_str()));
        let Some(tag) = tag else { return Ok(None) };
        let Some(raw) = self.session.raw_manifest(&Reference::Tag(tag)).await? else {
            return Ok(None);
        };
        let is_its = raw.is_envelope_of(&referrer.digest);
        Ok(is_its.then(|| Descriptor::new(raw.media_type, raw.digest, raw.bytes.len() as u64)))
    }

    async fn proposal_d_tag(&self, subject: &Digest, referrer: &Referrer) -> Result<Option<Tag>, CliError> {
        let own = &referrer.descriptor;
        let Some(mut manifest) = self.session.manifest(&own.digest).await? else {
            return Ok(None);
        };
        // What is listed knows better: a cosign signature's manifest claims to be an image.
        manifest.artifact_type = own.artifact_type.clone();
        let kind = reference_type::reference_type_of(&manifest);
        Ok(tag_scheme::proposal_d_tag(subject, &own.digest, &kind))
    }

    /// The referrers tag as the registry has it. One that is in no listing was synthesised by a refshim in front of the registry.
    async fn existing(&self, tag: &Tag, found: &[FoundReferrer]) -> Result<Existing, CliError> {
        if !self.names.contains(tag.as_str()) {
            return Ok(Existing::default());
        }
        let Some(raw) = self.session.raw_manifest(&Reference::Tag(tag.clone())).await? else {
            return Ok(Existing::default());
        };
        let is_index = ManifestKind::of(&raw.media_type) == Some(ManifestKind::Index);
        let index = ReferrersTagIndex::parse(&raw.bytes).filter(|_| is_index);
        let mut others = BTreeMap::new();
        for digest in index.iter().flat_map(ReferrersTagIndex::digests) {
            let is_found = found.iter().any(|found| found.referrer.descriptor.digest == digest);
            if !is_found {
                let other = self.other(&digest).await?;
                others.insert(digest, other);
            }
        }
        Ok(Existing {
            digest: Some(raw.digest),
            index,
            others,
        })
    }

    async fn other(&self, digest: &Digest) -> Result<OtherEntry, CliError> {
        let reference = Reference::Digest(digest.clone());
        let session = self.session;
        let mut answer = session
            .upstream()
            .manifest(session.repository(), &reference, session.caller())
            .await;
        if matches!(answer, Err(UpstreamError::Failed(_))) {
            // Distribution 2.8 fails where it is asked for a blob as a manifest: the resolver knows what is one.
            let resolver = session.resolver();
            let found = resolver
                .manifest(session.repository(), &reference, session.caller())
                .await;
            answer = found.and_then(|found| found.try_map(|raw| Ok(RawManifest::clone(&raw))));
        }
        if matches!(answer, Err(UpstreamError::Content(_))) {
            return Ok(OtherEntry::Strange);
        }
        let Some(raw) = session.found(answer)? else {
            return Ok(OtherEntry::Gone);
        };
        Ok(match raw.parse_of_any_kind() {
            Ok(manifest) => OtherEntry::There(manifest.descriptor(raw.digest, raw.bytes.len() as u64)),
            Err(_) => OtherEntry::Strange,
        })
    }
}
