//! The command line: one file per subcommand, parsed once into one enum.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. Errors go to standard error, one line each: what is wrong and
//! how to mend it.

mod assembly;
mod audit;
mod check;
mod completions;
mod copy;
mod demo;
mod error;
mod gc;
mod login;
mod loops;
mod man;
mod materialize;
mod other_repository;
mod output;
mod progress;
mod put;
mod read_settings;
mod referrers;
mod reload;
mod serve;
mod session;
mod target;
mod tree;
mod users;
mod warming;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::target::TargetReference;
}

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::build_info;
use error::CliError;

/// The configuration file, where the flag does not name one.
const CONFIG_VARIABLE: &str = "REFSHIM_CONFIG";

/// Adds the referrers API to registries that lack it: a proxy in front of legacy OCI registries that answers requests for referrers
/// from the links that it finds in tags, annotations and manifests.
#[derive(Debug, Parser)]
#[command(name = "refshim", version = build_info::description(), arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  refshim demo                                      # see what it does, without a registry
  refshim serve --upstream https://ghcr.io          # the proxy, on 127.0.0.1:5100
  refshim tree ghcr.io/sigstore/cosign/cosign:v2.4.1    # what refers to an image, on any registry

'refshim help SUBCOMMAND' describes a subcommand. The format of --output json is stable: see docs/cli.md.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Referrers(referrers::ReferrersArgs),
    Tree(tree::TreeArgs),
    Copy(Box<copy::CopyArgs>),
    Audit(Box<audit::AuditArgs>),
    Materialize(materialize::MaterializeArgs),
    Gc(gc::GcArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("the system gives refshim no threads: {error}")))
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Referrers(args) => referrers::run(args).await,
        Command::Tree(args) => tree::run(args).await,
        Command::Copy(args) => copy::run(*args).await,
        Command::Audit(args) => audit::run(*args).await,
        Command::Materialize(args) => materialize::run(args).await,
        Command::Gc(args) => gc::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Prints help where that was asked for; otherwise the first paragraph of clap's message, in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is left to tell when standard output is closed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let message = error.to_string();
            let paragraph = message.lines().take_while(|line| !line.trim().is_empty());
            let line: Vec<&str> = paragraph.map(str::trim).collect();
            let line = line.join(" ");
            let problem = line.strip_prefix("error: ").unwrap_or(&line);
            let meant = meant(error)
                .map(|meant| format!("; did you mean '{meant}'?"))
                .unwrap_or_default();
            CliError::usage(format!("{problem}{meant}; see '{}'", help_of(std::env::args().skip(1)))).report()
        }
    }
}

/// What clap suggests in place of what it does not know.
fn meant(error: &clap::Error) -> Option<&str> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.as_str()),
        ContextValue::Strings(all) => all.last().map(String::as_str),
        _ => None,
    })
}

/// The command that explains the subcommand among these arguments.
fn help_of(mut arguments: impl Iterator<Item = String>) -> String {
    let command = Cli::command();
    let subcommand = arguments.find_map(|argument| Some(command.find_subcommand(argument)?.get_name().to_owned()));
    match subcommand {
        Some(name) => format!("refshim help {name}"),
        None => "refshim help".to_owned(),
    }
}
