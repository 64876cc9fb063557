//! Which referrers people want to see, by kind.

use std::collections::BTreeMap;

use super::badge::Badge;

/// A choice of kinds, as it stands in a page's query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KindFilter {
    #[default]
    Any,
    Only(Badge),
    /// Tags that nothing refers to.
    Nothing,
}

impl KindFilter {
    pub const ALL: [Self; 6] = [
        Self::Any,
        Self::Only(Badge::Signature),
        Self::Only(Badge::Attestation),
        Self::Only(Badge::Sbom),
        Self::Only(Badge::Other),
        Self::Nothing,
    ];

    /// Anything that is not a kind is [`KindFilter::Any`].
    pub fn parse(text: &str) -> Self {
        let known = Self::ALL
            .into_iter()
            .find(|filter| filter.value().eq_ignore_ascii_case(text));
        known.unwrap_or_default()
    }

    pub(super) fn value(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Only(badge) => badge.label(),
            Self::Nothing => "nothing",
        }
    }

    pub fn shows(self, badge: Badge) -> bool {
        match self {
            Self::Any => true,
            Self::Only(wanted) => wanted == badge,
            Self::Nothing => false,
        }
    }

    /// Whether a tag with these referrers is shown.
    pub(super) fn shows_counts(self, counts: &BTreeMap<Badge, usize>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(wanted) => counts.contains_key(&wanted),
            Self::Nothing => counts.is_empty(),
        }
    }
}
