//! A repository's tags, a page at a time, each with what refers to it.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Response;

use super::details::AT_ONCE;
use super::html::html;
use crate::http::body::Body;
use crate::oci::{Code, Digest, Manifest, OciError, Reference, RepositoryName, Tag, tag_scheme};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::subject_lookup;
use crate::registry::{Answer, Caller, TagNames};
use crate::render::Query;
use crate::ui::{Badge, KindFilter, NEWEST_FIRST, Row, Site, TagChoice, TagPage, TagSummary, VersionKey};

/// Tags of a page.
const TAGS: usize = 50;
/// Platforms of one index whose referrers are counted.
const PLATFORMS: usize = 8;

pub(super) async fn show_tags(
    context: &RequestContext<'_>,
    site: &Site<'_>,
    repository: &RepositoryName,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let choice = TagChoice {
        search: query.first("q").unwrap_or_default().trim(),
        kind: KindFilter::parse(query.first("kind").unwrap_or_default()),
        newest_first: query.first("order") == Some(NEWEST_FIRST),
    };
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
    let chosen = ChosenTags::cut(&all, choice, after);
    let rows = stream::iter(chosen.tags)
        .map(|tag| row(context, repository, tag, &caller))
        .buffered(AT_ONCE);
    let page = TagPage {
        site,
        repository,
        choice,
        rows: rows.try_collect().await?,
        total: chosen.total,
        matching: chosen.matching,
        links: all.len() - chosen.total,
        continued: after.is_some(),
        next: chosen.next,
    };
    Ok(html(page.print(), &context.head))
}

/// The tags of one page.
#[derive(Debug, PartialEq, Eq)]
struct ChosenTags {
    tags: Vec<Tag>,
    /// The last of them, where others follow.
    next: Option<Tag>,
    /// How many ordinary tags there are in all.
    total: usize,
    /// How many of them contain what is searched for.
    matching: usize,
}

impl ChosenTags {
    fn cut(all: &TagNames, choice: TagChoice<'_>, after: Option<&str>) -> Self {
        let ordinary = || all.iter().filter(|name| tag_scheme::parse(name).is_none());
        let search = choice.search.to_ascii_lowercase();
        let matching = ordinary().filter(|name| name.to_ascii_lowercase().contains(&search));
        let mut matching: Vec<VersionKey> = matching.map(VersionKey::of).collect();
        matching.sort_unstable_by(|one, other| one.compare(other, choice.newest_first));
        let count = matching.len();
        let after = after.map(VersionKey::of);
        let begin = after.map_or(0, |after| {
            matching.partition_point(|key| key.compare(&after, choice.newest_first).is_le())
        });
        // A name that is no tag's cannot be asked for.
        let mut wanted = matching[begin..].iter().filter_map(|key| Tag::parse(key.name()).ok());
        let tags: Vec<Tag> = wanted.by_ref().take(TAGS).collect();
        Self {
            next: wanted.next().and_then(|_| tags.last().cloned()),
            tags,
            total: ordinary().count(),
            matching: count,
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
    let tagged = match summary(context, repository, &tag, caller).await {
        Ok(tagged) => Ok(tagged),
        Err(refused @ ProxyError::Refused(_)) => return Err(refused),
        Err(failure) => Err(failure.to_string()),
    };
    Ok(Row { tag, tagged })
}

/// What refers to the image behind a tag, and to the platforms of an index.
async fn summary(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
    tag: &Tag,
    caller: &Caller,
) -> Result<TagSummary, ProxyError> {
    let reference = Reference::Tag(tag.clone());
    let raw = subject_lookup::manifest(context, repository, &reference, caller).await?;
    let manifest = raw.parse().ok();
    let platforms = manifest.as_ref().map(platforms).unwrap_or_default();
    let mut kinds: BTreeMap<Digest, Badge> = BTreeMap::new();
    let mut subjects = vec![&raw.digest];
    subjects.extend(platforms.iter().take(PLATFORMS));
    for subject in subjects {
        let resolved = context.backend.resolver.resolve(repository, subject, caller).await?;
        let referrers = resolved.links.referrers.iter();
        kinds.extend(referrers.map(|referrer| (referrer.descriptor.digest.clone(), Badge::of(referrer))));
    }
    let mut badges = BTreeMap::new();
    for badge in kinds.into_values() {
        *badges.entry(badge).or_default() += 1;
    }
    Ok(TagSummary {
        digest: raw.digest.clone(),
        kind: manifest.as_ref().map(|manifest| manifest.kind),
        badges,
        uncounted: platforms.len().saturating_sub(PLATFORMS),
    })
}

/// The manifests of an index that are not attestations of others in it.
fn platforms(index: &Manifest) -> Vec<&Digest> {
    let listed = index.manifests.iter();
    let images = listed.filter(|listed| listed.stated_subjects().next().is_none());
    images.map(|listed| &listed.digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_ordinary_tags_in_the_order_of_versions() {
        let link = format!("sha256-{}.sig", "0".repeat(64));
        let many: Vec<String> = (0..120).map(|number| format!("v{number}")).collect();
        let mut names: Vec<&String> = many.iter().chain([&link]).collect();
        names.sort();
        let all: TagNames = names.into_iter().collect();
        let cut = |search, newest_first, after| {
            let choice = TagChoice {
                search,
                newest_first,
                ..TagChoice::default()
            };
            ChosenTags::cut(&all, choice, after)
        };
        let first = cut("", false, None);
        assert_eq!((first.tags.len(), first.total, first.matching), (TAGS, 120, 120));
        assert_eq!(first.tags[10].as_str(), "v10");
        let next = first.next.unwrap();
        assert_eq!(next.as_str(), "v49");
        assert_eq!(cut("", false, Some("v49")).tags[0].as_str(), "v50");
        let last = cut("", false, Some("v99"));
        assert_eq!((last.tags.len(), last.next), (20, None));
        let newest = cut("", true, Some("v100"));
        assert_eq!(newest.tags[0].as_str(), "v99");
        // A tag that was deleted meanwhile still has its place.
        assert_eq!(cut("", false, Some("v49.5")).tags[0].as_str(), "v50");
        let found = cut("V11", false, None);
        assert_eq!((found.tags.len(), found.next, found.matching), (11, None, 11));
        assert!(cut("nowhere", false, None).tags.is_empty());
    }
}
