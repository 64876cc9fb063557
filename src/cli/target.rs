//! `REF`: `[http://|https://]host[:port]/name[:tag][@digest]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Url;

use crate::config::registry_url;
use crate::oci::{Digest, Reference, RepositoryName, Tag};

/// Docker Hub is called by one name and answers under another.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// One thing in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetReference {
    /// The registry's root.
    pub(crate) registry: Url,
    /// Host and port as written: the key of its credentials.
    pub(super) host: String,
    pub(crate) repository: RepositoryName,
    /// A digest beats a tag; without both it is `latest`.
    pub(crate) reference: Reference,
    /// Whether neither a tag nor a digest was written.
    pub(super) is_bare: bool,
}

impl FromStr for TargetReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (registry, host, path) = registry_and_path(text)?;
        let (name, reference) = split(&path)?;
        let is_bare = name == path;
        Ok(Self {
            registry,
            host,
            repository: RepositoryName::parse(name).map_err(|error| error.to_string())?,
            reference,
            is_bare,
        })
    }
}

impl TargetReference {
    /// `host/name`
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

/// The registry's root, its host and port as written, and what follows them.
pub(super) fn registry_and_path(text: &str) -> Result<(Url, String, String), String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let shape =
        || format!("'{text}' is not a reference: write host[:port]/name[:tag][@digest], such as ghcr.io/o/app:v1");
    let (host, path) = rest.split_once('/').ok_or_else(shape)?;
    if !is_host(host) {
        return Err(shape());
    }
    let scheme = scheme.unwrap_or(if is_loopback(host) { "http" } else { "https" });
    let address = if host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { host };
    let registry = registry_url(&format!("{scheme}://{address}"))?;
    Ok((registry, host.to_owned(), path.to_owned()))
}

fn split(path: &str) -> Result<(&str, Reference), String> {
    let (named, digest) = match path.split_once('@') {
        Some((named, digest)) => (named, Some(Digest::parse(digest).map_err(|error| error.to_string())?)),
        None => (path, None),
    };
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) => (name, Tag::parse(tag).map_err(|error| error.to_string())?),
        None => (named, Tag::parse("latest").map_err(|error| error.to_string())?),
    };
    Ok((name, digest.map_or(Reference::Tag(tag), Reference::Digest)))
}

/// As other clients tell a host from the first part of a name.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':', '[']) || text == "localhost"
}

/// Hosts that are spoken to without TLS unless `https://` says otherwise, as other clients do.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for TargetReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}/{}{separator}{}", self.host, self.repository, self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(text: &str) -> (String, String) {
        let target: TargetReference = text.parse().unwrap();
        (target.registry.to_string(), target.to_string())
    }

    #[test]
    fn references_as_people_write_them() {
        let cases = [
            ("ghcr.io/o/app:v1", "https://ghcr.io/", "ghcr.io/o/app:v1"),
            ("ghcr.io/o/app", "https://ghcr.io/", "ghcr.io/o/app:latest"),
            ("localhost/app:v1", "http://localhost/", "localhost/app:v1"),
            (
                "127.0.0.1:5000/app",
                "http://127.0.0.1:5000/",
                "127.0.0.1:5000/app:latest",
            ),
            ("[::1]:5000/app", "http://[::1]:5000/", "[::1]:5000/app:latest"),
            (
                "https://localhost:5000/app",
                "https://localhost:5000/",
                "localhost:5000/app:latest",
            ),
            (
                "http://registry.example/app",
                "http://registry.example/",
                "registry.example/app:latest",
            ),
            (
                "docker.io/library/alpine",
                "https://registry-1.docker.io/",
                "docker.io/library/alpine:latest",
            ),
        ];
        for (text, registry, shown) in cases {
            assert_eq!(parsed(text), (registry.to_owned(), shown.to_owned()));
        }
        let (_, shown) = parsed(&format!("ghcr.io/o/app:v1@{DIGEST}"));
        assert_eq!(shown, format!("ghcr.io/o/app@{DIGEST}"));
    }

    #[test]
    fn a_repository_is_told_from_a_reference() {
        let bare = |text: &str| text.parse::<TargetReference>().unwrap().is_bare;
        assert!(bare("ghcr.io/o/app") && bare("127.0.0.1:5000/app"));
        assert!(!bare("ghcr.io/o/app:latest") && !bare(&format!("ghcr.io/o/app@{DIGEST}")));
        let target: TargetReference = "http://registry.example/o/app".parse().unwrap();
        assert_eq!(target.repository(), "registry.example/o/app");
    }

    #[test]
    fn nonsense_is_told_in_one_line() {
        for text in [
            "",
            "app",
            "app:v1",
            "o/app:v1",
            "ghcr.io/",
            "ghcr.io/UPPER",
            "ghcr.io/a@sha256:1",
            "ftp://ghcr.io/a",
            "ghcr.io/a:b c",
        ] {
            let problem = text.parse::<TargetReference>().unwrap_err();
            assert!(!problem.is_empty() && !problem.contains('\n'), "{text}: {problem}");
        }
    }
}
