//! `refshim man DIR`: the manual, made of the help texts, with what they do not repeat each time.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

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

/// What holds for all of them, in roff.
const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
0
The work is done.
.TP
1
It could not be done: the registry refused, failed, or could not be reached.
.TP
2
Wrong usage or configuration.
.PP
Errors go to standard error, one line each.
"#;
const FILES: &str = r#".SH FILES
.TP
\fI/etc/refshim/refshim.toml\fR
The configuration of the systemd unit. refshim itself reads only the file that \fB\-\-config\fR or \fBREFSHIM_CONFIG\fR names.
.TP
\fI~/.docker/config.json\fR, \fI$XDG_RUNTIME_DIR/containers/auth.json\fR
The logins of 'docker login' and 'podman login', with their credential helpers.
"#;
const ENVIRONMENT: &str = r#".SH ENVIRONMENT
.TP
\fBREFSHIM_CONFIG\fR
The configuration file, where \fB\-\-config\fR names none.
.TP
\fBREFSHIM_UPSTREAM\fR
The URL of the first registry.
.TP
\fBREFSHIM_\fISECTION\fB__\fIKEY\fR
Any key of the configuration: server.listen is \fBREFSHIM_SERVER__LISTEN\fR.
.TP
\fBRUST_LOG\fR
The level of the log, where neither \fB\-\-log\-level\fR nor \fBREFSHIM_LOG__LEVEL\fR is given.
.TP
\fBHTTPS_PROXY\fR, \fBHTTP_PROXY\fR, \fBALL_PROXY\fR, \fBNO_PROXY\fR
Proxies on the way to registries.
.TP
\fBDOCKER_CONFIG\fR, \fBREGISTRY_AUTH_FILE\fR
Where the logins are.
.TP
\fBOTEL_EXPORTER_OTLP_ENDPOINT\fR
The collector of traces, in builds with OpenTelemetry.
.TP
\fBNO_COLOR\fR
No colours.
"#;

pub(super) fn run(args: &ManArgs) -> Result<(), CliError> {
    // 'refshim help' would get a page for every subcommand again.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let pages: Vec<&Command> = std::iter::once(&command).chain(command.get_subcommands()).collect();
    let names: Vec<&str> = pages.iter().map(|page| name(page)).collect();
    for page in &pages {
        write(page, &names, &args.folder).map_err(|error| {
            let folder = args.folder.display();
            CliError::failed(format!(
                "{folder}: manual pages cannot be written: {error}; name an existing folder"
            ))
        })?;
    }
    Ok(())
}

fn name(page: &Command) -> &str {
    page.get_display_name().unwrap_or(page.get_name())
}

fn write(page: &Command, names: &[&str], folder: &Path) -> io::Result<()> {
    let manual = Man::new(page.clone()).source(format!("refshim {}", crate::build_info::VERSION));
    let mut text = Vec::new();
    manual.render(&mut text)?;
    for section in [EXIT_STATUS, FILES, ENVIRONMENT] {
        text.extend_from_slice(section.as_bytes());
    }
    text.extend_from_slice(see_also(name(page), names).as_bytes());
    std::fs::write(folder.join(manual.get_filename()), text)
}

/// The other pages, and those of the programs that are used with it.
fn see_also(own: &str, names: &[&str]) -> String {
    let others = names.iter().filter(|name| **name != own);
    let refer = |name: &str| format!("\\fB{}\\fR(1)", name.replace('-', "\\-"));
    let mut pages: Vec<String> = others.map(|name| refer(name)).collect();
    pages.extend(["docker-login", "cosign", "oras"].map(refer));
    format!(".SH \"SEE ALSO\"\n{}\n", pages.join(",\n"))
}
