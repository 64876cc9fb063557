//! `tags/list` in every shape.

use base64::Engine as _;
use http::header::LINK;
use http::{HeaderValue, Response, StatusCode};
use refshim::testing::http::body::Body;
use refshim::testing::oci::RepositoryName;
use serde_json::json;
use url::form_urlencoded;

use super::answer::Asked;
use super::knobs::{Last, Link, Order, TagPages, TooMany};
use super::reply::{plain, refused};

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

pub fn list(asked: &Asked<'_>) -> Option<Response<Body>> {
    let pages = asked.knobs.tags.as_ref()?;
    let name = asked.path.strip_prefix("/v2/")?.strip_suffix("/tags/list")?;
    let name = RepositoryName::parse(name).ok().filter(|_| asked.is_read())?;
    let size = match size(asked, pages) {
        Ok(size) => size,
        Err(why) => return Some(refuse_n(why)),
    };
    if pages.link == Link::Endless {
        return Some(endless(asked, pages, &name, size));
    }
    let made = asked.shared.change(|state| {
        state
            .motions
            .page(&asked.shared.registry, &name, asked.query("last").as_deref());
        if pages.tokens_expire { state.motions.made } else { 0 }
    });
    // An unknown repository is the embedded registry's to refuse.
    let mut all: Vec<String> = asked
        .shared
        .registry
        .store()
        .tags(&name)?
        .iter()
        .map(ToString::to_string)
        .filter(|tag| pages.shown.shows(tag, asked.shared.was_asked(name.as_str(), tag)))
        .collect();
    sort(&mut all, pages.order);
    let Some(start) = start(asked, pages, &all, made) else {
        let message = "Invalid parameter at 'nextToken' failed to satisfy constraint";
        return Some(refused(StatusCode::BAD_REQUEST, "UNSUPPORTED", message));
    };
    let rest = &all[start.min(all.len())..];
    let page = &rest[..size.min(rest.len())];
    let more = page.len() < rest.len() || (pages.always_links && !page.is_empty());
    let next = more.then(|| next(pages, page, (start + page.len(), made)));
    Some(print(asked, pages, &name, page, size, next.as_deref()))
}

/// How many tags go on a page; an `Err` is an `n` that is refused.
fn size(asked: &Asked<'_>, pages: &TagPages) -> Result<usize, TooMany> {
    let n = asked.query("n").and_then(|n| n.parse::<usize>().ok());
    let (Some(n), Some(greatest)) = (n, pages.greatest_n) else {
        return Ok(pages.page.unwrap_or(usize::MAX));
    };
    match pages.too_many {
        _ if n <= greatest => Ok(n),
        TooMany::Clamped => Ok(greatest),
        refused => Err(refused),
    }
}

fn refuse_n(why: TooMany) -> Response<Body> {
    if why == TooMany::Unsupported {
        let message = "Invalid parameter at 'maxResults' failed to satisfy constraint: \
            'Member must have value less than or equal to 1000'";
        refused(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    } else {
        let message = "invalid number of results requested";
        refused(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
    }
}

fn sort(tags: &mut [String], order: Order) {
    match order {
        Order::OldestFirst => {}
        Order::NewestFirst => tags.reverse(),
        Order::Bytewise => tags.sort(),
        Order::Collated => tags.sort_by_cached_key(|tag| {
            let letters = tag.chars().filter(char::is_ascii_alphanumeric);
            (letters.collect::<String>().to_ascii_lowercase(), tag.clone())
        }),
        Order::Scrambled => tags.sort_by_cached_key(|tag| tag.bytes().rev().collect::<Vec<u8>>()),
    }
}

/// The first tag of the page, counted from 0. `None`: `last` is refused.
fn start(asked: &Asked<'_>, pages: &TagPages, all: &[String], made: usize) -> Option<usize> {
    let parameter = if pages.link == Link::NextPage {
        "next_page"
    } else {
        "last"
    };
    let Some(last) = asked.query(parameter) else {
        return Some(0);
    };
    let place = all.iter().position(|tag| *tag == last);
    let greater = || all.iter().position(|tag| *tag > last).unwrap_or(all.len());
    match pages.last {
        _ if pages.link == Link::NextPage => unseal(&last, made),
        Last::Ignored => Some(0),
        Last::Seeks => Some(greater()),
        Last::SeeksOrStartsOver => Some(if greater() < all.len() { greater() } else { 0 }),
        Last::SkipsOne => Some(greater() + usize::from(place.is_none())),
        Last::MustExist => Some(place.map_or(all.len(), |place| place + 1)),
        Last::Place { unknown_starts } => Some(match place {
            Some(place) => place + 1,
            None if unknown_starts => 0,
            None => all.len(),
        }),
        Last::Token => unseal(&last, made),
        Last::Number => Some(last.parse().unwrap_or(0)),
    }
}

/// `made`: how often the tags changed before it was issued.
fn seal((place, made): (usize, usize)) -> String {
    BASE64.encode(format!("{{\"place\":{place},\"made\":{made}}}??>"))
}

fn unseal(token: &str, made: usize) -> Option<usize> {
    let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
    let (place, issued) = text
        .strip_prefix("{\"place\":")?
        .strip_suffix("}??>")?
        .split_once(",\"made\":")?;
    (issued.parse() == Ok(made)).then_some(place.parse().ok()?)
}

/// What to send to get the page after `page`, which ends before `place`.
fn next(pages: &TagPages, page: &[String], place: (usize, usize)) -> String {
    match pages.last {
        _ if pages.link == Link::NextPage => seal(place),
        Last::Token => seal(place),
        Last::Number => place.0.to_string(),
        _ => page.last().cloned().unwrap_or_default(),
    }
}

/// `http://…/v2/<name>/tags/list?…` as a `Link` shows it; `None` where no `Link` is sent.
fn target(asked: &Asked<'_>, pages: &TagPages, size: usize, next: &str) -> Option<String> {
    let parameter = if pages.link == Link::NextPage {
        "next_page"
    } else {
        "last"
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(parameter, next);
    if size != usize::MAX {
        query.append_pair("n", &size.to_string());
    }
    let (base, path, query) = (asked.knobs.base, &asked.path, query.finish());
    let origin = asked.origin();
    Some(match pages.link {
        Link::None => return None,
        Link::Relative | Link::Endless => format!("{base}{path}?{query}"),
        Link::WithoutBase => format!("{path}?{query}"),
        Link::Absolute | Link::NextPage => format!("{origin}{base}{path}?{query}"),
        Link::Internal => format!("{origin}/repository/docker-hosted{path}?{query}"),
        Link::Loop => asked.head.uri.to_string(),
        Link::Elsewhere => format!("{}{path}?{query}", asked.shared.elsewhere),
    })
}

fn print(
    asked: &Asked<'_>,
    pages: &TagPages,
    name: &RepositoryName,
    page: &[String],
    size: usize,
    next: Option<&str>,
) -> Response<Body> {
    let tags = Some(page).filter(|page| !pages.null || !page.is_empty());
    let body = json!({"name": name, "tags": tags}).to_string();
    let mut response = plain(StatusCode::OK, pages.media_type, body);
    let looping = (pages.link == Link::Loop).then_some("");
    if let Some(target) = next.or(looping).and_then(|next| target(asked, pages, size, next)) {
        let link = HeaderValue::from_bytes(pages.link_form.write(&target).as_bytes()).expect("a link fits a header");
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// Ten made-up tags and the promise of more.
fn endless(asked: &Asked<'_>, pages: &TagPages, name: &RepositoryName, size: usize) -> Response<Body> {
    let after: usize = asked.query("last").and_then(|last| last.parse().ok()).unwrap_or(0);
    let page: Vec<String> = (after..after + 10)
        .map(|number| format!("made-up-{number:09}"))
        .collect();
    print(asked, pages, name, &page, size, Some(&(after + 10).to_string()))
}
