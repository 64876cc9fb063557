//! SLSA provenance, v0.1 to v1: what built the image, from what, and when.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::capped::Capped;

type Facts = Vec<(&'static str, String)>;
/// Only counted.
type ListLength = Capped<IgnoredAny, 0>;

#[derive(Deserialize)]
struct Signed<T> {
    predicate: T,
}

#[derive(Deserialize)]
struct HasId {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provenance {
    build_definition: Option<BuildDefinition>,
    run_details: Option<RunDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: Option<String>,
    external_parameters: Option<ExternalParameters>,
    #[serde(default)]
    resolved_dependencies: ListLength,
}

/// GitHub's; other builders have their own.
#[derive(Deserialize)]
struct ExternalParameters {
    workflow: Option<Workflow>,
}

#[derive(Deserialize)]
struct Workflow {
    #[serde(rename = "ref")]
    reference: Option<String>,
    repository: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct RunDetails {
    builder: Option<HasId>,
    metadata: Option<RunMetadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunMetadata {
    invocation_id: Option<String>,
    started_on: Option<String>,
    finished_on: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EarlyProvenance {
    builder: Option<HasId>,
    build_type: Option<String>,
    invocation: Option<Invocation>,
    metadata: Option<EarlyMetadata>,
    #[serde(default)]
    materials: ListLength,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    config_source: Option<BuildSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildSource {
    uri: Option<String>,
    entry_point: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EarlyMetadata {
    build_started_on: Option<String>,
    build_finished_on: Option<String>,
}

/// What the predicate of a provenance statement says; `early`: before v1.
pub(super) fn facts(statement: &[u8], early: bool) -> Result<Facts, serde_json::Error> {
    Ok(match early {
        true => serde_json::from_slice::<Signed<EarlyProvenance>>(statement)?
            .predicate
            .facts(),
        false => serde_json::from_slice::<Signed<Provenance>>(statement)?
            .predicate
            .facts(),
    })
}

impl Provenance {
    fn facts(self) -> Facts {
        let (builder, metadata) = match self.run_details {
            Some(run) => (run.builder.and_then(|builder| builder.id), run.metadata),
            None => (None, None),
        };
        let (invocation, started, finished) = match metadata {
            Some(metadata) => (metadata.invocation_id, metadata.started_on, metadata.finished_on),
            None => (None, None, None),
        };
        let definition = self.build_definition;
        let materials = definition.as_ref().map_or(0, |build| build.resolved_dependencies.total);
        let (build_type, parameters) = match definition {
            Some(build) => (build.build_type, build.external_parameters),
            None => (None, None),
        };
        let workflow = parameters.and_then(|parameters| parameters.workflow);
        let (repository, reference, path) = match workflow {
            Some(workflow) => (workflow.repository, workflow.reference, workflow.path),
            None => (None, None, None),
        };
        said([
            ("Builder", builder),
            ("Build type", build_type),
            ("Source", repository),
            ("Source ref", reference),
            ("Workflow", path),
            ("Run", invocation),
            ("Started", started),
            ("Finished", finished),
            ("Dependencies", counted(materials)),
        ])
    }
}

impl EarlyProvenance {
    fn facts(self) -> Facts {
        let source = self.invocation.and_then(|invocation| invocation.config_source);
        let (uri, entry_point) = match source {
            Some(source) => (source.uri, source.entry_point),
            None => (None, None),
        };
        let (started, finished) = match self.metadata {
            Some(metadata) => (metadata.build_started_on, metadata.build_finished_on),
            None => (None, None),
        };
        said([
            ("Builder", self.builder.and_then(|builder| builder.id)),
            ("Build type", self.build_type),
            ("Source", uri),
            ("Workflow", entry_point),
            ("Started", started),
            ("Finished", finished),
            ("Dependencies", counted(self.materials.total)),
        ])
    }
}

fn said<const N: usize>(named: [(&'static str, Option<String>); N]) -> Facts {
    let said = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    said.filter(|(_, value)| !value.is_empty()).collect()
}

fn counted(number: usize) -> Option<String> {
    (number > 0).then(|| number.to_string())
}
