//! A few tags of a repository, for whoever only needs one that exists.

use http::Method;
use http::header::LINK;

use super::Upstream;
use super::tag_page;
use crate::oci::RepositoryName;
use crate::registry::answer::Answer;
use crate::registry::caller::Caller;
use crate::registry::classify::classify;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::{ReadRequest, Redirects};
use crate::registry::tag_names::TagNamesBuilder;

/// Tags that are asked for.
const SOME: usize = 3;
/// Largest answer, in bytes: Distribution 2.8 ignores `n` and lists everything.
const LIMIT: usize = 64 << 20;

impl Upstream {
    /// A few tags of the repository as the registry lists them to this caller; it may be more than a few. None only where the
    /// registry says that there is none.
    pub async fn some_tags(
        &self,
        repository: &RepositoryName,
        caller: &Caller,
    ) -> Result<Answer<Vec<String>>, UpstreamError> {
        let path = format!("/v2/{repository}/tags/list?n={SOME}");
        let ask = ReadRequest {
            kind: RequestKind::Tags,
            method: Method::GET,
            uri: self.origin().uri(&path)?,
            accept: "application/json",
            redirects: Redirects::Elsewhere,
            caller,
        };
        let reply = self.reader.ask(&ask, LIMIT).await?;
        classify(reply, &ask.uri)?.try_map(|reply| {
            let mut names = TagNamesBuilder::default();
            // A page for logging in, say.
            tag_page::parse(&*reply.body, &mut names)
                .map_err(|error| UpstreamError::Invalid(format!("no tag listing at {path}: {error}")))?;
            let names = names.finish();
            if names.is_empty() && reply.headers.contains_key(LINK) {
                return Err(UpstreamError::Invalid(format!(
                    "a page without tags that links to another at {path}"
                )));
            }
            Ok(names.iter().map(str::to_owned).collect())
        })
    }
}
