//! Parses a path into an endpoint of the API.

use percent_encoding::percent_decode_str;

use crate::oci::{Digest, Reference, RepositoryName};

/// A known endpoint. Everything else, including the referrers API, is answered "404 page not found".
#[derive(Debug, PartialEq, Eq)]
pub enum DemoRoute {
    Base,
    Catalog,
    Tags(RepositoryName),
    Manifest(RepositoryName, Reference),
    Blob(RepositoryName, Digest),
    /// `…/blobs/uploads/`
    Uploads(RepositoryName),
    /// `…/blobs/uploads/<id>`
    Upload(RepositoryName, String),
}

impl DemoRoute {
    /// Parses a path. Repository names may contain words of the API, so the last such word counts.
    pub fn parse(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let rest = path.strip_prefix("/v2/")?;
        match rest {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        let name = |text: &str| RepositoryName::parse(text).ok();
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Some(Self::Tags(name(repository)?));
        }
        if let Some(repository) = rest.strip_suffix("/blobs/uploads/") {
            return Some(Self::Uploads(name(repository)?));
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (repository, word) = before.rsplit_once('/')?;
        match word {
            "manifests" => Some(Self::Manifest(name(repository)?, Reference::parse(last)?)),
            "blobs" => Some(Self::Blob(name(repository)?, Digest::parse(last).ok()?)),
            "uploads" => Some(Self::Upload(name(repository.strip_suffix("/blobs")?)?, last.to_owned())),
            _ => None,
        }
    }

    /// The methods that the path allows, as Distribution lists them.
    pub fn allowed(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) => "GET",
            Self::Manifest(..) => "DELETE, GET, HEAD, PUT",
            Self::Blob(..) => "DELETE, GET, HEAD",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "DELETE, GET, HEAD, PATCH, PUT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn names_may_hold_words_of_the_api() {
        let tag = Reference::parse("t").unwrap();
        assert_eq!(
            DemoRoute::parse("/v2/a/manifests/b/manifests/t"),
            Some(DemoRoute::Manifest(name("a/manifests/b"), tag))
        );
        assert_eq!(
            DemoRoute::parse("/v2/tags/list/tags/list"),
            Some(DemoRoute::Tags(name("tags/list")))
        );
        let id = "x".to_owned();
        assert_eq!(
            DemoRoute::parse("/v2/uploads/blobs/uploads/x"),
            Some(DemoRoute::Upload(name("uploads"), id))
        );
    }

    #[test]
    fn what_distribution_does_not_know_is_no_route() {
        let digest = Digest::sha256(b"");
        let long = format!("/v2/a/manifests/{}", "x".repeat(129));
        for path in [
            format!("/v2/a/referrers/{digest}"),
            long,
            "/v2/A/tags/list".into(),
            "/v2/a/../b/tags/list".into(),
            "/v3/".into(),
        ] {
            assert_eq!(DemoRoute::parse(&path), None, "{path}");
        }
        assert!(DemoRoute::parse(&format!("/v2/a/blobs/{}", digest.as_str().replace(':', "%3A"))).is_some());
    }
}
