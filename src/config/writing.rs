//! How refshim writes down the links of what is pushed.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use super::values;

/// What refshim writes and answers besides what clients pushed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawWriting")]
pub struct WritingConfig {
    pub links: WrittenLinks,
    /// Answer requests for a referrers tag with all referrers found, where the registry's own index lacks some.
    pub merge_referrers_tag: bool,
    /// Store manifests that the registry refuses in envelopes.
    pub envelopes: bool,
    /// The value of `maintain_fallback_tag`, an older spelling of `links`, where it is given.
    pub maintain_fallback_tag: Option<bool>,
}

impl Default for WritingConfig {
    fn default() -> Self {
        Self {
            links: WrittenLinks::default(),
            merge_referrers_tag: true,
            envelopes: true,
            maintain_fallback_tag: None,
        }
    }
}

/// The forms in which a link is written down when a manifest with a subject is pushed. None: only the registry's own API keeps links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenLinks {
    /// A tag of its own for each link.
    pub proposal_d: bool,
    /// An entry in the OCI 1.1 referrers tag of the subject, which clients read that bypass refshim.
    pub referrers_tag: bool,
}

impl Default for WrittenLinks {
    fn default() -> Self {
        Self {
            proposal_d: true,
            referrers_tag: true,
        }
    }
}

impl From<BTreeSet<WrittenForm>> for WrittenLinks {
    fn from(forms: BTreeSet<WrittenForm>) -> Self {
        Self {
            proposal_d: forms.contains(&WrittenForm::ProposalD),
            referrers_tag: forms.contains(&WrittenForm::ReferrersTag),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WrittenForm {
    ProposalD,
    ReferrersTag,
}

impl WrittenForm {
    const NAMES: [(&'static str, Self); 2] = [("proposal-d", Self::ProposalD), ("referrers-tag", Self::ReferrersTag)];
}

/// The section as it is written: `links = ["proposal-d", "referrers-tag"]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawWriting {
    #[serde(deserialize_with = "forms")]
    links: Option<BTreeSet<WrittenForm>>,
    merge_referrers_tag: Option<bool>,
    envelopes: Option<bool>,
    maintain_fallback_tag: Option<bool>,
}

impl TryFrom<RawWriting> for WritingConfig {
    type Error = String;

    fn try_from(raw: RawWriting) -> Result<Self, String> {
        let defaults = Self::default();
        let given = raw.links.map(WrittenLinks::from);
        let links = match (given, raw.maintain_fallback_tag) {
            (Some(links), Some(maintained)) if links.referrers_tag != maintained => {
                return Err(format!(
                    "maintain_fallback_tag = {maintained} contradicts links: remove it, links alone says what is written"
                ));
            }
            (Some(links), _) => links,
            (None, Some(maintained)) => WrittenLinks {
                proposal_d: true,
                referrers_tag: maintained,
            },
            (None, None) => defaults.links,
        };
        Ok(Self {
            links,
            merge_referrers_tag: raw.merge_referrers_tag.unwrap_or(defaults.merge_referrers_tag),
            envelopes: raw.envelopes.unwrap_or(defaults.envelopes),
            maintain_fallback_tag: raw.maintain_fallback_tag,
        })
    }
}

fn forms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeSet<WrittenForm>>, D::Error> {
    values::choices(deserializer, &WrittenForm::NAMES).map(Some)
}
