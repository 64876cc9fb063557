//! Addresses of pages and content, as the caller's browser must request them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::oci::{Digest, Reference, RepositoryName};

/// Characters to percent-encode in a query value: all except those that no parser treats specially.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Builds addresses that select the same upstream as the caller's request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The prefix in front of every repository name, if the upstream was selected by one.
    pub prefix: Option<String>,
    /// The `ns` parameter, which every address must repeat if the upstream was selected by it.
    pub namespace: Option<String>,
}

impl Address {
    pub const HOME: &str = "/ui/";
    pub const STYLE: &str = "/ui/style.css";
    pub const ICON: &str = "/ui/icon.svg";
    /// Path in front of a repository name: the page of its tags, or with a reference of one manifest.
    pub const REPOSITORY: &str = "/ui/r/";
    /// Path in front of a repository name and a digest: the manifest's bytes.
    pub const MANIFEST: &str = "/ui/m/";

    /// A repository's name as the caller writes it.
    pub fn name(&self, repository: &RepositoryName) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{repository}"),
            None => repository.to_string(),
        }
    }

    pub fn home(&self) -> String {
        self.with(Self::HOME.to_owned(), &[])
    }

    /// The page of a repository's tags whose name contains `search`, after the tag `after`.
    pub fn tags(&self, repository: &RepositoryName, search: &str, after: Option<&str>) -> String {
        let path = format!("{}{}", Self::REPOSITORY, self.name(repository));
        let mut query = Vec::new();
        if !search.is_empty() {
            query.push(("q", search));
        }
        query.extend(after.map(|after| ("after", after)));
        self.with(path, &query)
    }

    pub fn details(&self, repository: &RepositoryName, reference: &Reference) -> String {
        let separator = match reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        let path = format!("{}{}{separator}{reference}", Self::REPOSITORY, self.name(repository));
        self.with(path, &[])
    }

    /// The manifest's bytes. Not the registry API's address, which answers browsers with 404 because they do not accept manifests.
    pub fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> String {
        self.with(format!("{}{}@{digest}", Self::MANIFEST, self.name(repository)), &[])
    }

    /// The blob's bytes, by the registry API.
    pub fn blob(&self, repository: &RepositoryName, digest: &Digest) -> String {
        self.with(format!("/v2/{}/blobs/{digest}", self.name(repository)), &[])
    }

    fn with(&self, path: String, query: &[(&str, &str)]) -> String {
        let namespace = self.namespace.as_deref().map(|namespace| ("ns", namespace));
        let pairs = query.iter().copied().chain(namespace);
        let pairs: Vec<String> = pairs
            .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, VALUE)))
            .collect();
        match pairs.is_empty() {
            true => path,
            false => format!("{path}?{}", pairs.join("&")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_the_same_upstream() {
        let repository = RepositoryName::parse("o/app").unwrap();
        let tag = Reference::parse("v1").unwrap();
        let plain = Address::default();
        assert_eq!(plain.tags(&repository, "", None), "/ui/r/o/app");
        assert_eq!(
            plain.tags(&repository, "a&b", Some("v1")),
            "/ui/r/o/app?q=a%26b&after=v1"
        );
        let by_prefix = Address {
            prefix: Some("ghcr".into()),
            ..Address::default()
        };
        assert_eq!(by_prefix.details(&repository, &tag), "/ui/r/ghcr/o/app:v1");
        let by_namespace = Address {
            namespace: Some("localhost:5000".into()),
            ..Address::default()
        };
        assert_eq!(by_namespace.home(), "/ui/?ns=localhost%3A5000");
        let digest = Digest::sha256(b"x");
        assert_eq!(
            by_namespace.manifest(&repository, &digest),
            format!("/ui/m/o/app@{digest}?ns=localhost%3A5000")
        );
    }
}
