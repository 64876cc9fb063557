//! What is dead and what became of it: for people and for programs.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::output::printable;
use crate::oci::{Digest, Tag};

use super::delete::Outcome;
use super::judge::{Dead, Gone, Verdict};

/// Also what `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    repository: &'a str,
    /// Whether anything was to be deleted at all.
    deleting: bool,
    link_tags: usize,
    dead: Vec<Entry<'a>>,
    /// Link tags of which cannot be told whose they are; they stay.
    unclear: &'a [Tag],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    tag: &'a Tag,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
    gone: &'a Gone,
    /// What became of it; `null` in a dry run, and where an error ended the run before.
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// `outcomes` in the order of the verdict; none in a dry run.
    pub(super) fn new(repository: &'a str, verdict: &'a Verdict, outcomes: Option<&'a [Outcome]>) -> Self {
        let dead = verdict.dead.iter().enumerate();
        Self {
            repository,
            deleting: outcomes.is_some(),
            link_tags: verdict.links,
            dead: dead
                .map(|(at, dead)| Entry::new(dead, outcomes.and_then(|all| all.get(at))))
                .collect(),
            unclear: &verdict.unclear,
        }
    }

    /// How many dead tags the registry did not delete.
    pub(super) fn staying(&self) -> usize {
        self.dead.iter().filter(|entry| entry.problem.is_some()).count()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let (all, dead) = (self.link_tags, self.dead.len());
        let hint = match (dead, self.deleting) {
            (0, _) | (_, true) => "",
            (_, false) => "; nothing was deleted, add --delete to do it",
        };
        let mut text = format!(
            "{}: {dead} of {all} link tags are dead{hint}\n",
            printable(self.repository)
        );
        for entry in &self.dead {
            text.push_str(&entry.text());
        }
        for tag in self.unclear {
            text.push_str(&format!("\n{tag}\n  stays: nothing tells its subject's whole digest\n"));
        }
        text
    }
}

impl<'a> Entry<'a> {
    fn new(dead: &'a Dead, outcome: Option<&'a Outcome>) -> Self {
        Self {
            tag: &dead.tag,
            digest: dead.digest.as_ref(),
            gone: &dead.gone,
            outcome: outcome.map(|outcome| match outcome {
                Outcome::Deleted => "deleted",
                Outcome::DeletedManifest => "deleted-with-manifest",
                Outcome::AlreadyGone => "already-gone",
                Outcome::Alive => "alive-again",
                Outcome::Stays(_) => "not-deletable",
            }),
            problem: match outcome {
                Some(Outcome::Stays(problem)) => Some(problem),
                _ => None,
            },
        }
    }

    fn text(&self) -> String {
        let mut text = format!("\n{}\n  {}\n", self.tag, self.gone.text());
        if let Some(outcome) = self.outcome {
            text.push_str(&format!("  {}", outcome.replace('-', " ")));
            if let Some(problem) = self.problem {
                text.push_str(&format!(": {}", printable(problem)));
            }
            text.push('\n');
        }
        text
    }
}

/// What `--keep-list` prints.
#[derive(Serialize)]
pub(super) struct KeepList<'a> {
    pub(super) repository: &'a str,
    pub(super) digests: BTreeSet<Digest>,
}

impl KeepList<'_> {
    /// One digest a line.
    pub(super) fn text(&self) -> String {
        self.digests.iter().map(|digest| format!("{digest}\n")).collect()
    }
}
