//! The names of a registry's repositories (distribution-spec's history: `_catalog`), read to an end that the registry states.

use std::collections::BTreeSet;

use http::{Method, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::Upstream;
use crate::http::link_header;
use crate::registry::answer::{Answer, RegistryResponse};
use crate::registry::caller::Caller;
use crate::registry::classify::not_understood;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::{ReadRequest, Redirects};

/// Names asked for at once.
const PAGE: usize = 1000;
const MOST_PAGES: usize = 10_000;

#[derive(Deserialize)]
struct CatalogBody {
    /// `null` is Go's empty list; without the member it is no catalog.
    #[serde(deserialize_with = "Option::deserialize")]
    repositories: Option<Vec<String>>,
}

/// One page.
enum RepositoryPage {
    Names { names: Vec<String>, next: Option<Uri> },
    Refused(Box<RegistryResponse>),
}

impl Upstream {
    /// All repositories that the registry lists to this caller. Whatever is no list is [`Answer::Refused`]: a registry without a catalog
    /// says so in many ways.
    ///
    /// # Errors
    /// If a list cannot be read to its end. That is where the registry lists nothing after the last name: some leave out the `Link`.
    pub async fn repositories(&self, caller: &Caller) -> Result<Answer<BTreeSet<String>>, UpstreamError> {
        let mut all = BTreeSet::new();
        let mut uri = self.origin().uri(&format!("/v2/_catalog?n={PAGE}"))?;
        for _ in 0..MOST_PAGES {
            let (names, next) = match self.repository_page(uri, caller).await? {
                RepositoryPage::Names { names, next } => (names, next),
                RepositoryPage::Refused(refusal) => return Ok(Answer::Refused((*refusal).into())),
            };
            let last = names.last().cloned();
            let before = all.len();
            all.extend(names);
            uri = match (next, last) {
                (None, None) => return Ok(Answer::Found(all)),
                (Some(_), _) | (None, Some(_)) if all.len() == before => break,
                (Some(next), _) => next,
                (None, Some(last)) => {
                    let last = utf8_percent_encode(&last, NON_ALPHANUMERIC);
                    self.origin().uri(&format!("/v2/_catalog?n={PAGE}&last={last}"))?
                }
            };
        }
        let problem = "its catalog repeats the same repositories, so that its end cannot be told";
        Err(UpstreamError::Invalid(problem.into()))
    }

    async fn repository_page(&self, uri: Uri, caller: &Caller) -> Result<RepositoryPage, UpstreamError> {
        let ask = ReadRequest {
            kind: RequestKind::Other,
            method: Method::GET,
            uri,
            accept: "application/json",
            redirects: Redirects::Own,
            caller,
        };
        let (reply, from) = self.reader.ask_wherever(&ask, self.tag_list_bytes).await?;
        if reply.status != StatusCode::OK {
            return Ok(RepositoryPage::Refused(Box::new(reply)));
        }
        let Ok(CatalogBody { repositories }) = serde_json::from_slice(&reply.body) else {
            return Err(UpstreamError::Invalid(not_understood(&reply, &ask.uri)));
        };
        let next = link_header::next(&reply.headers);
        let next = next.map_err(|error| UpstreamError::Invalid(error.to_string()))?;
        if next.is_none() && link_header::has_links(&reply.headers) {
            let problem = "its catalog gives a Link to no next page";
            return Err(UpstreamError::Invalid(problem.into()));
        }
        Ok(RepositoryPage::Names {
            names: repositories.unwrap_or_default(),
            next: next.map(|link| self.page_link(&from, &link)).transpose()?,
        })
    }
}
