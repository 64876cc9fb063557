//! An audit as SARIF 2.1.0 (OASIS), which code scanning services read: what is required and missing is an error, and so is what could not
//! be established.

use serde::Serialize;
use serde_json::{Value, json};

use super::evidence::EvidenceKind;
use super::findings::{ImageAudit, RepositoryAudit};
use super::report::AuditReport;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What a result is about.
#[derive(Clone, Copy)]
enum Rule {
    Missing(EvidenceKind),
    Unknown,
    BrokenLink,
    OnlyRefshim,
    Duplicate,
}

impl Rule {
    const ALL: [Self; 7] = [
        Self::Missing(EvidenceKind::Signature),
        Self::Missing(EvidenceKind::Sbom),
        Self::Missing(EvidenceKind::Provenance),
        Self::Unknown,
        Self::BrokenLink,
        Self::OnlyRefshim,
        Self::Duplicate,
    ];

    fn id(self) -> String {
        match self {
            Self::Missing(kind) => format!("missing-{}", kind.as_str()),
            Self::Unknown => "unknown".to_owned(),
            Self::BrokenLink => "broken-link".to_owned(),
            Self::OnlyRefshim => "only-refshim".to_owned(),
            Self::Duplicate => "duplicate".to_owned(),
        }
    }

    fn description(self) -> String {
        match self {
            Self::Missing(kind) => format!("An image has no {}.", kind.as_str()),
            Self::Unknown => "It could not be established what an image has.".to_owned(),
            Self::BrokenLink => {
                "A link to a signature, an SBOM or an attestation leads nowhere, or says something wrong.".to_owned()
            }
            Self::OnlyRefshim => "No OCI 1.1 client finds an artifact without refshim.".to_owned(),
            Self::Duplicate => "The same content is attached twice.".to_owned(),
        }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Note,
    Warning,
    Error,
}

/// The log of one run.
pub(super) fn log(report: &AuditReport) -> Value {
    let rules = Rule::ALL.map(|rule| {
        json!({
            "id": rule.id(),
            "shortDescription": {"text": rule.description()},
        })
    });
    let results: Vec<Value> = report
        .repositories
        .iter()
        .flat_map(|repository| results(repository, report))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "refshim",
                "version": crate::build_info::VERSION,
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn results(repository: &RepositoryAudit, report: &AuditReport) -> Vec<Value> {
    let mut results = Vec::new();
    for problem in &repository.problems {
        results.push(result(Rule::Unknown, Level::Error, problem, &repository.name));
    }
    for image in &repository.images {
        results.extend(of_image(image, repository, report));
    }
    for fault in &repository.faults {
        let place = match (&fault.tag, &fault.referrer) {
            (Some(tag), _) => format!("{}:{tag}", repository.name),
            (None, Some(digest)) => format!("{}@{digest}", repository.name),
            (None, None) => repository.name.clone(),
        };
        let message = format!("{}: {}", fault.kind.as_str(), fault.message);
        results.push(result(Rule::BrokenLink, Level::Warning, &message, &place));
    }
    for found in &repository.duplicates {
        let referrers: Vec<&str> = found.referrers.iter().map(|digest| digest.as_str()).collect();
        let message = format!("the same content is attached as {}", referrers.join(" and "));
        let place = format!("{}@{}", repository.name, found.subject);
        results.push(result(Rule::Duplicate, Level::Note, &message, &place));
    }
    results
}

fn of_image(image: &ImageAudit, repository: &RepositoryAudit, report: &AuditReport) -> Vec<Value> {
    let name = image.name(&repository.name);
    let mut results = Vec::new();
    for kind in report.requirement.missing(image) {
        let message = format!("{name} has no {}", kind.as_str());
        results.push(result(Rule::Missing(kind), Level::Error, &message, &name));
    }
    if let Some(problem) = image.first_problem() {
        results.push(result(Rule::Unknown, Level::Error, problem, &name));
    } else {
        for kind in report.requirement.unknown(image) {
            let message = format!(
                "{name}: an attestation does not tell what it states, so that its {} is not known",
                kind.as_str()
            );
            results.push(result(Rule::Unknown, Level::Error, &message, &name));
        }
    }
    let subjects = image.content.iter().flat_map(|content| content.subjects());
    let referrers = subjects.flat_map(|(_, subject)| &subject.referrers);
    for found in referrers.filter(|found| found.only_refshim == Some(true)) {
        let digest = &found.referrer.descriptor.digest;
        let dialects: Vec<&str> = found.referrer.sources.iter().map(|source| source.as_str()).collect();
        let message = format!("{digest} is linked by {} alone", dialects.join(", "));
        results.push(result(Rule::OnlyRefshim, Level::Note, &message, &name));
    }
    results
}

/// `place`: `host/name`, with a tag or a digest. Services show results at files, so that it is the path of one.
fn result(rule: Rule, level: Level, message: &str, place: &str) -> Value {
    json!({
        "ruleId": rule.id(),
        "level": level,
        "message": {"text": message},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": format!("oci://{place}")}},
            "logicalLocations": [{"fullyQualifiedName": place, "kind": "resource"}],
        }],
    })
}
