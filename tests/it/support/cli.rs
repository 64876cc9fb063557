//! The subcommands that do one thing and end.

use serde_json::Value;
use tokio::process::Command;

use super::Tools;

/// What a run ended with.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// What was printed, once it is sure that the run was a success.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }

    /// The one line on standard error, once it is sure that the run ended with `code`.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.stderr
    }
}

/// Runs `refshim …` without anybody's settings or credentials.
pub async fn refshim(arguments: &[&str]) -> Ended {
    run(arguments, &mut program()).await
}

/// Runs `refshim …` with these variables alone.
pub async fn refshim_in(environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut program = program();
    program.envs(environment.iter().copied());
    run(arguments, &mut program).await
}

/// Runs `refshim …` as somebody whose home, with the logins and helpers in it, is the tools' folder.
pub async fn refshim_of(tools: &Tools, arguments: &[&str]) -> Ended {
    let mut program = program();
    program.env("HOME", tools.folder()).env("PATH", tools.folder());
    run(arguments, &mut program).await
}

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_refshim"));
    program.env_clear().kill_on_drop(true);
    program
}

async fn run(arguments: &[&str], program: &mut Command) -> Ended {
    let run = program.args(arguments).output();
    let output = super::within(&format!("refshim {arguments:?}"), run).await;
    let output = output.expect("refshim runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
