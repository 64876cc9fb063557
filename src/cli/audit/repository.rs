//! One repository: what stands behind its tags, what refers to that, and whether it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::cli::error::CliError;
use crate::cli::gc::snapshot::Snapshot;
use crate::cli::gc::{judge, read};
use crate::cli::progress;
use crate::cli::session::Session;
use crate::oci::media_type::ManifestKind;
use crate::oci::{Descriptor, Digest, LinkSource, LinkTagKind, Manifest, Reference, Referrer, SubjectKey, tag_scheme};
use crate::registry::{RawManifest, TagNames};

use super::content::ContentCheck;
use super::evidence::StatedEvidence;
use super::faults::{self, DescribedManifest};
use super::findings::{AuditedReferrer, ReferrerContent, RepositoryAudit, SubjectAudit};
use super::images::{self, FoundImage};
use super::left_out::LeftOut;
use super::link_faults::LinkFault;
use super::tags::ReadTags;

/// Subjects asked about at the same time, each with several requests.
const PARALLEL: usize = 8;

/// What of a repository is audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuditScope {
    /// Everything that tags point at, but for what only links.
    Whole,
    Images(Vec<Reference>),
}

/// A repository whose tags were listed.
pub(super) struct ListedRepository {
    pub(super) session: Session,
    /// `None` where the registry does not let its tags be listed, or has no such repository.
    pub(super) names: Option<Arc<TagNames>>,
    /// Whether the registry is a refshim.
    pub(super) through_refshim: bool,
}

/// How far an audit goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuditDepth {
    /// Look only behind tags that begin with a subject's digest.
    pub(super) by_names: bool,
    /// Ask for the blobs of referrers.
    pub(super) checks_blobs: bool,
}

/// A manifest that was read.
struct ReferrerManifest {
    raw: Arc<RawManifest>,
    manifest: Manifest,
}

impl ListedRepository {
    pub(super) async fn audit(&self, scope: &AuditScope, depth: AuditDepth) -> RepositoryAudit {
        RepositoryReader {
            session: &self.session,
            names: self.names.as_deref(),
            scope,
            through_refshim: self.through_refshim,
            depth,
        }
        .read()
        .await
    }
}

struct RepositoryReader<'a> {
    session: &'a Session,
    names: Option<&'a TagNames>,
    scope: &'a AuditScope,
    through_refshim: bool,
    depth: AuditDepth,
}

impl RepositoryReader<'_> {
    async fn read(&self) -> RepositoryAudit {
        let mut audit = RepositoryAudit {
            name: self.session.target().repository(),
            by_names: self.depth.by_names,
            through_refshim: self.through_refshim,
            ..RepositoryAudit::default()
        };
        let left_out = LeftOut::so_far(self.session);
        let mut tags = match (self.names, self.depth.by_names) {
            (Some(names), false) => ReadTags::read(self.session, names, |_| true).await,
            _ => ReadTags::default(),
        };
        let found = match self.scope {
            AuditScope::Whole => images::tagged(self.session, &tags).await,
            AuditScope::Images(wanted) => images::named(self.session, wanted).await,
        };
        let subjects: BTreeSet<Digest> = found.iter().flat_map(FoundImage::subjects).cloned().collect();
        if let (Some(names), true) = (self.names, self.depth.by_names) {
            let keys: BTreeSet<SubjectKey> = subjects.iter().map(SubjectKey::of).collect();
            let is_wanted = |name: &str| tag_scheme::parse(name).is_some_and(|link| keys.contains(&link.subject));
            tags = ReadTags::read(self.session, names, is_wanted).await;
        }
        let snapshot = match self.scope {
            AuditScope::Whole => tags.snapshot.clone(),
            AuditScope::Images(_) => tags.about(&subjects),
        };
        let lists = self.referrers(subjects).await;
        let unproven = tags
            .problem()
            .or_else(|| left_out.since(self.session, self.depth.by_names));
        let manifests = self.manifests(&lists, &snapshot).await;
        let subjects = self.examine(lists, &manifests, unproven.as_deref()).await;
        let known = known(&manifests, &tags);
        for subject in subjects.values() {
            audit
                .duplicates
                .extend(faults::duplicates(&subject.digest, &subject.referrers, &known));
        }
        audit.faults.extend(faults::contradictions(&snapshot, &known));
        match self.dead(&snapshot).await {
            Ok(dead) => audit.faults.extend(dead),
            Err(error) => audit.problems.push(error.message()),
        }
        let contents = subjects.values().flat_map(|subject| &subject.referrers);
        audit.faults.extend(contents.filter_map(AuditedReferrer::fault));
        audit.faults.sort();
        audit.faults.dedup();
        audit.problems.extend(unproven);
        audit.images = found.into_iter().map(|image| image.audit(&subjects)).collect();
        audit
    }

    /// What refers to each, or why that is not known.
    async fn referrers(&self, subjects: BTreeSet<Digest>) -> Vec<(Digest, Result<Vec<Referrer>, CliError>)> {
        let bar = progress::bar("looking for links", subjects.len());
        stream::iter(subjects)
            .map(async |subject| {
                let list = self.session.referrers(&subject).await;
                (subject, list.map(|list| list.referrers.clone()))
            })
            .buffered(PARALLEL)
            .inspect(|_| bar.inc(1))
            .collect()
            .await
    }

    /// The manifests of all referrers, and of what referrers tags list beside. They were read already, as far as they are there.
    async fn manifests(
        &self,
        lists: &[(Digest, Result<Vec<Referrer>, CliError>)],
        snapshot: &Snapshot,
    ) -> BTreeMap<Digest, Result<Option<ReferrerManifest>, CliError>> {
        let referrers = lists.iter().filter_map(|(_, list)| list.as_ref().ok()).flatten();
        let referrers = referrers.filter(|found| ManifestKind::of(&found.descriptor.media_type).is_some());
        let referrers = referrers.map(|found| found.stored_digest().clone());
        let lists = snapshot
            .link_tags()
            .filter(|(_, link, _)| link.kind == LinkTagKind::Referrers);
        let lists = lists.filter_map(|(_, _, target)| snapshot.manifests.get(target?));
        let listed = lists.flat_map(|held| held.listed().cloned());
        let digests: BTreeSet<Digest> = referrers.chain(listed).collect();
        stream::iter(digests)
            .map(async |digest| {
                let read = self.manifest(&digest).await;
                (digest, read)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<ReferrerManifest>, CliError> {
        let session = self.session;
        let reference = Reference::Digest(digest.clone());
        let answer = session
            .resolver()
            .manifest(session.repository(), &reference, session.caller());
        let Some(raw) = session.found(answer.await)? else {
            return Ok(None);
        };
        let manifest = raw.parse().map_err(|error| session.failed(&error))?;
        Ok(Some(ReferrerManifest { raw, manifest }))
    }

    /// Classifies the referrers of all subjects and looks whether their content is there.
    async fn examine(
        &self,
        lists: Vec<(Digest, Result<Vec<Referrer>, CliError>)>,
        manifests: &BTreeMap<Digest, Result<Option<ReferrerManifest>, CliError>>,
        unproven: Option<&str>,
    ) -> BTreeMap<Digest, SubjectAudit> {
        let mut check = ContentCheck::new(self.session, self.depth.checks_blobs);
        check.ask_for(blobs(&lists, manifests)).await;
        let mut subjects = BTreeMap::new();
        for (digest, list) in lists {
            let mut subject = SubjectAudit {
                digest: digest.clone(),
                referrers: Vec::new(),
                problem: unproven.map(str::to_owned),
            };
            match list {
                Ok(referrers) => {
                    for referrer in referrers {
                        let manifest = manifests.get(referrer.stored_digest());
                        subject
                            .referrers
                            .push(self.classify(&mut check, referrer, manifest).await);
                    }
                }
                Err(error) => subject.problem = Some(error.message()),
            }
            subjects.insert(digest, subject);
        }
        subjects
    }

    async fn classify(
        &self,
        check: &mut ContentCheck<'_>,
        referrer: Referrer,
        manifest: Option<&Result<Option<ReferrerManifest>, CliError>>,
    ) -> AuditedReferrer {
        let (parsed, problem) = match manifest {
            Some(Ok(Some(parsed))) => (Some(&parsed.manifest), None),
            Some(Ok(None)) => (None, Some("its manifest is gone".to_owned())),
            Some(Err(error)) => (None, Some(error.message())),
            // A blob.
            None => (None, None),
        };
        let mut evidence = StatedEvidence::of(&referrer, parsed);
        let content = match (problem, parsed) {
            (Some(problem), _) => ReferrerContent::Unknown(problem),
            (None, Some(manifest)) => check.check(manifest, &mut evidence).await,
            (None, None) => check.check_blob(&referrer.descriptor),
        };
        let oci11 = [LinkSource::Native, LinkSource::ReferrersTag];
        let is_seen = oci11.iter().any(|source| referrer.sources.contains(source));
        AuditedReferrer {
            only_refshim: (!self.through_refshim).then_some(!is_seen),
            referrer,
            evidence,
            content,
        }
    }

    /// Link tags that lead nowhere.
    async fn dead(&self, snapshot: &Snapshot) -> Result<Vec<LinkFault>, CliError> {
        let exists = read::existing(self.session, judge::questions(snapshot)).await?;
        Ok(faults::dead(&judge::judge(snapshot, &exists)))
    }
}

/// Everything that referrers are made of.
fn blobs<'a>(
    lists: &'a [(Digest, Result<Vec<Referrer>, CliError>)],
    manifests: &'a BTreeMap<Digest, Result<Option<ReferrerManifest>, CliError>>,
) -> BTreeMap<&'a Digest, &'a Descriptor> {
    let mut blobs = BTreeMap::new();
    for referrer in lists.iter().filter_map(|(_, list)| list.as_ref().ok()).flatten() {
        match manifests.get(referrer.stored_digest()) {
            Some(Ok(Some(ReferrerManifest { manifest, .. }))) => {
                let parts = manifest.config.iter().chain(&manifest.layers).chain(&manifest.blobs);
                blobs.extend(parts.map(|part| (&part.digest, part)));
            }
            Some(Ok(None) | Err(_)) => {}
            None => _ = blobs.insert(&referrer.descriptor.digest, &referrer.descriptor),
        }
    }
    blobs
}

fn known<'a>(
    manifests: &'a BTreeMap<Digest, Result<Option<ReferrerManifest>, CliError>>,
    tags: &'a ReadTags,
) -> BTreeMap<Digest, DescribedManifest<'a>> {
    let tagged = tags.stored.iter().filter_map(|(digest, raw)| {
        let manifest = tags.snapshot.manifests.get(digest)?.manifest.as_ref()?;
        let size = raw.bytes.len() as u64;
        Some((digest.clone(), DescribedManifest { manifest, size }))
    });
    let read = manifests.iter().filter_map(|(digest, read)| {
        let ReferrerManifest { raw, manifest } = read.as_ref().ok()?.as_ref()?;
        let size = raw.bytes.len() as u64;
        Some((digest.clone(), DescribedManifest { manifest, size }))
    });
    tagged.chain(read).collect()
}
