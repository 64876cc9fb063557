//! What an audit prints for people, in at most 80 columns where names let it.

use crate::cli::output::{self, printable};
use crate::oci::{Digest, Tag, timestamp};

use super::evidence::EvidenceKind;
use super::findings::{AuditedReferrer, EvidenceSummary, ImageAudit, Presence, ReferrerContent, RepositoryAudit};
use super::report::AuditReport;
use super::requirement::Requirement;

/// Characters of a digest's hash: what still tells the digests of a repository apart.
const SHORT: usize = 8;
/// Characters of a date.
const DAY: usize = 10;

pub(super) fn print(report: &AuditReport) -> String {
    let mut text = String::new();
    for repository in &report.repositories {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&of_repository(repository, &report.requirement));
    }
    text.push_str(&format!(
        "\n{} requests were made, about {} were expected.\n",
        report.requests.made, report.requests.estimated
    ));
    text
}

fn of_repository(repository: &RepositoryAudit, requirement: &Requirement) -> String {
    let mut text = format!(
        "{}: {}\n",
        printable(&repository.name),
        counted(repository.images.len(), "image")
    );
    for problem in &repository.problems {
        text.push_str(&format!("  UNKNOWN: {}\n", printable(problem)));
    }
    if repository.by_names {
        text.push_str("  Only link tags were read: 'no' says nothing of what stands behind other tags.\n");
    }
    if repository.through_refshim {
        text.push_str("  This is a refshim: how links are written down, the registry behind it tells.\n");
    }
    if !repository.images.is_empty() {
        let rows: Vec<[String; 4]> = repository
            .images
            .iter()
            .flat_map(|image| rows(image, requirement))
            .collect();
        let table = output::table(["IMAGE", "SIGNATURE", "SBOM", "PROVENANCE"], &rows);
        text.push_str(&format!("\n{table}"));
    }
    let referrers = referrer_rows(repository);
    if !referrers.is_empty() {
        let header = ["OF", "IS", "REFERRER", "FOUND AS"];
        text.push_str(&format!("\n{}", output::table(header, &referrers)));
    }
    let images = repository
        .images
        .iter()
        .filter_map(|image| Some((image, image.first_problem()?)));
    let unknown = images.map(|(image, problem)| format!("{}: {problem}", name_of(image)));
    let missing = repository.images.iter().filter_map(|image| {
        let missing: Vec<&str> = requirement.missing(image).iter().map(|kind| kind.as_str()).collect();
        (!missing.is_empty()).then(|| format!("{}: {}", name_of(image), missing.join(", ")))
    });
    let faults = repository.faults.iter().map(|fault| {
        let place = match (&fault.tag, &fault.referrer) {
            (Some(tag), _) => tag.to_string(),
            (None, Some(digest)) => short(digest),
            (None, None) => String::new(),
        };
        format!("{place}: {}\n{}", fault.kind.as_str(), fault.message)
    });
    let duplicates = repository.duplicates.iter().map(|found| {
        let referrers: Vec<String> = found.referrers.iter().map(short).collect();
        let artifact_type = found.artifact_type.as_deref().unwrap_or("of no type");
        format!("{}: {artifact_type}: {}", short(&found.subject), referrers.join(", "))
    });
    text.push_str(&section("Required and missing", missing));
    text.push_str(&section("Unknown", unknown));
    text.push_str(&section("Broken links", faults));
    text.push_str(&section("The same content twice", duplicates));
    text
}

/// Each entry in lines of its own, indented after the first.
fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let indented = |entry: String| -> String {
        let lines = entry.lines().enumerate();
        lines
            .map(|(number, line)| format!("{}{}\n", if number == 0 { "  " } else { "    " }, printable(line)))
            .collect()
    };
    let lines: String = lines.map(indented).collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{title}:\n{lines}"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The image and its platforms, a row each.
fn rows(image: &ImageAudit, requirement: &Requirement) -> Vec<[String; 4]> {
    let Some(content) = &image.content else {
        let [signature, sbom, provenance] = EvidenceKind::ALL.map(|_| cell(&EvidenceSummary::unknown()));
        return vec![[name_of(image), signature, sbom, provenance]];
    };
    let row = |name: String, of: &dyn Fn(EvidenceKind) -> EvidenceSummary| {
        let [signature, sbom, provenance] = EvidenceKind::ALL.map(|kind| cell(&of(kind)));
        [name, signature, sbom, provenance]
    };
    let own = row(name_of(image), &|kind| content.summary(kind, requirement.each_platform));
    let platforms = content.platforms.iter().map(|platform| {
        let name = platform_name(&platform.name, &platform.subject.digest);
        row(format!("  {name}"), &|kind| platform.subject.summary(kind))
    });
    std::iter::once(own).chain(platforms).collect()
}

/// Yes, with the day since when where that is stated.
fn cell(summary: &EvidenceSummary) -> String {
    match summary.presence {
        Presence::Yes => match summary.since.and_then(timestamp::to_rfc3339) {
            Some(date) => format!("yes {}", date.get(..DAY).unwrap_or(&date)),
            None => "yes".to_owned(),
        },
        Presence::No => "no".to_owned(),
        Presence::Unknown => "UNKNOWN".to_owned(),
    }
}

/// All referrers of the repository's images, each once for its subject.
fn referrer_rows(repository: &RepositoryAudit) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    for image in &repository.images {
        for (platform, subject) in image.content.iter().flat_map(|content| content.subjects()) {
            let of = match platform {
                None => name_of(image),
                Some(name) => format!("  {}", platform_name(name, &subject.digest)),
            };
            rows.extend(subject.referrers.iter().map(|found| {
                [
                    of.clone(),
                    kinds(found),
                    short(&found.referrer.descriptor.digest),
                    dialects(found),
                ]
            }));
        }
    }
    rows
}

fn kinds(found: &AuditedReferrer) -> String {
    let kinds: Vec<&str> = found.evidence.kinds.iter().map(|kind| kind.as_str()).collect();
    match (kinds.is_empty(), found.evidence.is_unclear) {
        (true, true) => "UNKNOWN".to_owned(),
        (true, false) => "other".to_owned(),
        (false, _) => kinds.join(", "),
    }
}

fn dialects(found: &AuditedReferrer) -> String {
    let names: Vec<&str> = found.referrer.sources.iter().map(|source| source.as_str()).collect();
    let alone = match found.only_refshim {
        Some(true) => " (refshim only)",
        Some(false) | None => "",
    };
    let broken = match found.content {
        ReferrerContent::Broken(..) => ", BROKEN",
        ReferrerContent::Whole | ReferrerContent::Unknown(_) => "",
    };
    format!("{}{alone}{broken}", names.join(", "))
}

fn name_of(image: &ImageAudit) -> String {
    let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
    match (&image.content, tags.is_empty()) {
        (_, false) => tags.join(", "),
        (Some(content), true) => short(&content.own.digest),
        (None, true) => "?".to_owned(),
    }
}

fn platform_name(name: &str, digest: &Digest) -> String {
    match name.is_empty() {
        true => short(digest),
        false => name.to_owned(),
    }
}

fn short(digest: &Digest) -> String {
    let hash: String = digest.encoded().chars().take(SHORT).collect();
    format!("{}:{hash}…", digest.algorithm())
}
