//! What registries, caches and gateways do that the specification leaves open or forbids. All of it is data: a test can draw it
//! and print it.

use std::collections::BTreeSet;

/// How a `Link` to the next page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkForm {
    /// `<…>; rel="next"`
    #[default]
    Proper,
    /// `<…>; rel=next`
    Unquoted,
    /// `<…>; rel='next'`
    SingleQuotes,
    /// `<…>`
    WithoutRel,
    /// `…; rel="next"` (quay.io in 2016)
    NoBrackets,
    /// `<…>; rel="next` without the second quote.
    OpenQuote,
    /// A byte beyond ASCII behind it.
    NonAscii,
    /// `<…>; rel="last"`: says nothing of a next page, though there is one.
    OtherRel,
    /// A link to the page before stands in front of it.
    AfterPrevious,
}

impl LinkForm {
    pub const ALL: [Self; 9] = [
        Self::Proper,
        Self::Unquoted,
        Self::SingleQuotes,
        Self::WithoutRel,
        Self::NoBrackets,
        Self::OpenQuote,
        Self::NonAscii,
        Self::OtherRel,
        Self::AfterPrevious,
    ];

    /// The header's value for a next page at `target`.
    pub fn write(self, target: &str) -> String {
        match self {
            Self::Proper => format!("<{target}>; rel=\"next\""),
            Self::Unquoted => format!("<{target}>; rel=next"),
            Self::SingleQuotes => format!("<{target}>; rel='next'"),
            Self::WithoutRel => format!("<{target}>"),
            Self::NoBrackets => format!("{target}; rel=\"next\""),
            Self::OpenQuote => format!("<{target}>; rel=\"next"),
            Self::NonAscii => format!("<{target}>; rel=\"next\"; title=\"é\""),
            Self::OtherRel => format!("<{target}>; rel=\"last\""),
            Self::AfterPrevious => {
                format!("<{target}&before=1>; rel=\"prev\", <{target}>; rel=\"next\"; title=\"a, b\"")
            }
        }
    }
}

/// Which tags a listing has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    All,
    /// Not these, though they resolve: a listing that lags behind.
    Except(BTreeSet<String>),
    /// Only these (a proxy cache, which lists what it holds); with `asked_join`, also those that somebody asked for by name.
    Only { names: BTreeSet<String>, asked_join: bool },
}

impl Shown {
    /// `asked`: whether the tag was asked for by name.
    pub fn shows(&self, tag: &str, asked: bool) -> bool {
        match self {
            Self::All => true,
            Self::Except(hidden) => !hidden.contains(tag),
            Self::Only { names, asked_join } => names.contains(tag) || *asked_join && asked,
        }
    }
}

/// What a HEAD of a manifest is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heads {
    #[default]
    Served,
    /// Served, without `Docker-Content-Digest`.
    WithoutDigest,
    /// This status, whatever is there.
    Answers(u16),
}

/// What becomes of requests for another place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moved {
    #[default]
    Nothing,
    /// `tags/list` is 307 to another host, whose links are relative to where they are (registry.k8s.io).
    Listings,
    /// Manifests are, too.
    Reads,
}

/// What callers may not do, all but one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The `Authorization` that may do everything.
    pub insider: Option<&'static str>,
    /// The status of the others' `tags/list`: 401 or 403.
    pub listing: Option<u16>,
    /// The status of whatever else they read.
    pub pulling: Option<u16>,
    /// To the others there is no repository: 404 `NAME_UNKNOWN`.
    pub hidden: bool,
}

/// The codes of a registry's own 404s, where they are not the specification's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentCodes {
    pub repository: &'static str,
    pub tag: &'static str,
    pub manifest: &'static str,
}

impl Default for AbsentCodes {
    fn default() -> Self {
        Self {
            repository: "NAME_UNKNOWN",
            tag: "MANIFEST_UNKNOWN",
            manifest: "MANIFEST_UNKNOWN",
        }
    }
}
