//! Lines for a shell about what a page shows.
//!
//! They are made of parsed names, tags and digests, and of a host that was checked; nothing that a registry says gets into them. Who must
//! have signed is left for the user to write: the identity that a signature names proves nothing.

use maud::{Markup, html};

use super::badge::Badge;
use crate::oci::{Digest, RepositoryName};

/// How clients reach a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// Host and port.
    host: String,
    /// What stands in front of the repository's name.
    prefix: Option<String>,
    /// Without TLS.
    plain_http: bool,
}

impl ClientAddress {
    /// `None` if the host is not one that can stand in a command.
    pub fn new(host: &str, prefix: Option<&str>, plain_http: bool) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        let is_host = !host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain);
        is_host.then(|| Self {
            host: host.to_owned(),
            prefix: prefix.map(str::to_owned),
            plain_http,
        })
    }

    fn image(&self, repository: &RepositoryName, digest: &Digest) -> String {
        match &self.prefix {
            Some(prefix) => format!("{}/{prefix}/{repository}@{digest}", self.host),
            None => format!("{}/{repository}@{digest}", self.host),
        }
    }
}

/// The lines for an image, or for an artifact of a kind.
pub(super) fn commands(
    address: &ClientAddress,
    (repository, digest): (&RepositoryName, &Digest),
    kind: Option<Badge>,
) -> Markup {
    let image = address.image(repository, digest);
    let oras = if address.plain_http { "--plain-http " } else { "" };
    let cosign = if address.plain_http {
        "--allow-http-registry "
    } else {
        ""
    };
    let lines = match kind {
        None => vec![
            ("Pull", format!("docker pull {image}")),
            ("List referrers", format!("oras discover {oras}{image}")),
            (
                "Verify by key",
                format!("cosign verify {cosign}--key cosign.pub {image}"),
            ),
            (
                "Verify by identity",
                format!("cosign verify {cosign}--certificate-identity=WHO --certificate-oidc-issuer=ISSUER {image}"),
            ),
        ],
        Some(_) => vec![("Download", format!("oras pull {oras}{image}"))],
    };
    html! {
        details.commands {
            summary { "Commands" }
            dl.facts {
                @for (name, line) in &lines {
                    dt { (name) }
                    dd { code data-copy=(name.to_lowercase()) { (line) } }
                }
            }
            @if kind.is_none() {
                p.quiet { "Verify with the key, or write for WHO and ISSUER those that you expect, not those that a signature names. To see every \
                           identity that signed, cosign takes expressions: " code { "--certificate-identity-regexp" } "." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_a_shell_leaves_alone_get_into_a_line() {
        assert!(ClientAddress::new("refs.example.org:5100", None, false).is_some());
        for odd in ["", "$(reboot)", "a;b", "-rm", "[::1]:5100", "a b", "a'"] {
            assert_eq!(ClientAddress::new(odd, None, false), None, "{odd}");
        }
        let address = ClientAddress::new("h:1", Some("ghcr"), true).unwrap();
        let (repository, digest) = (RepositoryName::parse("o/app").unwrap(), Digest::sha256(b"x"));
        let lines = commands(&address, (&repository, &digest), None).into_string();
        let line = format!("oras discover --plain-http h:1/ghcr/o/app@{digest}");
        assert!(lines.contains(&line), "{lines}");
    }
}
