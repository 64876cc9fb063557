//! An audit as CSV (RFC 4180): a row for each image and each of its platforms. Whoever may push chooses some of the texts: in a spreadsheet they
//! are no formulas, in a terminal they move no cursor.

use crate::cli::output::printable;
use crate::oci::{LinkSource, Tag, timestamp};

use super::evidence::EvidenceKind;
use super::findings::{AuditedReferrer, EvidenceSummary, ImageAudit, SubjectAudit};
use super::report::AuditReport;
use super::requirement::Requirement;

const HEADER: [&str; 18] = [
    "repository",
    "tags",
    "platform",
    "digest",
    "signature",
    "signature since",
    "signature dialects",
    "sbom",
    "sbom since",
    "sbom dialects",
    "provenance",
    "provenance since",
    "provenance dialects",
    "missing",
    "referrers",
    "seen by refshim only",
    "broken",
    "problem",
];

pub(super) fn print(report: &AuditReport) -> String {
    let mut text = record(HEADER.iter().copied());
    for repository in report.repositories.iter().filter(|found| found.images.is_empty()) {
        let problem = repository.problems.join("; ");
        let mut fields = [""; HEADER.len()];
        fields[0] = &repository.name;
        fields[HEADER.len() - 1] = &problem;
        text.push_str(&record(fields));
    }
    for (repository, image) in report.images() {
        for fields in rows(&repository.name, image, &report.requirement) {
            text.push_str(&record(fields.iter().map(String::as_str)));
        }
    }
    text
}

fn rows(repository: &str, image: &ImageAudit, requirement: &Requirement) -> Vec<Vec<String>> {
    let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
    let begin = |platform: &str, digest: &str| -> Vec<String> {
        [repository, &tags.join(" "), platform, digest]
            .map(str::to_owned)
            .into()
    };
    let Some(content) = &image.content else {
        let mut fields = begin("", "");
        fields.extend(
            EvidenceKind::ALL
                .iter()
                .flat_map(|_| columns(&EvidenceSummary::unknown())),
        );
        fields.extend(["", "", "", ""].map(str::to_owned));
        fields.push(image.problem.clone().unwrap_or_default());
        return vec![fields];
    };
    let subjects = content.subjects().map(|(platform, subject)| {
        let mut fields = begin(platform.unwrap_or_default(), subject.digest.as_str());
        for kind in EvidenceKind::ALL {
            fields.extend(columns(&match platform {
                None => content.summary(kind, requirement.each_platform),
                Some(_) => subject.summary(kind),
            }));
        }
        let missing = match platform {
            None => requirement.missing(image),
            Some(_) => Vec::new(),
        };
        let missing: Vec<&str> = missing.iter().map(|kind| kind.as_str()).collect();
        fields.push(missing.join(" "));
        fields.extend(counts(subject));
        fields.push(subject.problem.clone().unwrap_or_default());
        fields
    });
    subjects.collect()
}

fn columns(summary: &EvidenceSummary) -> [String; 3] {
    let dialects: Vec<&str> = summary.dialects.iter().copied().map(LinkSource::as_str).collect();
    [
        summary.presence.as_str().to_owned(),
        summary.since.and_then(timestamp::to_rfc3339).unwrap_or_default(),
        dialects.join(" "),
    ]
}

fn counts(subject: &SubjectAudit) -> [String; 3] {
    let count = |is: &dyn Fn(&AuditedReferrer) -> bool| {
        let counted = subject.referrers.iter().filter(|found| is(found));
        counted.count().to_string()
    };
    [
        count(&|_| true),
        count(&|found| found.only_refshim == Some(true)),
        count(&|found| found.fault().is_some()),
    ]
}

fn record<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(quoted).collect();
    fields.join(",") + "\r\n"
}

fn quoted(field: &str) -> String {
    let field = plain_text(field);
    match field.contains([',', '"', '\'']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

/// A spreadsheet takes a field that begins with one of these for a formula, even one in quotes; behind an apostrophe it is a text.
fn plain_text(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let apostrophe = if is_formula { "'" } else { "" };
    format!("{apostrophe}{}", printable(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_need_quotes_have_them() {
        let fields = ["plain", "a,b", "say \"x\"", ""];
        assert_eq!(record(fields), "plain,\"a,b\",\"say \"\"x\"\"\",\r\n");
    }

    #[test]
    fn texts_of_others_are_no_formulas_and_move_no_cursor() {
        for (text, printed) in [
            ("=1+2", "\"'=1+2\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\u{fffd}=1\""),
            ("two\nlines", "two\u{fffd}lines"),
            ("\x1b[31m", "\u{fffd}[31m"),
            ("linux/amd64", "linux/amd64"),
        ] {
            assert_eq!(quoted(text), printed);
        }
    }
}
