//! A repository's tags, a page at a time, each with what refers to it.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Response;

use super::html::html;
use crate::http::body::Body;
use crate::oci::{Code, LinkSource, OciError, Reference, RepositoryName, Tag, tag_scheme};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::subject_lookup;
use crate::registry::{Answer, Caller, TagNames};
use crate::render::Query;
use crate::ui::{Address, Badge, Row, TagPage, TagSummary};

/// Tags of a page.
const TAGS: usize = 50;
/// Tags that are looked up at once.
const AT_ONCE: usize = 8;

pub(super) async fn show_tags(
    context: &RequestContext<'_>,
    address: &Address,
    repository: &RepositoryName,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let search = query.first("q").unwrap_or_default().trim();
    let after = query.first("after");
    let caller = context.caller();
    let all = match context.backend.resolver.tags(repository, &caller).await? {
        Answer::Found(all) => all,
        Answer::Absent => {
            let message = format!("the registry has no repository {repository}");
            return Err(OciError::not_found(Code::NameUnknown, message).into());
        }
        Answer::Refused(refusal) => return Err(refusal.into()),
    };
    let chosen = Chosen::cut(&all, search, after);
    let rows = stream::iter(chosen.tags)
        .map(|tag| row(context, repository, tag, &caller))
        .buffered(AT_ONCE);
    let page = TagPage {
        address,
        repository,
        search,
        rows: rows.try_collect().await?,
        total: chosen.total,
        links: all.len() - chosen.total,
        continued: after.is_some(),
        next: chosen.next,
    };
    Ok(html(page.print(), &context.head))
}

/// The tags of one page.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    tags: Vec<Tag>,
    /// The last of them, where others follow.
    next: Option<Tag>,
    /// How many ordinary tags there are in all.
    total: usize,
}

impl Chosen {
    fn cut(all: &TagNames, search: &str, after: Option<&str>) -> Self {
        let ordinary = || all.iter().filter(|name| tag_scheme::parse(name).is_none());
        // A name that is no tag's cannot be asked for.
        let mut wanted = ordinary()
            .filter(|name| after.is_none_or(|after| *name > after) && name.contains(search))
            .filter_map(|name| Tag::parse(name).ok());
        let tags: Vec<Tag> = wanted.by_ref().take(TAGS).collect();
        Self {
            next: wanted.next().and_then(|_| tags.last().cloned()),
            tags,
            total: ordinary().count(),
        }
    }
}

/// A refusal is about the whole page; anything else fails this tag alone.
async fn row(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    tag: Tag,
    caller: &Caller,
) -> Result<Row, ProxyError> {
    let tagged = match look(context, repository, &tag, caller).await {
        Ok(tagged) => Ok(tagged),
        Err(refused @ ProxyError::Refused(_)) => return Err(refused),
        Err(failure) => Err(failure.to_string()),
    };
    Ok(Row { tag, tagged })
}

async fn look(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    caller: &Caller,
) -> Result<TagSummary, ProxyError> {
    let reference = Reference::Tag(tag.clone());
    let raw = subject_lookup::manifest(context, repository, &reference, caller).await?;
    let resolved = context
        .backend
        .resolver
        .resolve(repository, &raw.digest, caller)
        .await?;
    let mut badges = BTreeMap::new();
    for referrer in &resolved.links.referrers {
        *badges.entry(Badge::of(referrer)).or_default() += 1;
    }
    let manifest = raw.parse().ok();
    // BuildKit attests the platforms of an index; the index itself tells of it.
    let links = manifest.iter().flat_map(|manifest| manifest.links(&raw.digest));
    let attested = links.filter(|link| link.source == LinkSource::Buildkit && link.subject != raw.digest);
    let attested = attested.count();
    if attested > 0 {
        *badges.entry(Badge::Attestation).or_default() += attested;
    }
    Ok(TagSummary {
        digest: raw.digest.clone(),
        kind: manifest.map(|manifest| manifest.kind),
        badges,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_ordinary_tags() {
        let link = format!("sha256-{}.sig", "0".repeat(64));
        let many: Vec<String> = (0..120).map(|number| format!("v{number:03}")).collect();
        let all: TagNames = many.iter().chain([&link]).collect();
        let first = Chosen::cut(&all, "", None);
        assert_eq!((first.tags.len(), first.total), (TAGS, 120));
        assert_eq!(first.tags[0].as_str(), "v000");
        let next = first.next.unwrap();
        assert_eq!(next.as_str(), "v049");
        let last = Chosen::cut(&all, "", Some("v099"));
        assert_eq!((last.tags.len(), last.next), (20, None));
        let found = Chosen::cut(&all, "11", None);
        assert_eq!((found.tags.len(), found.next), (11, None));
        assert!(Chosen::cut(&all, "nowhere", None).tags.is_empty());
    }
}
