//! What a browser asks for, read from the path.

use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::ui::Address;

/// A page for people, below `/ui/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UiPage {
    Home,
    Style,
    Icon,
    /// A repository's tags.
    Tags(RepositoryName),
    Details(RepositoryName, Reference),
    /// A manifest's bytes.
    Manifest(RepositoryName, Digest),
    /// A blob's bytes.
    Blob(RepositoryName, Digest),
    Login,
    Logout,
    /// Below `/ui/`, but nothing.
    Unknown,
}

impl UiPage {
    /// Whether it takes what people type.
    pub(super) fn is_form(&self) -> bool {
        matches!(self, Self::Login | Self::Logout)
    }

    /// The repository that it shows.
    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Tags(repository)
            | Self::Details(repository, _)
            | Self::Manifest(repository, _)
            | Self::Blob(repository, _) => Some(repository),
            Self::Home | Self::Style | Self::Icon | Self::Login | Self::Logout | Self::Unknown => None,
        }
    }

    /// `None` for what is not below `/ui/`.
    pub(super) fn route(path: &str) -> Option<Self> {
        let below = path.strip_prefix("/ui")?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        let found = match path {
            "/ui" | Address::HOME => Some(Self::Home),
            Address::STYLE => Some(Self::Style),
            Address::ICON => Some(Self::Icon),
            Address::LOGIN => Some(Self::Login),
            Address::LOGOUT => Some(Self::Logout),
            _ => repository_page(path),
        };
        Some(found.unwrap_or(Self::Unknown))
    }
}

fn repository_page(path: &str) -> Option<UiPage> {
    if let Some(rest) = path.strip_prefix(Address::MANIFEST) {
        let (name, digest) = content(rest)?;
        return Some(UiPage::Manifest(name, digest));
    }
    if let Some(rest) = path.strip_prefix(Address::BLOB) {
        let (name, digest) = content(rest)?;
        return Some(UiPage::Blob(name, digest));
    }
    let (name, reference) = image(path.strip_prefix(Address::REPOSITORY)?)?;
    Some(match reference {
        Some(reference) => UiPage::Details(name, reference),
        None => UiPage::Tags(name),
    })
}

/// `name@digest`
fn content(text: &str) -> Option<(RepositoryName, Digest)> {
    let (name, digest) = text.split_once('@')?;
    Some((RepositoryName::parse(name).ok()?, Digest::parse(digest).ok()?))
}

/// `name`, `name:tag`, `name@digest` or `name:tag@digest`, where the digest decides.
pub(super) fn image(text: &str) -> Option<(RepositoryName, Option<Reference>)> {
    let (before, digest) = match text.split_once('@') {
        Some((before, digest)) => (before, Some(Digest::parse(digest).ok()?)),
        None => (text, None),
    };
    let (name, tag) = match before.split_once(':') {
        Some((name, tag)) => (name, Some(Tag::parse(tag).ok()?)),
        None => (before, None),
    };
    let reference = digest.map(Reference::Digest).or(tag.map(Reference::Tag));
    Some((RepositoryName::parse(name).ok()?, reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_pages() {
        let name = || RepositoryName::parse("o/app").unwrap();
        let digest = Digest::sha256(b"x");
        let by_digest = || Reference::Digest(digest.clone());
        for (path, page) in [
            ("/ui", UiPage::Home),
            ("/ui/", UiPage::Home),
            ("/ui/style.css", UiPage::Style),
            ("/ui/r/o/app", UiPage::Tags(name())),
            (
                "/ui/r/o/app:v1",
                UiPage::Details(name(), Reference::parse("v1").unwrap()),
            ),
            (&format!("/ui/r/o/app@{digest}"), UiPage::Details(name(), by_digest())),
            (
                &format!("/ui/r/o/app:v1@{digest}"),
                UiPage::Details(name(), by_digest()),
            ),
            (
                &format!("/ui/m/o/app@{digest}"),
                UiPage::Manifest(name(), digest.clone()),
            ),
            (&format!("/ui/b/o/app@{digest}"), UiPage::Blob(name(), digest.clone())),
            ("/ui/login", UiPage::Login),
            ("/ui/m/o/app:v1", UiPage::Unknown),
            ("/ui/b/o/app", UiPage::Unknown),
            ("/ui/r/../x", UiPage::Unknown),
            ("/ui/r/", UiPage::Unknown),
            ("/ui/x", UiPage::Unknown),
        ] {
            assert_eq!(UiPage::route(path), Some(page), "{path}");
        }
        for path in ["/v2/", "/uix", "/"] {
            assert_eq!(UiPage::route(path), None, "{path}");
        }
    }
}
