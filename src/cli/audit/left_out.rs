//! What searches leave out where they can do without: enough to answer, and too little to say that nothing more is there.

use crate::cli::session::Session;

/// What searches of the registry left out so far, which they say in their counters alone.
pub(super) struct LeftOut {
    cuts: u64,
    skipped: u64,
    by_names: u64,
}

impl LeftOut {
    pub(super) fn so_far(session: &Session) -> Self {
        let counts = session.resolver().counts();
        Self {
            cuts: counts.depth_cuts.get(),
            skipped: counts.skipped_manifests.get(),
            by_names: counts.scans_by_names.get(),
        }
    }

    /// What was left out since, so that nothing is proven to be missing.
    pub(super) fn since(&self, session: &Session, is_by_names: bool) -> Option<String> {
        let now = Self::so_far(session);
        let problem = if now.cuts > self.cuts {
            "not everything behind ordinary tags could be read"
        } else if now.skipped > self.skipped {
            "a manifest was left out whose content is not what its digest or type says"
        } else if now.by_names > self.by_names && !is_by_names {
            "what stands behind ordinary tags was not read; --depth names asks for no more"
        } else {
            return None;
        };
        Some(problem.to_owned())
    }
}
