//! `refshim man DIR`: the manual, made of the help texts.

use std::path::PathBuf;

use clap::CommandFactory as _;

use super::Cli;
use super::error::CliError;

/// Write manual pages into a folder: refshim.1 and one for each subcommand.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  refshim man ~/.local/share/man/man1 && man refshim-tree")]
pub(super) struct ManArgs {
    /// An existing folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: &ManArgs) -> Result<(), CliError> {
    // 'refshim help' would get a page for every subcommand again.
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &args.folder).map_err(|error| {
        let folder = args.folder.display();
        CliError::failed(format!(
            "{folder}: manual pages cannot be written: {error}; name an existing folder"
        ))
    })
}
