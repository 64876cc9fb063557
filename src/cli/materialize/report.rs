//! What is, or would be, written: for people and for programs.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::output::printable;
use crate::oci::{Digest, SubjectKey, Tag};

use super::As;
use super::apply::WriteResult;
use super::plan::{Content, Plan, PlannedLink, PlannedRemoval, PlannedWrite, Skipped};
use super::prune::RemovalResult;

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
    /// Proposal D tags to remove (`--prune`).
    removals: Vec<RemovalReport<'a>>,
}

/// What was done; of each plan, in its order.
pub(super) struct MaterializeOutcomes {
    pub(super) writes: Vec<Vec<WriteResult>>,
    pub(super) removals: Vec<Vec<RemovalResult>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemovalReport<'a> {
    tag: &'a Tag,
    /// What it points at.
    digest: &'a Digest,
    /// Whether it was removed; `null` in a dry run.
    done: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
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
    /// No `outcomes` in a dry run.
    pub(super) fn new(
        reference: &'a str,
        form: As,
        plans: &'a [Plan],
        outcomes: Option<&'a MaterializeOutcomes>,
        unclear: &BTreeSet<SubjectKey>,
    ) -> Self {
        let subjects = plans.iter().enumerate().map(|(at, plan)| {
            let written = outcomes.and_then(|all| all.writes.get(at));
            let removed = outcomes.and_then(|all| all.removals.get(at));
            let (writes, removals) = (plan.writes.iter().enumerate(), plan.removals.iter().enumerate());
            SubjectReport {
                subject: &plan.subject,
                writes: writes
                    .map(|(at, write)| WriteReport::new(write, written.and_then(|all| all.get(at))))
                    .collect(),
                removals: removals
                    .map(|(at, removal)| RemovalReport::new(removal, removed.and_then(|all| all.get(at))))
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

    fn removals(&self) -> impl Iterator<Item = &RemovalReport<'a>> {
        self.subjects.iter().flat_map(|subject| &subject.removals)
    }

    /// How many tags that were to be removed stay.
    pub(super) fn staying(&self) -> usize {
        self.removals().filter(|removal| removal.done == Some(false)).count()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = self.summary();
        for subject in &self.subjects {
            if subject.writes.is_empty() && subject.skipped.is_empty() && subject.removals.is_empty() {
                continue;
            }
            text.push_str(&format!("\n{}\n", subject.subject));
            for write in &subject.writes {
                text.push_str(&write.text());
            }
            for removal in &subject.removals {
                text.push_str(&removal.text());
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
        let (removals, staying) = (self.removals().count(), self.staying());
        let what = match (writes, removals, self.applied) {
            (0, 0, _) => "nothing to do".to_owned(),
            (_, 0, false) => format!("{} to write; nothing was written, add --apply to do it", tags(writes)),
            (_, _, false) => format!(
                "{} to write, {} to remove where the registry deletes tags without their manifests; nothing was done, add --apply to do it",
                tags(writes),
                tags(removals)
            ),
            (_, 0, true) => format!("{} written", tags(writes - failed)),
            (_, _, true) => format!(
                "{} written, {} removed",
                tags(writes - failed),
                tags(removals - staying)
            ),
        };
        format!(
            "{} as {}: {what} ({there} of its links there already)\n",
            printable(self.reference),
            self.form.as_str()
        )
    }
}

impl<'a> RemovalReport<'a> {
    fn new(removal: &'a PlannedRemoval, outcome: Option<&'a RemovalResult>) -> Self {
        Self {
            tag: &removal.tag,
            digest: &removal.digest,
            done: outcome.map(Result::is_ok),
            problem: outcome.and_then(|outcome| outcome.as_ref().err().map(String::as_str)),
        }
    }

    fn text(&self) -> String {
        let verb = match self.done {
            None => "remove",
            Some(true) => "removed",
            Some(false) => "stays ",
        };
        let problem = self.problem.map(|problem| format!(": {}", printable(problem)));
        format!("  {verb} {}{}\n", self.tag, problem.unwrap_or_default())
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
