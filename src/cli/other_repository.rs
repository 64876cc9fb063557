//! `NAME` of a repository besides the one that a command is about: in the same registry, or written with the port or scheme of another.

use std::path::PathBuf;
use std::str::FromStr;

use crate::oci::RepositoryName;

use super::error::CliError;
use super::session::{Purpose, Session};
use super::target::TargetReference;

/// The repository that keeps the links of another, or whose links that keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OtherRepository {
    SameRegistry(RepositoryName),
    Elsewhere(Box<TargetReference>),
}

impl FromStr for OtherRepository {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Names of repositories have no colon.
        if !text.contains(':') {
            let name = RepositoryName::parse(text).map_err(|error| error.to_string())?;
            return Ok(Self::SameRegistry(name));
        }
        let target: TargetReference = text.parse()?;
        match target.is_bare {
            true => Ok(Self::Elsewhere(Box::new(target))),
            false => Err(format!(
                "'{text}' is one image: name the repository, {}",
                target.repository()
            )),
        }
    }
}

impl OtherRepository {
    /// A session about it, for a command that is about another. Logs in where it is in another registry.
    pub(super) async fn open(&self, session: &Session, ca_file: Option<PathBuf>) -> Result<Session, CliError> {
        match self {
            Self::SameRegistry(name) => Ok(session.in_repository(name)),
            Self::Elsewhere(target) => Session::open(Purpose::whole(TargetReference::clone(target), ca_file)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_registry_is_told_by_its_port_or_scheme() {
        let parse = |text: &str| text.parse::<OtherRepository>();
        for name in ["o/app.refs", "links.example/o/app", "localhost/app"] {
            assert!(matches!(parse(name), Ok(OtherRepository::SameRegistry(_))), "{name}");
        }
        for target in [
            "127.0.0.1:5000/o/app",
            "https://links.example/o/app",
            "http://localhost/app",
        ] {
            assert!(matches!(parse(target), Ok(OtherRepository::Elsewhere(_))), "{target}");
        }
        for wrong in [
            "o/app:v1",
            "https://links.example/app:v1",
            "UPPER",
            "https://links.example",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
