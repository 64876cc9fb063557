//! What is to be audited: images, repositories, and all repositories of a registry whose names begin alike.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use url::Url;

use crate::cli::error::CliError;
use crate::cli::target::{TargetReference, registry_and_path};

/// Largest list of references that is read, in bytes.
const LONGEST_LIST: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuditTarget {
    /// With a tag or a digest.
    Image(TargetReference),
    Repository(TargetReference),
    Prefix(NamePrefix),
}

/// All repositories of a registry whose names begin like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePrefix {
    pub(super) registry: Url,
    /// Host and port as written: the key of its credentials.
    pub(super) host: String,
    pub(super) prefix: String,
}

impl FromStr for AuditTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = match text.strip_suffix('*') {
            Some(before) => Some(before),
            None => text.strip_suffix('/').map(|_| text),
        };
        if let Some(prefix) = prefix {
            let (registry, host, prefix) = registry_and_path(prefix)?;
            return Ok(Self::Prefix(NamePrefix { registry, host, prefix }));
        }
        let target: TargetReference = text.parse()?;
        Ok(match target.is_bare {
            true => Self::Repository(target),
            false => Self::Image(target),
        })
    }
}

impl fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(target) => target.fmt(f),
            Self::Repository(target) => f.write_str(&target.repository()),
            Self::Prefix(prefix) => write!(f, "{}/{}*", prefix.host, prefix.prefix),
        }
    }
}

/// The targets in a file, one a line; `-` is standard input. Empty lines, and what follows a `#`, are left out.
pub(super) fn from_file(file: &Path) -> Result<Vec<AuditTarget>, CliError> {
    let name = file.display();
    let failed = |error: std::io::Error| CliError::usage(format!("--from-file {name}: {error}"));
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(LONGEST_LIST + 1).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|open| open.take(LONGEST_LIST + 1).read_to_string(&mut text)),
    };
    let length = read.map_err(failed)?;
    if length as u64 > LONGEST_LIST {
        return Err(CliError::usage(format!(
            "--from-file {name}: it is larger than {LONGEST_LIST} bytes"
        )));
    }
    let mut targets = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let target = line.split('#').next().unwrap_or_default().trim();
        if !target.is_empty() {
            let target = target.parse();
            targets.push(target.map_err(|problem: String| {
                CliError::usage(format!("--from-file {name}, line {}: {problem}", number + 1))
            })?);
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn prefixes_repositories_and_images_are_told_apart() {
        let kind = |text: &str| match text.parse::<AuditTarget>().unwrap() {
            AuditTarget::Image(_) => "image".to_owned(),
            AuditTarget::Repository(_) => "repository".to_owned(),
            AuditTarget::Prefix(prefix) => format!("{}{}", prefix.registry, prefix.prefix),
        };
        for (text, expected) in [
            ("ghcr.io/o/app:v1", "image"),
            ("ghcr.io/o/app", "repository"),
            ("ghcr.io/o/", "https://ghcr.io/o/"),
            ("ghcr.io/o/a*", "https://ghcr.io/o/a"),
            ("127.0.0.1:5000/", "http://127.0.0.1:5000/"),
            ("127.0.0.1:5000/*", "http://127.0.0.1:5000/"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        for text in ["", "*", "/", "app/", "ghcr.io/UPPER", "o/app:v1"] {
            assert!(text.parse::<AuditTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_one_target_a_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "# images\n\nghcr.io/o/app:v1  # signed\nghcr.io/o/other\n").unwrap();
        assert_eq!(from_file(file.path()).unwrap().len(), 2);
        writeln!(file, "nonsense").unwrap();
        let problem = from_file(file.path()).unwrap_err().message();
        assert!(problem.contains("line 5: 'nonsense' is not a reference"), "{problem}");
    }
}
