//! `refshim audit`: which images have a signature, an SBOM, a provenance, and which of the links to these are broken.

mod content;
mod csv;
mod evidence;
mod faults;
mod findings;
mod images;
mod json;
mod left_out;
mod link_faults;
mod report;
mod repository;
mod requirement;
mod sarif;
mod survey;
mod table;
mod tags;
mod target;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::config::Depth;
use crate::registry::RequestAllowance;

use super::error::CliError;
use super::output;
use super::read_settings::ReadSettings;
use evidence::EvidenceKind;
use findings::RepositoryAudit;
use json::JsonReport;
use report::{AuditReport, PlannedAudit, RequestCount};
use repository::AuditDepth;
use requirement::Requirement;
use survey::{Survey, SurveyedRepository};
use target::AuditTarget;

/// Tell which images have a signature, an SBOM and a provenance, since when, and in which dialects.
///
/// Audits images, repositories with all their tags, and all repositories of a registry whose names begin alike. Names links that no OCI 1.1
/// client finds without refshim, broken ones (their subject, manifest or blobs are gone, or an index describes them wrongly), and artifacts
/// that are attached twice. Nothing is verified: whether a signature is valid is for cosign or notation to say.
///
/// What could not be established, say because a listing failed, is UNKNOWN, and the exit code is 1: an image is never called unsigned
/// because the registry did not answer. With --require, the exit code is also 1 where something required is missing.
///
/// An index has what refers to itself; an SBOM or a provenance it also has where each of its platforms has one, as BuildKit attaches them. A
/// signature must be that of the index, since clients look for it at the digest that the tag points at.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim audit ghcr.io/o/app                           # every tag of a repository
  refshim audit ghcr.io/o/app:v1 --require signature,sbom
  refshim audit --dry-run 127.0.0.1:5000/team/          # what all repositories below team/ would cost
  refshim audit --rate 10 --max-requests 5000 127.0.0.1:5000/
  kubectl get pods -A -o jsonpath='{..imageID}' | tr ' ' '\\n' | sort -u |
    refshim audit --from-file - --depth names --require signature
  refshim audit --output sarif --require signature ghcr.io/o/app > audit.sarif

'refshim audit' asks the registry itself. In front of a refshim it sees what that lists, but not how the links are written down.")]
pub(super) struct AuditArgs {
    /// An image (host[:port]/name:tag or …@digest), a repository (host[:port]/name), or all repositories whose names begin so: host/,
    /// host/team/ or 'host/team*'. Loopback hosts are contacted without TLS unless https:// is written.
    #[arg(value_name = "REF|REPO|PREFIX", required_unless_present = "from_file")]
    targets: Vec<AuditTarget>,
    /// Audit what this file names too, one a line; - is standard input. Empty lines and what follows a # are left out.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// What every image must have.
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    require: Vec<EvidenceKind>,
    /// Every platform of an image must have what is required itself; an index must also be signed itself.
    #[arg(long)]
    each_platform: bool,
    /// Where to look for links to images that are named: in the manifests behind all tags of their repositories (manifests), or only in
    /// tags that begin with the image's digest and in the registry's own API (names). Repositories are read whole.
    #[arg(long, value_enum, default_value = "manifests")]
    depth: AuditDepthFlag,
    /// Do not ask whether the blobs of signatures, SBOMs and attestations are there.
    #[arg(long)]
    skip_blobs: bool,
    /// Make at most so many requests a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Make at most so many requests altogether. What is not established by then is unknown.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests: Option<u64>,
    /// Only list the tags, and print what auditing them would cost.
    #[arg(long)]
    dry_run: bool,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Hosts on private addresses to which redirects are followed, such as the storage of a registry of your own.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    redirect_hosts: Vec<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: AuditFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditDepthFlag {
    Names,
    Manifests,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditFormat {
    /// For people.
    Table,
    /// JSON for programs; later versions add fields and change none.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// A row for each image and each platform.
    Csv,
}

pub(super) async fn run(args: AuditArgs) -> Result<(), CliError> {
    let mut targets = args.targets.clone();
    if let Some(file) = &args.from_file {
        targets.extend(target::from_file(file)?);
    }
    if targets.is_empty() {
        return Err(CliError::usage(
            "there is nothing to audit: name an image, a repository or a prefix",
        ));
    }
    if args.dry_run && matches!(args.output, AuditFormat::Sarif | AuditFormat::Csv) {
        return Err(CliError::usage("--dry-run prints a table, or JSON with --output json"));
    }
    let by_names = args.depth == AuditDepthFlag::Names;
    if let (true, Some(whole)) = (
        by_names,
        targets.iter().find(|target| !matches!(target, AuditTarget::Image(_))),
    ) {
        return Err(CliError::usage(format!(
            "{whole}: leave out --depth names: all tags of a repository are read, whatever their names"
        )));
    }
    let depth = AuditDepth {
        by_names,
        checks_blobs: !args.skip_blobs,
    };
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let allowance = RequestAllowance::new(args.rate, args.max_requests);
    let mut survey = Survey::new(settings(&args, &allowance));
    let surveyed = survey.list(targets).await?;
    let planned = PlannedAudit::new(&surveyed, depth, allowance.made());
    if args.dry_run {
        return print_plan(&args, &planned);
    }
    eprintln!("refshim: {}", planned.statement());
    let mut repositories = Vec::new();
    for repository in surveyed {
        repositories.push(audit(repository, depth).await);
    }
    let report = AuditReport {
        targets: names,
        requirement: Requirement {
            kinds: args.require.iter().copied().collect(),
            each_platform: args.each_platform,
        },
        requests: RequestCount {
            estimated: planned.requests(),
            made: allowance.made(),
        },
        repositories,
    };
    match args.output {
        AuditFormat::Table => output::print(&table::print(&report))?,
        AuditFormat::Json => output::print_json(&JsonReport::new(&report))?,
        AuditFormat::Sarif => output::print_json(&sarif::log(&report))?,
        AuditFormat::Csv => output::print(&csv::print(&report))?,
    }
    match report.problem() {
        None => Ok(()),
        Some(problem) => Err(CliError::failed(problem)),
    }
}

fn settings(args: &AuditArgs, allowance: &RequestAllowance) -> ReadSettings {
    let mut settings = ReadSettings::whole(args.ca_file.clone());
    settings.redirect_hosts = args.redirect_hosts.iter().cloned().collect();
    settings.allowance = allowance.clone();
    settings.depth = match args.depth {
        AuditDepthFlag::Names => Depth::Names,
        AuditDepthFlag::Manifests => Depth::Manifests,
    };
    settings
}

fn print_plan(args: &AuditArgs, planned: &PlannedAudit) -> Result<(), CliError> {
    match args.output {
        AuditFormat::Json => output::print_json(planned)?,
        AuditFormat::Table | AuditFormat::Sarif | AuditFormat::Csv => output::print(&planned.text())?,
    }
    match planned.problem() {
        None => Ok(()),
        Some(problem) => Err(CliError::failed(problem)),
    }
}

async fn audit(surveyed: SurveyedRepository, depth: AuditDepth) -> RepositoryAudit {
    match surveyed.listed {
        Ok(listed) => listed.audit(&surveyed.scope, depth).await,
        Err(error) => RepositoryAudit {
            name: surveyed.name,
            by_names: depth.by_names,
            images: images::unread(&surveyed.scope, &error.message()),
            problems: vec![error.message()],
            ..RepositoryAudit::default()
        },
    }
}
