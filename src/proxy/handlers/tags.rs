//! `GET /v2/<name>/tags/list`, repaired: sorted, paged as the spec says, without the tags that only link. Of a repository whose
//! listing has several pages and was never walked, whoever asks for pages is given the registry's own, and so is whoever would wait
//! longer than `links.patience` for the whole: see [`registry_listing`].

use std::num::IntErrorKind;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{HeaderMap, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::config::{HIDDEN_TAGS, TagsConfig};
use crate::http::body::Body;
use crate::oci::{Code, LinkTagKind, OciError, RepositoryName, tag_scheme};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::proxy::{headers, passthrough};
use crate::referrers::CallersTags;
use crate::registry::{Answer, TagNames};
use crate::render::Query;

mod registry_listing;

use registry_listing::{CURSOR, RegistryListing};

const CONTENT_TYPE: &str = "application/json";
/// What a tag may hold stays readable.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

pub(in crate::proxy) async fn list_tags(
    context: &RequestContext<'_>,
    repository: &RepositoryName,
) -> Result<Response<Body>, ProxyError> {
    let query = Query::parse(context.head.uri.query());
    let limit = query.first("n").map(page_size).transpose()?;
    let (backend, last) = (context.backend, query.first("last"));
    let hide = &backend.shared.tags;
    let listing = RegistryListing {
        context,
        repository,
        limit,
    };
    let (page, next) = if let Some(cursor) = query.first(CURSOR) {
        listing.go_on(cursor, last.unwrap_or_default()).await?
    } else {
        // Whoever names a `last` of its own goes by the order of names, in which only the whole listing is known to be.
        let listed = match last {
            None => {
                backend
                    .resolver
                    .tags_or_first_page(repository, &context.caller(), limit.is_some())
                    .await?
            }
            Some(_) => {
                let all = backend.resolver.tags(repository, &context.caller()).await?;
                all.try_map(|all| Ok(CallersTags::All(all)))?
            }
        };
        match listed {
            Answer::Found(CallersTags::All(all)) => {
                let page = TagsPage::cut(&all, last, limit, hide);
                let next = page.next.map(|last| next_link(repository, last, limit, None));
                (page.names.into_iter().map(str::to_owned).collect(), next)
            }
            Answer::Found(CallersTags::FirstPage(first)) => listing.begin(first).await?,
            Answer::Absent => return Err(no_repository(repository).into()),
            Answer::Refused(refusal) => return Err(refusal.into()),
        }
    };
    let name = context.view.repository(repository);
    let mut answered = LocalResponse::new(CONTENT_TYPE, print(&name, &page)).link(next);
    if hide.hides_any() {
        // Whoever must see every tag, as 'refshim gc' must, is told not to look here.
        answered = answered.header(HIDDEN_TAGS, "link-tags");
    }
    if let Some(along) = along(context, repository).await {
        answered = answered.sent_along(&along);
    }
    Ok(answered.respond_compressed(&context.head).await)
}

/// What the registry sends along with this listing to the page of a browser (CORS). A listing is read once for all who ask, on
/// refshim's own account of headers, so the registry is asked for the first tag with the headers of this request. Whoever is no
/// page has no use for it.
async fn along(context: &RequestContext<'_>, repository: &RepositoryName) -> Option<HeaderMap> {
    if !context.head.headers.contains_key(ORIGIN) {
        return None;
    }
    let mut one = context.head.clone();
    one.uri = format!("/v2/{repository}/tags/list?n=1").parse().ok()?;
    let sent = passthrough::forward_as(context, one, Body::empty()).await.ok()?;
    sent.status()
        .is_success()
        .then(|| headers::along_with_another_body(sent.headers()))
}

/// `n`: a number of tags; zero asks for none.
fn page_size(text: &str) -> Result<usize, OciError> {
    text.parse()
        .or_else(|error: std::num::ParseIntError| match error.kind() {
            // More than there could be.
            IntErrorKind::PosOverflow => Ok(usize::MAX),
            _ => {
                let message = "n is not a number of tags";
                Err(OciError::bad_request(Code::PaginationNumberInvalid, message))
            }
        })
}

struct TagsPage<'a> {
    names: Vec<&'a str>,
    /// The last name of this page, where others follow.
    next: Option<&'a str>,
}

impl<'a> TagsPage<'a> {
    /// The names after `last`, which need not exist and may be hidden; hidden ones do not count.
    fn cut(all: &'a TagNames, last: Option<&str>, limit: Option<usize>, hide: &TagsConfig) -> Self {
        let start = last.map_or(0, |last| {
            let at = all.lower_bound(last);
            at + usize::from(at < all.len() && all.get(at) == last)
        });
        let mut shown = (start..all.len())
            .map(|index| all.get(index))
            .filter(|name| !hidden(name, hide));
        let limit = limit.unwrap_or(usize::MAX);
        let names: Vec<&str> = shown.by_ref().take(limit).collect();
        let more = limit > 0 && shown.next().is_some();
        Self {
            next: names.last().copied().filter(|_| more),
            names,
        }
    }
}

/// Whether the configuration keeps a tag out of listings.
fn hidden(name: &str, hide: &TagsConfig) -> bool {
    tag_scheme::parse(name).is_some_and(|tag| match tag.kind {
        LinkTagKind::ProposalD { .. } => hide.hide_proposal_d,
        LinkTagKind::Cosign(_) => hide.hide_cosign,
        LinkTagKind::Referrers => hide.hide_referrers_tag,
    })
}

fn print(name: &str, names: &[String]) -> Bytes {
    json!({"name": name, "tags": names}).to_string().into()
}

fn no_repository(repository: &RepositoryName) -> OciError {
    OciError::not_found(
        Code::NameUnknown,
        format!("the registry has no repository {repository}"),
    )
}

/// Path-absolute. With a `cursor`, to a page of the registry's own.
fn next_link(repository: &RepositoryName, last: &str, limit: Option<usize>, cursor: Option<&str>) -> String {
    let mut link = format!("</v2/{repository}/tags/list?last={}", utf8_percent_encode(last, VALUE));
    if let Some(limit) = limit {
        link.push_str(&format!("&n={limit}"));
    }
    if let Some(cursor) = cursor {
        link.push_str(&format!("&{CURSOR}={}", utf8_percent_encode(cursor, VALUE)));
    }
    link.push_str(">; rel=\"next\"");
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    const NOTHING: TagsConfig = TagsConfig {
        hide_proposal_d: false,
        hide_cosign: false,
        hide_referrers_tag: false,
    };

    fn hide_proposal_d() -> TagsConfig {
        TagsConfig {
            hide_proposal_d: true,
            ..NOTHING
        }
    }

    fn cut(all: &[&str], last: Option<&str>, limit: Option<usize>, hide: &TagsConfig) -> (Vec<String>, Option<String>) {
        let all: TagNames = all.iter().collect();
        let page = TagsPage::cut(&all, last, limit, hide);
        (
            page.names.iter().map(|&n| n.to_owned()).collect(),
            page.next.map(str::to_owned),
        )
    }

    #[test]
    fn pages_are_full_though_tags_are_hidden() {
        let link = format!("sha256-{HEX}.0123456789abcdef.sig");
        let all = ["z", &link, "a", "b", "t"];
        let hide = hide_proposal_d();
        for (last, limit, names, next) in [
            (None, None, &["a", "b", "t", "z"][..], None),
            (None, Some(2), &["a", "b"], Some("b")),
            (Some("b"), Some(1), &["t"], Some("t")),
            (Some("b"), Some(2), &["t", "z"], None),
            (Some(link.as_str()), Some(9), &["t", "z"], None),
            (Some("aa"), Some(1), &["b"], Some("b")),
            (Some("zz"), Some(1), &[], None),
            (Some(""), Some(0), &[], None),
        ] {
            let expected = (names.iter().map(|&n| n.to_owned()).collect(), next.map(str::to_owned));
            assert_eq!(cut(&all, last, limit, &hide), expected, "{last:?} {limit:?}");
        }
        // What remains is hidden: nothing follows.
        assert_eq!(cut(&["a", &link], None, Some(1), &hide).1, None);
    }

    #[test]
    fn each_kind_of_tag_has_its_switch() {
        let all = TagsConfig {
            hide_proposal_d: true,
            hide_cosign: true,
            hide_referrers_tag: true,
        };
        for (suffix, one) in [
            (".0123456789abcdef.envelope", hide_proposal_d()),
            (
                ".sig",
                TagsConfig {
                    hide_cosign: true,
                    ..NOTHING
                },
            ),
            (
                "",
                TagsConfig {
                    hide_referrers_tag: true,
                    ..NOTHING
                },
            ),
        ] {
            let name = format!("sha256-{HEX}{suffix}");
            assert!(hidden(&name, &one) && hidden(&name, &all), "{name}");
            assert!(!hidden(&name, &NOTHING), "{name}");
        }
        assert!(!hidden("latest", &all) && !hidden("sha256-beef.sig", &all));
    }

    #[test]
    fn page_sizes_are_numbers() {
        assert_eq!(page_size("0"), Ok(0));
        assert_eq!(page_size("99999999999999999999999"), Ok(usize::MAX));
        for bad in ["", "-1", "x", "1.5", " 1"] {
            assert!(page_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_link_leads_on_with_the_same_question() {
        let name = RepositoryName::parse("a/b").unwrap();
        assert_eq!(
            next_link(&name, "v1.0_x", Some(2), None),
            "</v2/a/b/tags/list?last=v1.0_x&n=2>; rel=\"next\""
        );
    }
}
