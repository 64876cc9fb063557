//! `refshim materialize`: writes what was found in one dialect down in another.

mod apply;
mod gather;
mod plan;
mod prune;
mod relocate;
mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::referrers::Subjects;

use super::error::CliError;
use super::gc::must_see_all_tags;
use super::other_repository::OtherRepository;
use super::output::{self, Format};
use super::session::{Purpose, Session};
use super::target::TargetReference;
use gather::Gather;
use relocate::Relocation;
use report::{MaterializeOutcomes, MaterializeReport};

/// Write links in another dialect, to move away from cosign's tags or between registries with and without refshim.
///
/// Finds the links of a repository (or of one image) in all dialects, and adds those that are missing as Proposal D tags or as OCI 1.1
/// referrers tags. It deletes nothing without --prune, and a second run finds nothing to do. It is a dry run unless --apply is given. If anything
/// cannot be read, it writes nothing.
///
/// A referrer that does not name its subject (cosign's tags, BuildKit) is stored once more in the form in which refshim lists it, which does.
/// What was signed does not change, so signatures stay valid.
///
/// proposal-d: a tag <alg>-<ref>.<hash>.<type> on each referrer. refshim itself writes
/// these tags on a push; clients find them by name, and they protect the referrers from the registry's garbage collection.
///
/// referrers-tag: one index of all referrers under the tag <alg>-<hex>, which OCI 1.1 clients read from a registry that has no referrers
/// API, with refshim or without. With --prune, the Proposal D tags whose links it holds then go, where the registry can delete a tag without its
/// manifest: that leaves the fewest tags.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
To move away from cosign's tags (sha256-….sig):
  refshim materialize ghcr.io/o/app --as referrers-tag           # dry run
  refshim materialize ghcr.io/o/app --as referrers-tag --apply
  cosign verify --experimental-oci11 --new-bundle-format=false … # verifies older signatures by the referrers tag

To need no refshim, with the fewest tags:
  refshim materialize ghcr.io/o/app --as referrers-tag --prune --apply

To keep links in a repository beside the images (links.repository), or to bring them back:
  refshim materialize ghcr.io/o/app --to-repository o/app.refs           # dry run
  refshim materialize ghcr.io/o/app --to-repository o/app.refs --apply --prune
  refshim materialize ghcr.io/o/app.refs --to-repository o/app --apply

Other examples:
  refshim materialize ghcr.io/o/app:v1 --as proposal-d --apply   # one image only
  refshim materialize http://127.0.0.1:5100/app --as referrers-tag --apply   # through refshim
  refshim materialize ghcr.io/o/app --as proposal-d --output json | jq '.subjects[].writes[].tag'")]
pub(super) struct MaterializeArgs {
    /// A repository with all its images, host[:port]/name, or one image, host[:port]/name[:tag][@digest]. Loopback hosts are contacted
    /// without TLS unless https:// is written.
    #[arg(value_name = "REPO|REF")]
    target: TargetReference,
    /// The dialect to write.
    #[arg(
        long = "as",
        value_enum,
        value_name = "DIALECT",
        required_unless_present = "to_repository"
    )]
    form: Option<As>,
    /// Bring the links, as they are and with what they lead to, into this repository: the one that links.repository keeps them in, or from there back
    /// to the images. Of another registry, it is written with its port or scheme: https://links.example/o/app.
    #[arg(long, value_name = "NAME|REPO", conflicts_with = "form")]
    to_repository: Option<OtherRepository>,
    /// Write the links; without it, print what would be written.
    #[arg(long, conflicts_with = "dry_run")]
    apply: bool,
    /// Only print what would be written (default).
    #[arg(long)]
    dry_run: bool,
    /// With --as referrers-tag: also remove the Proposal D tags whose links the referrers tag holds. With --to-repository: also remove the link tags that
    /// the other repository has. Whether the registry deletes a tag without its
    /// manifest is tried first, on an empty index of refshim's own; where it does not, no tag is removed.
    #[arg(long)]
    prune: bool,
    /// Certificates (PEM) to trust instead of the system's, of authorities or the registry's own.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// What links can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum As {
    /// An index of all referrers under the tag <alg>-<hex>.
    ReferrersTag,
    /// A tag <alg>-<ref>.<hash>.<type> for each referrer.
    ProposalD,
}

impl As {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReferrersTag => "referrers-tag",
            Self::ProposalD => "proposal-d",
        }
    }
}

pub(super) async fn run(args: MaterializeArgs) -> Result<(), CliError> {
    if args.prune && args.form == Some(As::ProposalD) {
        return Err(CliError::usage("--prune needs --as referrers-tag or --to-repository"));
    }
    let session = Session::open(Purpose::whole(args.target, args.ca_file.clone())).await?;
    if args.prune {
        must_see_all_tags(&session).await?;
    }
    let subjects = subjects(&session).await?;
    let Some(form) = args.form else {
        let Some(to) = &args.to_repository else {
            return Err(CliError::usage("give --as or --to-repository"));
        };
        let relocation = Relocation {
            session: &session,
            to: &to.open(&session, args.ca_file).await?,
            applies: args.apply,
            prunes: args.prune,
        };
        return relocation.run(subjects.digests, args.output).await;
    };
    let gather = Gather::new(&session, form, args.prune).await?;
    let plans = gather.plans(subjects.digests).await?;
    let outcomes = match args.apply {
        true => Some(MaterializeOutcomes {
            writes: apply::apply(&session, &plans).await?,
            removals: prune::prune(&session, &plans).await?,
        }),
        false => None,
    };
    let report = MaterializeReport::new(session.name(), form, &plans, outcomes.as_ref(), &subjects.unclear);
    match args.output {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.text())?,
    }
    match (report.failed(), report.staying()) {
        (0, 0) => Ok(()),
        (0, staying) => Err(CliError::failed(format!(
            "{}: {staying} Proposal D tags could not be removed; what is written stays",
            report.reference
        ))),
        (failed, _) => Err(CliError::failed(format!(
            "{}: {failed} tags could not be written; run it again, what is written stays",
            report.reference
        ))),
    }
}

/// The one that was asked for, or all of the repository.
async fn subjects(session: &Session) -> Result<Subjects, CliError> {
    if !session.target().is_bare {
        return Ok(Subjects {
            digests: BTreeSet::from([session.subject().await?]),
            unclear: BTreeSet::new(),
        });
    }
    let found = session
        .resolver()
        .subjects(session.repository(), session.caller())
        .await;
    found
        .map_err(|error| session.not_resolved(&error))?
        .ok_or_else(|| session.no_repository())
}
