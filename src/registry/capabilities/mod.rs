//! What was learned about one upstream from its answers, each fact for a while: registries are updated and reconfigured.

mod capability;
pub(in crate::registry) mod native_support;
pub(in crate::registry) mod paging;
mod pull_limit;
pub(in crate::registry) mod write_conditions;

use native_support::NativeKnowledge;
use paging::KnownPaging;
use pull_limit::PullLimit;
use write_conditions::WriteConditions;

/// What was learned about one upstream.
pub(in crate::registry) struct Capabilities {
    /// How tag listings go on, and whether they seek.
    pub(in crate::registry) paging: KnownPaging,
    /// Where its own referrers API answers.
    pub(in crate::registry) native: NativeKnowledge,
    pub(in crate::registry) pull_limit: PullLimit,
    pub(in crate::registry) write_conditions: WriteConditions,
}

impl Capabilities {
    /// `host`: the upstream's.
    pub(in crate::registry) fn of(host: Option<&str>) -> Self {
        Self {
            paging: KnownPaging::default(),
            native: NativeKnowledge::default(),
            pull_limit: PullLimit::of(host),
            write_conditions: WriteConditions::default(),
        }
    }
}
