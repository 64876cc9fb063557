//! `refshim copy`: images between registries and OCI image layouts, with everything that refers to them.

mod compare;
mod content;
mod destination;
mod graph;
mod images;
mod layout;
mod layout_destination;
mod layout_links;
mod node;
mod reference;
mod registry_destination;
mod report;
mod source;
mod transfer;

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::oci::{Reference, Tag};
use crate::registry::RawManifest;

use super::error::CliError;
use super::output::{self, Format};
use super::session::DepthFlag;
use compare::{Moment, missing};
use destination::CopyDestination;
use images::TagPattern;
use reference::CopyReference;
use report::CopyReport;
use source::{CopySource, RegistryAccess};
use transfer::{Copier, CopyOptions};

/// Copy images with all their platforms, signatures, attestations and SBOMs.
///
/// Finds everything that refers to an image, in every dialect and recursively, and copies it along, byte for byte: digests do not change, so
/// signatures stay valid. Links are written in the destination's dialect. What is there already is skipped, and the image's tag is written
/// last, so that an interrupted copy can be repeated and never shows an image without its signatures. If anything of the source cannot be
/// read with certainty, nothing is copied. In the end the destination is read again: exit code 0 says that everything is there.
///
/// A tag that points elsewhere at the destination is replaced only with --force or --sync. Nothing is ever deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim copy ghcr.io/o/app:v1 registry.example/o/app:v1
  refshim copy ghcr.io/o/app:v1 oci:./app                      # to an OCI image layout, which oras, skopeo and regctl read
  refshim copy oci:./app:v1 registry.example/o/app             # and from there
  refshim copy --tags 'v1\\..*' ghcr.io/o/app registry.example/o/app
  refshim copy --sync ghcr.io/o/app registry.example/o/app     # all tags, now and from time to time
  refshim copy --dry-run --output json ghcr.io/o/app:v1 registry.example/o/app")]
pub(super) struct CopyArgs {
    /// The image, or with --all-tags, --tags or --sync the repository: [http://|https://]host[:port]/name[:tag][@digest], or
    /// oci:path[:tag][@digest] for an OCI image layout. Loopback hosts are contacted without TLS unless https:// is written.
    #[arg(value_name = "SRC")]
    source: CopyReference,
    /// Where it goes, in the same form. Without a tag it gets the source's.
    #[arg(value_name = "DST")]
    destination: CopyReference,
    /// Copy all tags of the repository, and images without a tag to which links lead.
    #[arg(long, conflicts_with = "tags")]
    all_tags: bool,
    /// Copy the tags that match this regular expression as a whole.
    #[arg(long, value_name = "REGEX")]
    tags: Option<TagPattern>,
    /// Copy all tags, or those of --tags, and replace those that point elsewhere at the destination.
    #[arg(long)]
    sync: bool,
    /// Replace tags that point elsewhere at the destination.
    #[arg(long)]
    force: bool,
    /// The dialect of links at the destination. Without it: its referrers API where it has one, otherwise Proposal D tags and referrers tags.
    #[arg(long = "as", value_enum, value_name = "DIALECT")]
    form: Option<CopyForm>,
    /// Only print what would be copied.
    #[arg(long)]
    dry_run: bool,
    /// Where to look for links at the source: only in tags that begin with the subject's digest (names), or also in the manifests behind all
    /// other tags (manifests).
    #[arg(long, value_enum, default_value = "auto")]
    depth: DepthFlag,
    /// Number of blobs that are copied at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the source's own.
    #[arg(long, value_name = "FILE")]
    source_ca_file: Option<PathBuf>,
    /// The same for the destination.
    #[arg(long, value_name = "FILE")]
    destination_ca_file: Option<PathBuf>,
    /// Hosts on private addresses to which redirects are followed, such as the storage of a registry of your own.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    redirect_hosts: Vec<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// What links are written as at a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CopyForm {
    /// Nothing but the manifests, which the registry's referrers API lists.
    Api,
    /// An index of all referrers under the tag <alg>-<hex>.
    ReferrersTag,
    /// A tag <alg>-<ref>.<hash>.<type> for each referrer.
    ProposalD,
}

pub(super) async fn run(args: CopyArgs) -> Result<(), CliError> {
    let is_whole = args.all_tags || args.sync || args.tags.is_some();
    check(&args, is_whole)?;
    let source = CopySource::open(
        &args.source,
        access(&args, args.source_ca_file.as_ref()),
        args.depth.into(),
    )
    .await?;
    let destination = open_destination(&args, &source).await?;
    let options = CopyOptions {
        replaces: args.force || args.sync,
        dry_run: args.dry_run,
        parallel: args.parallel.into(),
    };
    let mut copier = Copier::new(&source, destination, options);
    let images = match is_whole {
        true => images::all(&source, args.tags.as_ref(), &mut copier).await?,
        false => {
            let (raw, tag) = images::one(&source, &args.source).await?;
            let tag = destination_tag(&args.destination, &raw, tag)?;
            vec![copier.copy(raw, tag).await?]
        }
    };
    copier.end().await;
    let lacking = match args.dry_run {
        true => None,
        false => Some(prove(&args, &source, &copier).await?),
    };
    let mut report = CopyReport {
        source: args.source.to_string(),
        destination: args.destination.to_string(),
        form: args.form,
        dry_run: args.dry_run,
        complete: None,
        images,
    };
    let problem = lacking
        .as_ref()
        .and_then(|lacking| lacking.clone())
        .or(report.problem().map(str::to_owned));
    report.complete = lacking.map(|_| problem.is_none());
    match args.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.text())?,
    }
    match problem {
        None => Ok(()),
        Some(problem) => Err(CliError::failed(format!("{}: {problem}", args.destination))),
    }
}

fn check(args: &CopyArgs, is_whole: bool) -> Result<(), CliError> {
    if is_whole && (args.source.reference().is_some() || args.destination.reference().is_some()) {
        let problem = "leave out tag and digest: --all-tags, --tags and --sync copy from repository to repository";
        return Err(CliError::usage(problem));
    }
    if args.form.is_some() && matches!(args.destination, CopyReference::Layout(_)) {
        return Err(CliError::usage(
            "leave out --as: an OCI image layout always has all links that its clients read",
        ));
    }
    Ok(())
}

fn access<'a>(args: &'a CopyArgs, ca_file: Option<&'a PathBuf>) -> RegistryAccess<'a> {
    RegistryAccess {
        ca_file,
        redirect_hosts: &args.redirect_hosts,
    }
}

async fn open_destination(args: &CopyArgs, source: &CopySource) -> Result<CopyDestination, CliError> {
    let access = access(args, args.destination_ca_file.as_ref());
    CopyDestination::open(&args.destination, access, args.form, source).await
}

/// The tag that the image gets.
fn destination_tag(
    destination: &CopyReference,
    raw: &RawManifest,
    sources: Option<Tag>,
) -> Result<Option<Tag>, CliError> {
    match destination.reference() {
        None => Ok(sources),
        Some(Reference::Tag(tag)) => Ok(Some(tag.clone())),
        Some(Reference::Digest(digest)) if *digest == raw.digest => Ok(None),
        Some(Reference::Digest(_)) => {
            let problem = format!("the image is {}, which no copy changes", raw.digest);
            Err(CliError::usage(format!("{destination}: {problem}")))
        }
    }
}

/// Reads again, remembering nothing, what was written. Returns what is missing, in words.
async fn prove(args: &CopyArgs, source: &CopySource, copier: &Copier<'_>) -> Result<Option<String>, CliError> {
    let written = copier.written();
    if written.is_empty() {
        return Ok(None);
    }
    let destination = open_destination(args, source).await?;
    let lacking = missing(&destination, written, None, Moment::After).await?.content;
    let first = lacking.first();
    Ok(first.map(|first| format!("it was copied, but the destination does not show {first}: run it again")))
}
