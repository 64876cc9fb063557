//! What is, or would be, written: for people and for programs.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::output::printable;
use crate::oci::{Digest, SubjectKey, Tag};

use super::As;
use super::apply::WriteResult;
use super::plan::{Content, Plan, PlannedLink, PlannedWrite, Skipped};

/// Also what `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MaterializeReport<'a> {
    /// As it was asked for.
    pub(super) reference: &'a str,
    #[serde(rename = "as")]
    pub(super) form: As,
    /// Whether anything was to be written at all.
    pub(super) applied: bool,
    pub(super) subjects: Vec<SubjectReport<'a>>,
    /// Subjects of link tags which say too little of them to find their links.
    pub(super) unclear: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubjectReport<'a> {
    subject: &'a Digest,
    writes: Vec<WriteReport<'a>>,
    /// Links that were written down before.
    already_there: &'a BTreeSet<Digest>,
    skipped: &'a [Skipped],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WriteReport<'a> {
    tag: &'a Tag,
    /// What the tag points at then.
    digest: Digest,
    links: &'a [PlannedLink],
    /// Entries of the old index that are gone.
    dropped: &'a [Digest],
    /// Whether it was written; `null` in a dry run.
    done: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

impl<'a> MaterializeReport<'a> {
    /// `outcomes` of each plan's writes; none in a dry run.
    pub(super) fn new(
        reference: &'a str,
        form: As,
        plans: &'a [Plan],
        outcomes: Option<&'a [Vec<WriteResult>]>,
        unclear: &BTreeSet<SubjectKey>,
    ) -> Self {
        let subjects = plans.iter().enumerate().map(|(at, plan)| {
            let outcomes = outcomes.and_then(|all| all.get(at));
            let writes = plan.writes.iter().enumerate();
            SubjectReport {
                subject: &plan.subject,
                writes: writes
                    .map(|(at, write)| WriteReport::new(write, outcomes.and_then(|all| all.get(at))))
                    .collect(),
                already_there: &plan.there,
                skipped: &plan.skipped,
            }
        });
        Self {
            reference,
            form,
            applied: outcomes.is_some(),
            subjects: subjects.collect(),
            unclear: unclear.iter().map(ToString::to_string).collect(),
        }
    }

    fn writes(&self) -> impl Iterator<Item = &WriteReport<'a>> {
        self.subjects.iter().flat_map(|subject| &subject.writes)
    }

    /// How many writes failed.
    pub(super) fn failed(&self) -> usize {
        self.writes().filter(|write| write.done == Some(false)).count()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = self.summary();
        for subject in &self.subjects {
            if subject.writes.is_empty() && subject.skipped.is_empty() {
                continue;
            }
            text.push_str(&format!("\n{}\n", subject.subject));
            for write in &subject.writes {
                text.push_str(&write.text());
            }
            for skipped in subject.skipped {
                text.push_str(&format!(
                    "  skip   {}: {}\n",
                    skipped.referrer,
                    printable(&skipped.reason)
                ));
            }
        }
        for key in &self.unclear {
            text.push_str(&format!(
                "\n{key}: skipped: no manifest tells this subject's whole digest\n"
            ));
        }
        text
    }

    fn summary(&self) -> String {
        let (writes, failed) = (self.writes().count(), self.failed());
        let there: usize = self.subjects.iter().map(|subject| subject.already_there.len()).sum();
        let tags = |count: usize| format!("{count} {}", if count == 1 { "tag" } else { "tags" });
        let what = match (writes, self.applied) {
            (0, _) => "nothing to do".to_owned(),
            (_, false) => format!("{} to write; nothing was written, add --apply to do it", tags(writes)),
            (_, true) => format!("{} written", tags(writes - failed)),
        };
        format!(
            "{} as {}: {what} ({there} of its links there already)\n",
            printable(self.reference),
            self.form.as_str()
        )
    }
}

impl<'a> WriteReport<'a> {
    fn new(write: &'a PlannedWrite, outcome: Option<&'a WriteResult>) -> Self {
        Self {
            tag: &write.tag,
            digest: match &write.content {
                Content::Same(same) => same.digest.clone(),
                Content::Index { bytes, .. } => Digest::sha256(bytes),
            },
            links: &write.links,
            dropped: &write.dropped,
            done: outcome.map(Result::is_ok),
            problem: outcome.and_then(|outcome| outcome.as_ref().err().map(String::as_str)),
        }
    }

    fn text(&self) -> String {
        let verb = match self.done {
            None => "write ",
            Some(true) => "wrote ",
            Some(false) => "failed",
        };
        let mut text = format!("  {verb} {} -> {}\n", self.tag, self.digest);
        if let Some(problem) = self.problem {
            text.push_str(&format!("         {}\n", printable(problem)));
        }
        for link in self.links {
            let sources: Vec<&str> = link.sources.iter().map(|form| form.as_str()).collect();
            text.push_str(&format!("         links {}  [{}]\n", link.referrer, sources.join(", ")));
        }
        for gone in self.dropped {
            text.push_str(&format!("         drops {gone}, which is gone\n"));
        }
        text
    }
}
