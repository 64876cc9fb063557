//! `refshim check`: whether the configuration is right, and what the registries that it names can do.

mod advice;
mod links_repository;
mod own_credentials;
mod probe;
mod referrers_tags;
mod report;
mod verdict;
mod webhooks;

use std::path::PathBuf;

use crate::config::{Config, Overrides, load};
use crate::oci::RepositoryName;

use super::assembly::ListenerSecurity;
use super::error::CliError;
use super::output::{self, Format};
use probe::probe;
use report::CheckReport;
use webhooks::WebhookReport;

/// Check the configuration and what the registry supports.
///
/// Prints whether the registry is reachable, whether refshim helps there, how it authenticates and, with --repository, whether it has a referrers API of its own and
/// how it lists tags. It writes nothing to the registry; where links are kept in another repository (links.repository, links.upstream), it opens an upload
/// there and cancels it. It uses the credentials of 'docker login' or, if the configuration gives refshim credentials of its own (upstream.credentials), tries those
/// and says who may use them. Of webhooks (events.webhooks) it reads keys and certificates.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim check --upstream https://ghcr.io --repository sigstore/cosign/cosign
  refshim check --config /etc/refshim.toml --output json
  refshim check --config /etc/refshim.toml --ping-webhooks")]
pub(super) struct CheckArgs {
    /// Configuration file (TOML) to check.
    #[arg(short, long, value_name = "FILE", env = super::CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// URL of the registry; replaces the first one in the configuration.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own; for the first registry.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A repository in the registry, preferably with a few tags, to test the referrers API and tag listings with.
    #[arg(long, value_name = "NAME", value_parser = RepositoryName::parse)]
    repository: Option<RepositoryName>,
    /// Send each webhook in the configuration an event that tells of nothing (io.refshim.ping.v1), to see whether it accepts that.
    #[arg(long)]
    ping_webhooks: bool,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

pub(super) async fn run(args: CheckArgs) -> Result<(), CliError> {
    let overrides = Overrides {
        upstream: args.upstream,
        ca_file: args.ca_file,
        ..Overrides::default()
    };
    let config = load(args.config.as_deref(), &overrides)?;
    ListenerSecurity::new(&config)?;
    let reports = probe_all(&config, args.repository.as_ref()).await?;
    let webhooks = webhooks::check_all(&config.events, args.ping_webhooks).await;
    match args.output {
        Format::Json => output::print_json(&serde_json::json!({ "upstreams": reports, "webhooks": webhooks }))?,
        Format::Table => {
            let texts = reports.iter().map(CheckReport::text);
            let texts: Vec<String> = texts.chain(webhooks.iter().map(WebhookReport::text)).collect();
            output::print(&texts.join("\n"))?;
        }
    }
    if let Some((webhook, problem)) = webhooks
        .iter()
        .find_map(|webhook| Some((webhook, webhook.problem.as_ref()?)))
    {
        return Err(CliError::failed(format!(
            "events.webhooks '{}' ({}): {problem}",
            webhook.name, webhook.url
        )));
    }
    match reports
        .iter()
        .find_map(|report| Some((report, report.problem.as_ref()?)))
    {
        Some((report, problem)) => Err(CliError::failed(format!(
            "upstream '{}' ({}): {problem}",
            report.name, report.url
        ))),
        None => Ok(()),
    }
}

async fn probe_all(config: &Config, repository: Option<&RepositoryName>) -> Result<Vec<CheckReport>, CliError> {
    let mut reports = Vec::new();
    for upstream in &config.upstreams {
        // Of a registry that keeps the links of others, the reports of those say whether it can be read and written.
        let repository = repository.filter(|_| upstream.kept_for_others.is_empty());
        let report = probe(upstream, config, repository).await;
        reports.push(report.map_err(|error| CliError::usage(error.to_string()))?);
    }
    Ok(reports)
}
