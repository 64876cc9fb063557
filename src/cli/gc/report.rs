//! What is dead and what became of it: for people and for programs.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::output::printable;
use crate::oci::{Digest, Tag};

use super::delete::DeletionOutcome;
use super::judge::{DeadTag, MissingContent, Stale, Verdict};
use super::read::Needed;

/// Also what `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GcReport<'a> {
    repository: &'a str,
    /// Whether anything was to be deleted at all.
    deleting: bool,
    link_tags: usize,
    dead: Vec<DeadTagReport<'a>>,
    /// Referrers tags that list what is gone beside what is there.
    stale: Vec<StaleEntry<'a>>,
    /// Link tags of which cannot be told whose they are; they stay.
    unclear: &'a [Tag],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadTagReport<'a> {
    tag: &'a Tag,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
    gone: &'a MissingContent,
    #[serde(flatten)]
    became: Became<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StaleEntry<'a> {
    tag: &'a Tag,
    digest: &'a Digest,
    /// What it lists and is gone.
    entries: &'a BTreeSet<Digest>,
    #[serde(flatten)]
    became: Became<'a>,
}

/// What became of a tag.
#[derive(Serialize)]
struct Became<'a> {
    /// `null` in a dry run, and where an error ended the run before.
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

impl<'a> GcReport<'a> {
    /// `outcomes` in the order of the verdict, those of dead tags before those of stale lists; none in a dry run.
    pub(super) fn new(repository: &'a str, verdict: &'a Verdict, outcomes: Option<&'a [DeletionOutcome]>) -> Self {
        let dead = verdict.dead.iter().enumerate();
        let stale = (verdict.dead.len()..).zip(&verdict.stale);
        Self {
            repository,
            deleting: outcomes.is_some(),
            link_tags: verdict.links,
            dead: dead
                .map(|(at, dead)| DeadTagReport::new(dead, outcomes.and_then(|all| all.get(at))))
                .collect(),
            stale: stale
                .map(|(at, stale)| StaleEntry::new(stale, outcomes.and_then(|all| all.get(at))))
                .collect(),
            unclear: &verdict.unclear,
        }
    }

    /// How many dead tags the registry did not delete.
    pub(super) fn staying(&self) -> usize {
        self.dead.iter().filter(|entry| entry.became.problem.is_some()).count()
    }

    /// How many lists the registry did not take without what is gone.
    pub(super) fn unmended(&self) -> usize {
        self.stale.iter().filter(|entry| entry.became.problem.is_some()).count()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let (all, dead, stale) = (self.link_tags, self.dead.len(), self.stale.len());
        let hint = match (dead + stale, self.deleting) {
            (0, _) | (_, true) => "",
            (_, false) => "; nothing was deleted, add --delete to do it",
        };
        let lists = match stale {
            0 => String::new(),
            stale => format!(", {stale} list something that is gone"),
        };
        let mut text = format!(
            "{}: {dead} of {all} link tags are dead{lists}{hint}\n",
            printable(self.repository)
        );
        for entry in &self.dead {
            text.push_str(&entry.text());
        }
        for entry in &self.stale {
            text.push_str(&entry.text());
        }
        for tag in self.unclear {
            text.push_str(&format!("\n{tag}\n  stays: nothing tells its subject's whole digest\n"));
        }
        text
    }
}

impl<'a> DeadTagReport<'a> {
    fn new(dead: &'a DeadTag, outcome: Option<&'a DeletionOutcome>) -> Self {
        Self {
            tag: &dead.tag,
            digest: dead.digest.as_ref(),
            gone: &dead.gone,
            became: Became::new(outcome),
        }
    }

    fn text(&self) -> String {
        format!("\n{}\n  {}\n{}", self.tag, self.gone.text(), self.became.text())
    }
}

impl<'a> StaleEntry<'a> {
    fn new(stale: &'a Stale, outcome: Option<&'a DeletionOutcome>) -> Self {
        Self {
            tag: &stale.tag,
            digest: &stale.digest,
            entries: &stale.entries,
            became: Became::new(outcome),
        }
    }

    fn text(&self) -> String {
        let entries: Vec<&str> = self.entries.iter().map(Digest::as_str).collect();
        let entries = entries.join(", ");
        format!("\n{}\n  lists {entries}, gone\n{}", self.tag, self.became.text())
    }
}

impl<'a> Became<'a> {
    fn new(outcome: Option<&'a DeletionOutcome>) -> Self {
        Self {
            outcome: outcome.map(|outcome| match outcome {
                DeletionOutcome::Deleted => "deleted",
                DeletionOutcome::DeletedManifest => "deleted-with-manifest",
                DeletionOutcome::AlreadyGone => "already-gone",
                DeletionOutcome::Alive => "alive-again",
                DeletionOutcome::Mended => "mended",
                DeletionOutcome::Stays(_) => "not-deletable",
                DeletionOutcome::NotMended(_) => "not-mended",
            }),
            problem: match outcome {
                Some(DeletionOutcome::Stays(problem) | DeletionOutcome::NotMended(problem)) => Some(problem),
                _ => None,
            },
        }
    }

    fn text(&self) -> String {
        let problem = self.problem.map(|problem| format!(": {}", printable(problem)));
        let problem = problem.unwrap_or_default();
        let outcome = self.outcome.map(|outcome| outcome.replace('-', " "));
        outcome
            .map(|outcome| format!("  {outcome}{problem}\n"))
            .unwrap_or_default()
    }
}

/// What `--keep-list` prints.
#[derive(Serialize)]
pub(super) struct KeepList<'a> {
    repository: &'a str,
    digests: BTreeSet<Digest>,
    /// What tagged indexes list and the registry does not hold.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    absent: BTreeSet<Digest>,
}

impl<'a> KeepList<'a> {
    pub(super) fn new(repository: &'a str, needed: Needed) -> Self {
        Self {
            repository,
            digests: needed.digests,
            absent: needed.absent,
        }
    }

    /// Says on standard error what the list lacks.
    pub(super) fn warn(&self) {
        for digest in &self.absent {
            eprintln!(
                "refshim: {}: a tagged index lists {digest}, which the registry states that it does not hold: it is not in the list, what \
                 refers to it is",
                printable(self.repository)
            );
        }
    }

    /// One digest a line.
    pub(super) fn text(&self) -> String {
        self.digests.iter().map(|digest| format!("{digest}\n")).collect()
    }
}
