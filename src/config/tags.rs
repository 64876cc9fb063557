//! Which link tags `tags/list` shows, and which refshim writes.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use super::values;

/// Response header of every `tags/list` from which tags may be left out.
pub const HIDDEN_TAGS: &str = "refshim-hidden-tags";

/// The kinds of link tags that `tags/list` leaves out.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "RawTags")]
pub struct TagsConfig {
    /// Proposal D tags and the tags of envelopes, which refshim writes itself.
    pub hide_proposal_d: bool,
    pub hide_cosign: bool,
    pub hide_referrers_tag: bool,
}

impl TagsConfig {
    pub fn hides_any(&self) -> bool {
        self.hide_proposal_d || self.hide_cosign || self.hide_referrers_tag
    }
}

impl Default for TagsConfig {
    fn default() -> Self {
        RawTags::default().into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hidden {
    ProposalD,
    Cosign,
    ReferrersTag,
    None,
}

impl Hidden {
    const NAMES: [(&'static str, Self); 4] = [
        ("proposal-d", Self::ProposalD),
        ("cosign", Self::Cosign),
        ("referrers-tag", Self::ReferrersTag),
        ("none", Self::None),
    ];
}

/// The section as it is written: `hide = ["proposal-d", "cosign"]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTags {
    #[serde(deserialize_with = "hide")]
    hide: BTreeSet<Hidden>,
}

impl Default for RawTags {
    fn default() -> Self {
        Self {
            hide: [Hidden::ProposalD].into(),
        }
    }
}

impl From<RawTags> for TagsConfig {
    fn from(raw: RawTags) -> Self {
        Self {
            hide_proposal_d: raw.hide.contains(&Hidden::ProposalD),
            hide_cosign: raw.hide.contains(&Hidden::Cosign),
            hide_referrers_tag: raw.hide.contains(&Hidden::ReferrersTag),
        }
    }
}

fn hide<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Hidden>, D::Error> {
    let hidden = values::choices(deserializer, &Hidden::NAMES)?;
    if hidden.contains(&Hidden::None) && hidden.len() > 1 {
        return Err(serde::de::Error::custom(
            "'none' must be the only entry: it hides nothing",
        ));
    }
    Ok(hidden)
}

/// What refshim writes and answers besides what clients pushed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WritingConfig {
    /// Update the OCI 1.1 referrers tag on a push with a subject, for clients that bypass refshim.
    pub maintain_fallback_tag: bool,
    /// Answer requests for a referrers tag with all referrers found, even if the registry holds that tag.
    pub merge_referrers_tag: bool,
    /// Store manifests that the registry refuses in envelopes.
    pub envelopes: bool,
}

impl Default for WritingConfig {
    fn default() -> Self {
        Self {
            maintain_fallback_tag: false,
            merge_referrers_tag: false,
            envelopes: true,
        }
    }
}
