//! Whether the registry lists a caller more than what it listed to somebody else.

use std::sync::Arc;

use super::{AccessList, Right};
use crate::referrers::context::RepositoryContext;
use crate::registry::{Answer, Fingerprint, TagNames, Upstream, UpstreamError};

impl AccessList {
    /// Asks for the caller's own first page; a crowd of one caller's questions asks once. A refusal does not say what is listed
    /// to this caller otherwise: its own search decides.
    pub async fn check_listing(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        context: &RepositoryContext,
        names: &Arc<TagNames>,
        fingerprint: Fingerprint,
    ) -> Result<bool, UpstreamError> {
        let (list, upstream, names) = (self.clone(), upstream.clone(), names.clone());
        let asking = context.clone();
        let work = async move { list.ask_first_page(&upstream, &asking, &names, fingerprint).await };
        let key = self.key(context, Right::Names(fingerprint));
        let checked = self.listing_checks.run(key, work).await;
        checked.value.unwrap_or(Err(UpstreamError::Timeout("tag listing")))
    }

    /// Looks once more when it begins: whoever comes in between asks nothing.
    async fn ask_first_page(
        &self,
        upstream: &Upstream,
        context: &RepositoryContext,
        names: &TagNames,
        fingerprint: Fingerprint,
    ) -> Result<bool, UpstreamError> {
        if self.was_listed(context, fingerprint) {
            return Ok(true);
        }
        let first = match upstream.first_tags(&context.repository, &context.caller).await? {
            Answer::Found(first) => first,
            Answer::Absent | Answer::Refused(_) => return Ok(false),
        };
        let is_known = !first.names.is_empty() && first.names.iter().all(|name| names.contains(name));
        let is_whole = is_known && !(first.others_follow && first.names.len() >= names.len());
        if is_whole {
            self.allow_listing(context);
            self.remember_listed(context, fingerprint);
        }
        Ok(is_whole)
    }
}
