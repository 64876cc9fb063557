//! What an audit says before and after its work, in one sentence each; the formats are in files of their own.

use serde::Serialize;

use crate::cli::output;

use super::findings::{ImageAudit, RepositoryAudit};
use super::repository::AuditDepth;
use super::requirement::Requirement;
use super::survey::{AuditCost, SurveyedRepository};

pub(super) struct AuditReport {
    /// As they were written on the command line.
    pub(super) targets: Vec<String>,
    pub(super) requirement: Requirement,
    pub(super) requests: RequestCount,
    pub(super) repositories: Vec<RepositoryAudit>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct RequestCount {
    /// Before manifests were read.
    pub(super) estimated: u64,
    pub(super) made: u64,
}

/// What an audit would cost.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlannedAudit {
    repositories: Vec<PlannedRepository>,
    requests: RequestCount,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlannedRepository {
    repository: String,
    problem: Option<String>,
    #[serde(flatten)]
    cost: AuditCost,
}

impl PlannedAudit {
    /// `made`: requests that the listings took.
    pub(super) fn new(surveyed: &[SurveyedRepository], depth: AuditDepth, made: u64) -> Self {
        let repositories: Vec<PlannedRepository> = surveyed
            .iter()
            .map(|surveyed| PlannedRepository {
                repository: surveyed.name.clone(),
                problem: surveyed.listed.as_ref().err().map(|error| error.message()),
                cost: surveyed
                    .listed
                    .as_ref()
                    .map(|listed| listed.cost(&surveyed.scope, depth))
                    .unwrap_or_default(),
            })
            .collect();
        let estimated: usize = repositories.iter().map(|planned| planned.cost.requests).sum();
        Self {
            repositories,
            requests: RequestCount {
                estimated: made + estimated as u64,
                made,
            },
        }
    }

    /// About how many, listings included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.estimated
    }

    /// In one line, before the work begins.
    pub(super) fn statement(&self) -> String {
        let RequestCount { estimated, made } = self.requests;
        let repositories = match self.repositories.len() {
            1 => "1 repository".to_owned(),
            several => format!("{several} repositories"),
        };
        format!(
            "{} tags of {repositories} were listed ({made} requests); reading them takes about {} more",
            self.tags(),
            estimated - made
        )
    }

    fn tags(&self) -> usize {
        self.repositories
            .iter()
            .map(|planned| planned.cost.tags + planned.cost.link_tags)
            .sum()
    }

    pub(super) fn text(&self) -> String {
        let rows: Vec<[String; 4]> = self
            .repositories
            .iter()
            .map(|planned| match &planned.problem {
                Some(_) => [planned.repository.clone(), "?".into(), "?".into(), "UNKNOWN".into()],
                None => [
                    planned.repository.clone(),
                    planned.cost.tags.to_string(),
                    planned.cost.link_tags.to_string(),
                    format!("about {}", planned.cost.requests),
                ],
            })
            .collect();
        let table = output::table(["REPOSITORY", "TAGS", "LINK TAGS", "REQUESTS"], &rows);
        format!("{table}\nDry run: {}.\n", self.statement())
    }

    pub(super) fn problem(&self) -> Option<String> {
        let planned = self.repositories.iter();
        let problems = planned.filter_map(|planned| Some(named(&planned.repository, planned.problem.as_deref()?)));
        first_of(&problems.collect::<Vec<_>>())
    }
}

/// The first of these problems, and how many others there are.
fn first_of(problems: &[String]) -> Option<String> {
    let (first, others) = problems.split_first()?;
    Some(match others.len() {
        0 => first.clone(),
        others => format!("{first} (and {others} more)"),
    })
}

/// `problem` after the name of what it is about, where it does not begin with that itself.
fn named(name: &str, problem: &str) -> String {
    match problem.starts_with(name) {
        true => problem.to_owned(),
        false => format!("{name}: {problem}"),
    }
}

impl AuditReport {
    /// Why the exit code is not 0.
    pub(super) fn problem(&self) -> Option<String> {
        let unknown = self.unknown().map(|problem| format!("UNKNOWN: {problem}"));
        let missing = self.missing();
        let all: Vec<String> = missing.into_iter().chain(unknown).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn missing(&self) -> Option<String> {
        let images = self
            .images()
            .map(|(repository, image)| (repository, image, self.requirement.missing(image)));
        let lacking: Vec<_> = images.filter(|(_, _, missing)| !missing.is_empty()).collect();
        let (repository, image, missing) = lacking.first()?;
        let (count, all) = (lacking.len(), self.images().count());
        let missing: Vec<&str> = missing.iter().map(|kind| kind.as_str()).collect();
        let name = image.name(&repository.name);
        Some(format!(
            "{count} of {all} images lack what is required, such as {name} ({})",
            missing.join(", ")
        ))
    }

    /// What could not be established.
    pub(super) fn unknown(&self) -> Option<String> {
        let mut problems: Vec<String> = Vec::new();
        for repository in &self.repositories {
            problems.extend(
                repository
                    .problems
                    .iter()
                    .map(|problem| named(&repository.name, problem)),
            );
        }
        for (repository, image) in self.images() {
            let name = image.name(&repository.name);
            let unknown = self.requirement.unknown(image);
            if let Some(problem) = image.first_problem() {
                problems.push(named(&name, problem));
            } else if let Some(kind) = unknown.first() {
                let kind = kind.as_str();
                problems.push(format!(
                    "{name}: an attestation does not tell what it states, so that its {kind} is not known"
                ));
            }
        }
        first_of(&problems)
    }

    pub(super) fn images(&self) -> impl Iterator<Item = (&RepositoryAudit, &ImageAudit)> {
        let repositories = self.repositories.iter();
        repositories.flat_map(|repository| repository.images.iter().map(move |image| (repository, image)))
    }
}

impl ImageAudit {
    /// `host/name:tag`, or with the digest.
    pub(super) fn name(&self, repository: &str) -> String {
        let digest = self.content.as_ref().map(|content| &content.own.digest);
        match (self.tags.first(), digest) {
            (Some(tag), _) => format!("{repository}:{tag}"),
            (None, Some(digest)) => format!("{repository}@{digest}"),
            (None, None) => repository.to_owned(),
        }
    }
}
