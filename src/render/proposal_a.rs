//! Proposal A, `GET /v2/<name>/_oci/artifacts/referrers?digest=`, and the ORAS forms of the same API.

use super::filter::Filter;
use super::page::{MAX_BODY, PagedApi, RenderedPage, Window};
use crate::oci::ReferrerList;

pub const CONTENT_TYPE: &str = "application/json";

/// The three endpoints with this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `/v2/<name>/_oci/artifacts/referrers?digest=`
    ProposalA,
    /// `/v2/<name>/_oras/artifacts/referrers?digest=`
    Oras,
    /// `/oras/artifacts/v1/<name>/manifests/<digest>/referrers`, whose older clients read the key `references`.
    OrasV1,
}

impl Shape {
    /// The header by which clients recognise the API.
    pub fn version_header(self) -> (&'static str, &'static str) {
        match self {
            Self::ProposalA => ("reftype-api-version", "reftype/1.0"),
            Self::Oras | Self::OrasV1 => ("oras-api-version", "oras/1.0"),
        }
    }

    /// For [`Window::from_query`].
    pub fn api(self) -> PagedApi {
        match self {
            Self::ProposalA => PagedApi::ProposalA,
            Self::Oras => PagedApi::Oras,
            Self::OrasV1 => PagedApi::OrasV1,
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::ProposalA | Self::Oras => &["referrers"],
            Self::OrasV1 => &["referrers", "references"],
        }
    }
}

/// The entries of `window` that `filter` lets through.
pub fn print(shape: Shape, links: &ReferrerList, filter: &Filter, window: &Window) -> RenderedPage {
    // `{"references":[…]}`, the longest of the keys.
    const AROUND: usize = 20;
    let keys = shape.keys();
    let room = MAX_BODY / keys.len() - AROUND;
    let (entries, next) = window.print_entries(links, filter, room);
    let mut body = Vec::with_capacity((entries.len() + AROUND) * keys.len());
    for (index, key) in keys.iter().enumerate() {
        body.push(if index == 0 { b'{' } else { b',' });
        body.extend(format!("\"{key}\":[").as_bytes());
        body.extend(&entries);
        body.push(b']');
    }
    body.push(b'}');
    RenderedPage {
        body: body.into(),
        next,
    }
}
