//! What `--require` asks of every image. Pure.

use std::collections::BTreeSet;

use super::evidence::EvidenceKind;
use super::findings::{ImageAudit, Presence};

#[derive(Debug)]
pub(super) struct Requirement {
    pub(super) kinds: BTreeSet<EvidenceKind>,
    /// See [`super::findings::ImageFindings::summary`].
    pub(super) each_platform: bool,
}

impl Requirement {
    /// What is required of the image and proven to be missing.
    pub(super) fn missing(&self, image: &ImageAudit) -> Vec<EvidenceKind> {
        let kinds = self.kinds.iter().copied();
        kinds
            .filter(|kind| self.presence(image, *kind) == Presence::No)
            .collect()
    }

    /// What the image perhaps has, required or not.
    pub(super) fn unknown(&self, image: &ImageAudit) -> Vec<EvidenceKind> {
        let kinds = EvidenceKind::ALL.into_iter();
        kinds
            .filter(|kind| self.presence(image, *kind) == Presence::Unknown)
            .collect()
    }

    fn presence(&self, image: &ImageAudit, kind: EvidenceKind) -> Presence {
        image.presence(kind, self.each_platform)
    }
}
