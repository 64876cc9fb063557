//! How a subcommand ends badly.

use std::process::ExitCode;

use http::StatusCode;

use crate::config::ConfigErrors;
use crate::oci::ErrorBody;
use crate::registry::Refusal;

/// What is printed on standard error, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CliError {
    /// One line each.
    lines: Vec<String>,
    code: u8,
}

impl CliError {
    /// The work could not be done: exit code 1.
    pub(super) fn failed(line: impl Into<String>) -> Self {
        Self {
            lines: vec![line.into()],
            code: 1,
        }
    }

    /// Wrong usage or configuration: exit code 2.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self {
            lines: vec![line.into()],
            code: 2,
        }
    }

    /// The registry refused to say anything about `what`.
    pub(super) fn refused(what: &str, refusal: &Refusal) -> Self {
        let message = message(&refusal.body);
        let mend = match refusal.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; log in with 'docker login' or as another user",
            _ => "",
        };
        Self::failed(format!(
            "{what}: the registry refused (HTTP {}{message}){mend}",
            refusal.status.as_u16()
        ))
    }

    /// All of it in one line.
    pub(super) fn message(&self) -> String {
        self.lines.join("; ")
    }

    /// Prints the lines and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        for line in &self.lines {
            eprintln!("refshim: {}", super::output::printable(line));
        }
        ExitCode::from(self.code)
    }
}

impl From<ConfigErrors> for CliError {
    fn from(errors: ConfigErrors) -> Self {
        Self {
            lines: errors.0.iter().map(ToString::to_string).collect(),
            code: 2,
        }
    }
}

/// `: CODE message` of an OCI error body.
fn message(body: &[u8]) -> String {
    let stated = ErrorBody::parse(body);
    let error = stated.as_ref().and_then(ErrorBody::first);
    error.map_or_else(String::new, |error| {
        format!(": {} {}", error.code, error.message).trim_end().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistryResponse;

    #[test]
    fn a_refusal_is_told_in_the_registrys_words() {
        let refusal = Refusal::from(RegistryResponse {
            status: StatusCode::FORBIDDEN,
            headers: http::HeaderMap::new(),
            body: r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#.into(),
        });
        let failure = CliError::refused("ghcr.io/a/b", &refusal);
        assert_eq!(
            failure.lines,
            [
                "ghcr.io/a/b: the registry refused (HTTP 403: DENIED requested access is denied); \
              log in with 'docker login' or as another user"
            ]
        );
        assert_eq!(message(b"<html>"), "");
    }
}
