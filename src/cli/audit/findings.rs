//! What an audit found, and what that says of an image. Pure. What could not be established is unknown: neither there nor missing.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::oci::{Digest, LinkSource, Referrer, Tag};

use super::evidence::{EvidenceKind, StatedEvidence};
use super::link_faults::{Duplicates, LinkFault, LinkFaultKind};

/// Whether an image has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Presence {
    Yes,
    /// Proven.
    No,
    Unknown,
}

impl Presence {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }

    /// Whether both are there.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }

    /// Whether one of them is there.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

/// What was found in one repository.
#[derive(Debug, Default)]
pub(super) struct RepositoryAudit {
    /// `host/name`
    pub(super) name: String,
    /// Whether only tags that begin with a subject's digest were looked behind, as the user wanted.
    pub(super) by_names: bool,
    /// Whether the registry is a refshim.
    pub(super) through_refshim: bool,
    /// What could not be established about the repository.
    pub(super) problems: Vec<String>,
    pub(super) images: Vec<ImageAudit>,
    pub(super) faults: Vec<LinkFault>,
    pub(super) duplicates: Vec<Duplicates>,
}

/// An image, or whatever else was asked for.
#[derive(Debug)]
pub(super) struct ImageAudit {
    /// The tags that point at it; of one that was asked for by its digest, none.
    pub(super) tags: Vec<Tag>,
    /// `None` where it could not be read.
    pub(super) content: Option<ImageFindings>,
    /// Why it could not be read.
    pub(super) problem: Option<String>,
}

#[derive(Debug)]
pub(super) struct ImageFindings {
    pub(super) media_type: String,
    pub(super) own: SubjectAudit,
    /// Those that an index lists.
    pub(super) platforms: Vec<PlatformAudit>,
}

#[derive(Debug)]
pub(super) struct PlatformAudit {
    /// Such as `linux/arm/v7`; empty where the index does not say it.
    pub(super) name: String,
    pub(super) subject: SubjectAudit,
}

/// What refers to one manifest.
#[derive(Clone, Debug)]
pub(super) struct SubjectAudit {
    pub(super) digest: Digest,
    pub(super) referrers: Vec<AuditedReferrer>,
    /// Why it is not known what refers to it, or not whether that is all.
    pub(super) problem: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct AuditedReferrer {
    pub(super) referrer: Referrer,
    pub(super) evidence: StatedEvidence,
    pub(super) content: ReferrerContent,
    /// Whether no OCI 1.1 client finds it without refshim. `None` where that cannot be told.
    pub(super) only_refshim: Option<bool>,
}

/// Whether what a referrer's manifest lists is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReferrerContent {
    Whole,
    /// What is wrong with it, in words too.
    Broken(LinkFaultKind, String),
    /// Why that is not known.
    Unknown(String),
}

/// What several referrers have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EvidenceSummary {
    pub(super) presence: Presence,
    /// The earliest date that one of them states, in nanoseconds since 1970.
    pub(super) since: Option<i128>,
    pub(super) dialects: BTreeSet<LinkSource>,
}

impl EvidenceSummary {
    /// Of what could not be read.
    pub(super) fn unknown() -> Self {
        Self {
            presence: Presence::Unknown,
            since: None,
            dialects: BTreeSet::new(),
        }
    }
}

impl SubjectAudit {
    pub(super) fn summary(&self, kind: EvidenceKind) -> EvidenceSummary {
        let whole = self
            .referrers
            .iter()
            .filter(|found| found.content == ReferrerContent::Whole);
        let found: Vec<&AuditedReferrer> = whole.filter(|found| found.evidence.kinds.contains(&kind)).collect();
        let presence = match found.is_empty() {
            false => Presence::Yes,
            true if self.problem.is_some() || self.referrers.iter().any(|found| found.may_be(kind)) => {
                Presence::Unknown
            }
            true => Presence::No,
        };
        EvidenceSummary {
            presence,
            since: found.iter().filter_map(|found| found.evidence.since).min(),
            dialects: found.iter().flat_map(|found| found.referrer.sources.clone()).collect(),
        }
    }
}

impl AuditedReferrer {
    /// What is wrong with its content.
    pub(super) fn fault(&self) -> Option<LinkFault> {
        match &self.content {
            ReferrerContent::Broken(kind, message) => Some(LinkFault {
                kind: *kind,
                tag: None,
                referrer: Some(self.referrer.descriptor.digest.clone()),
                message: message.clone(),
            }),
            ReferrerContent::Whole | ReferrerContent::Unknown(_) => None,
        }
    }

    /// Whether it is not known if it is whole evidence of this kind.
    fn may_be(&self, kind: EvidenceKind) -> bool {
        let is_unknown = matches!(self.content, ReferrerContent::Unknown(_));
        let is_broken = matches!(self.content, ReferrerContent::Broken(..));
        self.evidence.is_unclear && !is_broken || is_unknown && self.evidence.kinds.contains(&kind)
    }
}

impl ImageFindings {
    /// An index has what refers to itself. What describes content (SBOM, provenance) it has as well where every platform has it; a
    /// signature it has not, since clients look for that at the digest that the tag points at. With `each_platform`, every platform must
    /// have its own, and the index too a signature.
    pub(super) fn summary(&self, kind: EvidenceKind, each_platform: bool) -> EvidenceSummary {
        let own = self.own.summary(kind);
        if self.platforms.is_empty() {
            return own;
        }
        let platforms = self.platforms_summary(kind);
        let presence = match (kind, each_platform) {
            (EvidenceKind::Signature, false) => own.presence,
            (EvidenceKind::Signature, true) => own.presence.and(platforms.presence),
            (EvidenceKind::Sbom | EvidenceKind::Provenance, false) => own.presence.or(platforms.presence),
            (EvidenceKind::Sbom | EvidenceKind::Provenance, true) => platforms.presence,
        };
        let told_by = match own.presence == Presence::Yes && !each_platform {
            true => own,
            false => platforms,
        };
        EvidenceSummary {
            since: told_by.since.filter(|_| presence == Presence::Yes),
            dialects: match presence {
                Presence::Yes => told_by.dialects,
                Presence::No | Presence::Unknown => BTreeSet::new(),
            },
            presence,
        }
    }

    /// What all platforms have, since the last of them has it.
    fn platforms_summary(&self, kind: EvidenceKind) -> EvidenceSummary {
        let all: Vec<EvidenceSummary> = self
            .platforms
            .iter()
            .map(|platform| platform.subject.summary(kind))
            .collect();
        let presence = all.iter().map(|one| one.presence).fold(Presence::Yes, Presence::and);
        let dates: Option<Vec<i128>> = all.iter().map(|one| one.since).collect();
        EvidenceSummary {
            presence,
            since: dates.and_then(|dates| dates.into_iter().max()),
            dialects: all.into_iter().flat_map(|one| one.dialects).collect(),
        }
    }

    /// Itself and its platforms, each with the platform's name.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (Option<&str>, &SubjectAudit)> {
        let platforms = self.platforms.iter();
        let platforms = platforms.map(|platform| (Some(platform.name.as_str()), &platform.subject));
        std::iter::once((None, &self.own)).chain(platforms)
    }
}

impl ImageAudit {
    pub(super) fn presence(&self, kind: EvidenceKind, each_platform: bool) -> Presence {
        match &self.content {
            Some(content) => content.summary(kind, each_platform).presence,
            None => Presence::Unknown,
        }
    }

    /// The first reason why something about it is not known.
    pub(super) fn first_problem(&self) -> Option<&str> {
        let content = self.content.as_ref();
        let subjects = content.into_iter().flat_map(ImageFindings::subjects);
        let mut of_subjects = subjects.flat_map(|(_, subject)| {
            let contents = subject.referrers.iter().filter_map(|found| match &found.content {
                ReferrerContent::Unknown(problem) => Some(problem.as_str()),
                ReferrerContent::Whole | ReferrerContent::Broken(..) => None,
            });
            subject.problem.as_deref().into_iter().chain(contents)
        });
        self.problem.as_deref().or_else(|| of_subjects.next())
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
