//! `SRC` and `DST`: a reference to something in a registry, or `oci:path[:tag][@digest]`, an OCI image layout.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::target::TargetReference;
use crate::oci::{Digest, Reference, Tag};

/// What a layout is told by.
const LAYOUT: &str = "oci:";

/// Where an image comes from, or goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CopyReference {
    Registry(TargetReference),
    Layout(LayoutReference),
}

/// Something in an OCI image layout (image-spec, "OCI Image Layout Specification").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LayoutReference {
    pub(super) folder: PathBuf,
    pub(super) reference: Option<Reference>,
}

impl FromStr for CopyReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(LAYOUT) {
            Some(rest) => layout(rest).map(Self::Layout),
            None => text.parse().map(Self::Registry),
        }
    }
}

/// A colon after the last slash separates the tag, as in a registry's references.
fn layout(text: &str) -> Result<LayoutReference, String> {
    let (named, digest) = match text.rsplit_once('@') {
        Some((named, digest)) => match Digest::parse(digest) {
            Ok(digest) => (named, Some(Reference::Digest(digest))),
            // A folder may have such a name.
            Err(_) if digest.contains('/') => (text, None),
            Err(error) => return Err(error.to_string()),
        },
        None => (text, None),
    };
    let (folder, tag) = match named.rsplit_once(':') {
        Some((folder, tag)) if !tag.contains('/') => {
            (folder, Some(Tag::parse(tag).map_err(|error| error.to_string())?))
        }
        _ => (named, None),
    };
    if folder.is_empty() {
        return Err(format!(
            "'{LAYOUT}{text}' names no folder: write {LAYOUT}path[:tag][@digest]"
        ));
    }
    Ok(LayoutReference {
        folder: folder.into(),
        reference: digest.or(tag.map(Reference::Tag)),
    })
}

impl CopyReference {
    /// The tag or digest that was written; `None` for a repository or layout as such.
    pub(super) fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(target) => (!target.is_bare).then_some(&target.reference),
            Self::Layout(layout) => layout.reference.as_ref(),
        }
    }

    /// The repository or the folder.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Registry(target) => target.repository(),
            Self::Layout(layout) => format!("{LAYOUT}{}", layout.folder.display()),
        }
    }
}

impl fmt::Display for CopyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        match self.reference() {
            Some(Reference::Tag(tag)) => write!(f, ":{tag}"),
            Some(Reference::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn layouts_are_folders_with_a_tag_or_digest_behind_them() {
        let at = format!("@{DIGEST}");
        for (text, folder, reference) in [
            ("oci:a/b", "a/b", None),
            ("oci:/a/b:v1", "/a/b", Some("v1")),
            ("oci:a:b/c", "a:b/c", None),
            ("oci:a@b/c:v1", "a@b/c", Some("v1")),
            (&format!("oci:a{at}"), "a", Some(DIGEST)),
            (&format!("oci:a:v1{at}"), "a", Some(DIGEST)),
        ] {
            let CopyReference::Layout(layout) = text.parse().unwrap() else {
                panic!("{text}");
            };
            assert_eq!(layout.folder.to_str(), Some(folder), "{text}");
            assert_eq!(layout.reference.as_ref().map(Reference::as_str), reference, "{text}");
        }
        for text in ["oci:", "oci::v1", "oci:a:b c", "oci:a@sha256:1"] {
            assert!(text.parse::<CopyReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_repository_has_no_reference_of_its_own() {
        let of = |text: &str| text.parse::<CopyReference>().unwrap();
        assert_eq!(of("ghcr.io/o/app").reference(), None);
        assert_eq!(of("ghcr.io/o/app").to_string(), "ghcr.io/o/app");
        assert_eq!(of("ghcr.io/o/app:v1").to_string(), "ghcr.io/o/app:v1");
        assert_eq!(of("oci:a/b:v1").to_string(), "oci:a/b:v1");
    }
}
