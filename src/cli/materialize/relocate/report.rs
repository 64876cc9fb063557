//! What was, or would be, brought into another repository: for people and for programs.

use serde::Serialize;

use crate::cli::output::{printable, table};
use crate::oci::{Digest, Tag};

/// Also what `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RelocationReport<'a> {
    /// As it was asked for.
    pub reference: &'a str,
    pub to_repository: &'a str,
    /// Whether anything was to be written at all.
    pub applied: bool,
    pub tags: Vec<MovedTag>,
}

#[derive(Serialize)]
pub(super) struct MovedTag {
    pub tag: Tag,
    /// What it points at.
    pub digest: Digest,
    #[serde(flatten)]
    pub outcome: RelocationOutcome,
    /// Whether it was removed where it was (`--prune`); `null` where that was not tried.
    pub removed: Option<bool>,
    /// Why it was not.
    #[serde(rename = "removalProblem", skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "problem")]
pub(super) enum RelocationOutcome {
    /// In a dry run.
    WouldBring,
    Brought,
    There,
    /// The other repository has something else under this tag.
    Conflict,
    Failed(String),
}

impl RelocationReport<'_> {
    pub fn text(&self) -> String {
        let rows: Vec<[String; 3]> = self.tags.iter().map(MovedTag::row).collect();
        let title = match self.applied {
            true => format!("{}: links brought into {}\n", self.reference, self.to_repository),
            false => format!(
                "{}: links to bring into {} (dry run; --apply brings them)\n",
                self.reference, self.to_repository
            ),
        };
        match rows.is_empty() {
            true => format!("{}: nothing refers to anything there\n", self.reference),
            false => printable(title.trim_end()) + "\n" + &table(["TAG", "DIGEST", "OUTCOME"], &rows),
        }
    }

    /// Tags that are not in the other repository, or stay where they should not.
    pub fn failed(&self) -> usize {
        let has_failed = |moved: &&MovedTag| {
            matches!(
                moved.outcome,
                RelocationOutcome::Conflict | RelocationOutcome::Failed(_)
            ) || moved.removed == Some(false)
        };
        self.tags.iter().filter(has_failed).count()
    }
}

impl MovedTag {
    fn row(&self) -> [String; 3] {
        let outcome = match &self.outcome {
            RelocationOutcome::WouldBring => "to bring".to_owned(),
            RelocationOutcome::Brought => "brought".to_owned(),
            RelocationOutcome::There => "is there".to_owned(),
            RelocationOutcome::Conflict => "conflict: another manifest has this tag there".to_owned(),
            RelocationOutcome::Failed(problem) => format!("failed: {problem}"),
        };
        let removed = match (self.removed, &self.problem) {
            (Some(true), _) => "; removed".to_owned(),
            (Some(false), Some(problem)) => format!("; stays: {problem}"),
            _ => String::new(),
        };
        [self.tag.to_string(), self.digest.to_string(), outcome + &removed]
    }
}
