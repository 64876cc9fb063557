//! `refshim gc`: link tags that lead nowhere, and what must stay.

mod delete;
pub(super) mod judge;
mod keep;
mod mend;
pub(super) mod read;
mod report;
pub(super) mod snapshot;
mod subjects;

use std::path::PathBuf;

use super::error::CliError;
use super::other_repository::OtherRepository;
use super::output::{self, Format};
use super::session::{Purpose, Session};
use super::target::TargetReference;
use delete::Deletion;
pub(super) use read::must_see_all_tags;
use report::{GcReport, KeepList};

/// Find link tags whose subject or target is gone, and, with --delete, delete them and remove gone entries from referrers tags.
///
/// Considers Proposal D tags, cosign's tags, referrers tags and envelopes only; it never touches ordinary tags. It is a dry run unless
/// --delete is given. If anything cannot be read, it stops, and keeps what is not known to be dead. Run it against the registry itself, not
/// against a refshim that hides link tags. A subject is alive while the registry holds its digest, tagged or not, so run the registry's own
/// garbage collection first to remove the referrers of untagged images too.
///
/// If the registry cannot delete a tag without its manifest, gc deletes the manifest, but only if no other tag points at it and no tagged
/// image needs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim gc ghcr.io/o/app                    # dry run: dead link tags, and why they are dead
  refshim gc 127.0.0.1:5000/app --delete
  refshim gc ghcr.io/o/app --keep-list        # every digest that tagged images need, their signatures included

The keep list is for other cleanup tools, which would delete signatures and attestations as untagged manifests: let them delete
nothing that it lists. Platforms of a tagged index that the registry does not hold (a copy of some platforms only) are named on standard
error.")]
pub(super) struct GcArgs {
    /// The repository, host[:port]/name. Loopback hosts are contacted without TLS unless https:// is written.
    #[arg(value_name = "REPO", value_parser = repository)]
    target: TargetReference,
    /// Delete dead link tags and mend referrers tags.
    #[arg(long, conflicts_with_all = ["dry_run", "keep_list"])]
    delete: bool,
    /// Only print what is dead (default).
    #[arg(long)]
    dry_run: bool,
    /// Print every digest that tagged images need, one per line, sorted: the images with everything that they list, their referrers, and the
    /// manifests behind link tags.
    #[arg(long)]
    keep_list: bool,
    /// A repository in which subjects are looked for, too: the images' own, where REPO is the one that keeps their links (links.repository). Of another
    /// registry, it is written with its port or scheme: https://ghcr.io/o/app.
    #[arg(long, value_name = "NAME|REPO")]
    subjects_in: Option<OtherRepository>,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

fn repository(text: &str) -> Result<TargetReference, String> {
    let target: TargetReference = text.parse()?;
    match target.is_bare {
        true => Ok(target),
        false => Err(format!(
            "'{text}' is one image: name the repository, {}",
            target.repository()
        )),
    }
}

pub(super) async fn run(args: GcArgs) -> Result<(), CliError> {
    let session = Session::open(Purpose::whole(args.target, args.ca_file.clone())).await?;
    let is_told_of_images = args.subjects_in.is_some();
    let images = match &args.subjects_in {
        Some(other) => Some(other.open(&session, args.ca_file).await?),
        None => None,
    };
    let session = session.with_subjects_in(images);
    must_see_all_tags(&session).await?;
    let snapshot = read::snapshot(&session).await?;
    if args.keep_list {
        let list = KeepList::new(session.name(), read::needed(&session, &snapshot).await?);
        list.warn();
        return match args.output {
            Format::Json => output::print_json(&list),
            Format::Table => output::print(&list.text()),
        };
    }
    let exists = read::existing(&session, judge::questions(&snapshot)).await?;
    let verdict = judge::judge(&snapshot, &exists);
    if args.delete && !is_told_of_images && judge::keeps_links_alone(&snapshot, &verdict) {
        return Err(CliError::failed(format!(
            "{}: it holds link tags alone, and none of their subjects: if it keeps the links of another repository (links.repository), name that with --subjects-in NAME; else its own, to delete them all",
            session.name()
        )));
    }
    let (outcomes, ended) = match args.delete {
        true => {
            if !verdict.dead.is_empty() || !verdict.stale.is_empty() {
                read::settle().await;
            }
            let deletion = Deletion::new(&session, &snapshot, &verdict, &exists);
            let (mut outcomes, mut ended) = deletion.run().await;
            for stale in &verdict.stale {
                if ended.is_ok() {
                    ended = mend::mend(&session, stale).await.map(|outcome| outcomes.push(outcome));
                }
            }
            (Some(outcomes), ended)
        }
        false => (None, Ok(())),
    };
    let report = GcReport::new(session.name(), &verdict, outcomes.as_deref());
    match args.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.text())?,
    }
    ended?;
    let name = session.name();
    match (report.staying(), report.unmended()) {
        (0, 0) => Ok(()),
        (0, unmended) => Err(CliError::failed(format!(
            "{name}: {unmended} referrers tags could not be written without what is gone"
        ))),
        (staying, _) => Err(CliError::failed(format!(
            "{name}: {staying} dead link tags could not be deleted"
        ))),
    }
}
