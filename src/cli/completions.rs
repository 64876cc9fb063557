//! `refshim completions SHELL`: what makes a shell complete the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::error::CliError;
use super::{Cli, output};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(refshim completions bash)                # this shell only
  refshim completions bash > ~/.local/share/bash-completion/completions/refshim
  refshim completions zsh > ~/.zfunc/_refshim       # a folder of $fpath
  refshim completions fish > ~/.config/fish/completions/refshim.fish")]
pub(super) struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "refshim", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
