//! What `--output json` prints of an audit.

use serde::Serialize;

use crate::oci::{Digest, LinkSource, Tag, timestamp};

use super::evidence::EvidenceKind;
use super::findings::{
    AuditedReferrer, EvidenceSummary, ImageAudit, PlatformAudit, Presence, ReferrerContent, RepositoryAudit,
};
use super::link_faults::{Duplicates, LinkFault, LinkFaultKind};
use super::report::{AuditReport, RequestCount};
use super::requirement::Requirement;

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonReport<'a> {
    targets: &'a [String],
    required: Vec<EvidenceKind>,
    each_platform: bool,
    /// Whether everything could be established.
    complete: bool,
    requests: RequestCount,
    repositories: Vec<JsonRepository<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonRepository<'a> {
    repository: &'a str,
    depth: &'static str,
    through_refshim: bool,
    problems: &'a [String],
    images: Vec<JsonImage<'a>>,
    faults: Vec<JsonFault<'a>>,
    duplicates: Vec<JsonDuplicates<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonImage<'a> {
    tags: &'a [Tag],
    digest: Option<&'a Digest>,
    media_type: Option<&'a str>,
    problem: Option<&'a str>,
    missing: Vec<EvidenceKind>,
    #[serde(flatten)]
    evidence: JsonEvidence,
    referrers: Vec<JsonReferrer<'a>>,
    platforms: Vec<JsonPlatform<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonPlatform<'a> {
    platform: &'a str,
    digest: &'a Digest,
    problem: Option<&'a str>,
    #[serde(flatten)]
    evidence: JsonEvidence,
    referrers: Vec<JsonReferrer<'a>>,
}

#[derive(Serialize)]
struct JsonEvidence {
    signature: JsonSummary,
    sbom: JsonSummary,
    provenance: JsonSummary,
}

#[derive(Serialize)]
struct JsonSummary {
    presence: Presence,
    since: Option<String>,
    dialects: Vec<LinkSource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonReferrer<'a> {
    digest: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    kinds: Vec<EvidenceKind>,
    since: Option<String>,
    dialects: Vec<LinkSource>,
    only_refshim: Option<bool>,
    /// `null` where that is not known.
    whole: Option<bool>,
    problem: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonFault<'a> {
    kind: LinkFaultKind,
    tag: Option<&'a Tag>,
    referrer: Option<&'a Digest>,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonDuplicates<'a> {
    subject: &'a Digest,
    artifact_type: Option<&'a str>,
    referrers: &'a [Digest],
}

impl<'a> JsonReport<'a> {
    pub(super) fn new(report: &'a AuditReport) -> Self {
        let repositories = report.repositories.iter();
        Self {
            targets: &report.targets,
            required: report.requirement.kinds.iter().copied().collect(),
            each_platform: report.requirement.each_platform,
            complete: report.unknown().is_none(),
            requests: report.requests,
            repositories: repositories
                .map(|repository| JsonRepository::new(repository, &report.requirement))
                .collect(),
        }
    }
}

impl<'a> JsonRepository<'a> {
    fn new(repository: &'a RepositoryAudit, requirement: &Requirement) -> Self {
        let faults = repository.faults.iter().map(|fault: &LinkFault| JsonFault {
            kind: fault.kind,
            tag: fault.tag.as_ref(),
            referrer: fault.referrer.as_ref(),
            message: &fault.message,
        });
        let duplicates = repository.duplicates.iter().map(|found: &Duplicates| JsonDuplicates {
            subject: &found.subject,
            artifact_type: found.artifact_type.as_deref(),
            referrers: &found.referrers,
        });
        Self {
            repository: &repository.name,
            depth: if repository.by_names { "names" } else { "manifests" },
            through_refshim: repository.through_refshim,
            problems: &repository.problems,
            images: repository
                .images
                .iter()
                .map(|image| JsonImage::new(image, requirement))
                .collect(),
            faults: faults.collect(),
            duplicates: duplicates.collect(),
        }
    }
}

impl<'a> JsonImage<'a> {
    fn new(image: &'a ImageAudit, requirement: &Requirement) -> Self {
        let content = image.content.as_ref();
        let referrers = content.into_iter().flat_map(|content| &content.own.referrers);
        let platforms = content.into_iter().flat_map(|content| &content.platforms);
        Self {
            tags: &image.tags,
            digest: content.map(|content| &content.own.digest),
            media_type: content.map(|content| content.media_type.as_str()),
            problem: image.first_problem(),
            missing: requirement.missing(image),
            evidence: JsonEvidence::new(|kind| match content {
                Some(content) => content.summary(kind, requirement.each_platform),
                None => EvidenceSummary::unknown(),
            }),
            referrers: referrers.map(JsonReferrer::from).collect(),
            platforms: platforms.map(JsonPlatform::from).collect(),
        }
    }
}

impl<'a> From<&'a PlatformAudit> for JsonPlatform<'a> {
    fn from(platform: &'a PlatformAudit) -> Self {
        let PlatformAudit { name, subject } = platform;
        Self {
            platform: name,
            digest: &subject.digest,
            problem: subject.problem.as_deref(),
            evidence: JsonEvidence::new(|kind| subject.summary(kind)),
            referrers: subject.referrers.iter().map(JsonReferrer::from).collect(),
        }
    }
}

impl JsonEvidence {
    fn new(of: impl Fn(EvidenceKind) -> EvidenceSummary) -> Self {
        Self {
            signature: of(EvidenceKind::Signature).into(),
            sbom: of(EvidenceKind::Sbom).into(),
            provenance: of(EvidenceKind::Provenance).into(),
        }
    }
}

impl From<EvidenceSummary> for JsonSummary {
    fn from(summary: EvidenceSummary) -> Self {
        Self {
            presence: summary.presence,
            since: summary.since.and_then(timestamp::to_rfc3339),
            dialects: summary.dialects.into_iter().collect(),
        }
    }
}

impl<'a> From<&'a AuditedReferrer> for JsonReferrer<'a> {
    fn from(found: &'a AuditedReferrer) -> Self {
        let (whole, problem) = match &found.content {
            ReferrerContent::Whole => (Some(true), None),
            ReferrerContent::Broken(_, problem) => (Some(false), Some(problem)),
            ReferrerContent::Unknown(problem) => (None, Some(problem)),
        };
        Self {
            digest: &found.referrer.descriptor.digest,
            original: found.referrer.adopted.as_ref().map(|original| &original.digest),
            artifact_type: found.referrer.descriptor.artifact_type.as_deref(),
            kinds: found.evidence.kinds.iter().copied().collect(),
            since: found.evidence.since_text(),
            dialects: found.referrer.sources.iter().copied().collect(),
            only_refshim: found.only_refshim,
            whole,
            problem: problem.map(String::as_str),
        }
    }
}
