//! What can be wrong with links. Pure.

use serde::Serialize;

use crate::oci::{Digest, Tag};

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LinkFaultKind {
    SubjectGone,
    /// The tag is listed, and nothing is behind it.
    TargetGone,
    /// An index lists what is gone.
    EntryGone,
    /// The manifest names another subject.
    OtherSubject,
    /// An index describes the manifest otherwise than it is.
    DescriptorDiffers,
    BlobGone,
    /// The registry's blob has another size.
    BlobDiffers,
}

impl LinkFaultKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SubjectGone => "subject-gone",
            Self::TargetGone => "target-gone",
            Self::EntryGone => "entry-gone",
            Self::OtherSubject => "other-subject",
            Self::DescriptorDiffers => "descriptor-differs",
            Self::BlobGone => "blob-gone",
            Self::BlobDiffers => "blob-differs",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkFault {
    pub(super) kind: LinkFaultKind,
    /// Where the link is written down, if that is a tag.
    pub(super) tag: Option<Tag>,
    /// What is linked.
    pub(super) referrer: Option<Digest>,
    pub(super) message: String,
}

/// Referrers of one subject with the same content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicates {
    pub(super) subject: Digest,
    pub(super) artifact_type: Option<String>,
    pub(super) referrers: Vec<Digest>,
}
