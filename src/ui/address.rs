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
    /// The `ns` parameter that leads to the upstream where neither the host name nor a prefix does.
    pub namespace: Option<String>,
}

/// Parameters of a page, as they stand in its query.
pub type Parameters<'a> = [(&'a str, &'a str)];

impl Address {
    pub const HOME: &str = "/ui/";
    pub const STYLE: &str = "/ui/style.css";
    pub const ICON: &str = "/ui/icon.svg";
    pub const LOGIN: &str = "/ui/login";
    pub const LOGOUT: &str = "/ui/logout";
    /// Path in front of a repository name: the page of its tags, or with a reference of one manifest.
    pub const REPOSITORY: &str = "/ui/r/";
    /// Path in front of a repository name and a digest: the manifest's bytes.
    pub const MANIFEST: &str = "/ui/m/";
    /// Path in front of a repository name and a digest: the blob's bytes.
    pub const BLOB: &str = "/ui/b/";

    /// A repository's name as the caller writes it.
    pub fn name(&self, repository: &RepositoryName) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{repository}"),
            None => repository.to_string(),
        }
    }

    pub fn home(&self, parameters: &Parameters<'_>) -> String {
        with(Self::HOME.to_owned(), parameters, self.namespace.as_deref())
    }

    /// The form to log in, which leads back to `target`, a path of a page without what selects the upstream.
    pub fn login(&self, target: &str) -> String {
        with(Self::LOGIN.to_owned(), &[("to", target)], self.namespace.as_deref())
    }

    pub fn logout(&self) -> String {
        with(Self::LOGOUT.to_owned(), &[], self.namespace.as_deref())
    }

    /// The page of a repository's tags.
    pub fn tags(&self, repository: &RepositoryName, parameters: &Parameters<'_>) -> String {
        self.of_repository(Self::REPOSITORY, repository, "", parameters)
    }

    /// The page of one manifest.
    pub fn details(&self, repository: &RepositoryName, reference: &Reference, parameters: &Parameters<'_>) -> String {
        let separator = match reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        self.of_repository(
            Self::REPOSITORY,
            repository,
            &format!("{separator}{reference}"),
            parameters,
        )
    }

    /// The manifest's bytes. Not the registry API's address, which answers browsers with 404 because they do not accept manifests.
    pub fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> String {
        self.of_repository(Self::MANIFEST, repository, &format!("@{digest}"), &[])
    }

    /// The blob's bytes, to be saved as `title`. Not the registry API's address, where nobody is logged in by a page.
    pub fn blob(&self, repository: &RepositoryName, digest: &Digest, title: Option<&str>) -> String {
        let parameters: Vec<_> = title.map(|title| ("title", title)).into_iter().collect();
        self.of_repository(Self::BLOB, repository, &format!("@{digest}"), &parameters)
    }

    fn of_repository(
        &self,
        root: &str,
        repository: &RepositoryName,
        rest: &str,
        parameters: &Parameters<'_>,
    ) -> String {
        let namespace = self.namespace.as_deref().filter(|_| self.prefix.is_none());
        with(format!("{root}{}{rest}", self.name(repository)), parameters, namespace)
    }

    /// The `ns` parameter that a form in a repository's page must repeat.
    pub(super) fn repeated(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|_| self.prefix.is_none())
    }
}

fn with(path: String, parameters: &Parameters<'_>, namespace: Option<&str>) -> String {
    let namespace = namespace.map(|namespace| ("ns", namespace));
    let pairs = parameters.iter().copied().chain(namespace);
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, VALUE)))
        .collect();
    match pairs.is_empty() {
        true => path,
        false => format!("{path}?{}", pairs.join("&")),
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
        assert_eq!(plain.tags(&repository, &[]), "/ui/r/o/app");
        assert_eq!(
            plain.tags(&repository, &[("q", "a&b"), ("after", "v1")]),
            "/ui/r/o/app?q=a%26b&after=v1"
        );
        let by_prefix = Address {
            prefix: Some("ghcr".into()),
            namespace: Some("ghcr.io".into()),
        };
        assert_eq!(by_prefix.details(&repository, &tag, &[]), "/ui/r/ghcr/o/app:v1");
        // Where no repository is named, no prefix can lead there.
        assert_eq!(by_prefix.home(&[]), "/ui/?ns=ghcr.io");
        let by_namespace = Address {
            namespace: Some("localhost:5000".into()),
            ..Address::default()
        };
        assert_eq!(by_namespace.home(&[]), "/ui/?ns=localhost%3A5000");
        let digest = Digest::sha256(b"x");
        assert_eq!(
            by_namespace.blob(&repository, &digest, Some("a b")),
            format!("/ui/b/o/app@{digest}?title=a%20b&ns=localhost%3A5000")
        );
    }
}
