//! The `Link` header (RFC 8288), as far as paging needs it: which page comes next. A header that cannot be understood is an error,
//! never the end of a list.

use http::HeaderMap;
use http::header::LINK;

/// Registered relations (IANA) of links that are no next page. Relations that are URLs are extensions and are ignored too.
const OTHER_RELATIONS: &[&str] = &[
    "alternate",
    "author",
    "canonical",
    "collection",
    "contents",
    "current",
    "deprecation",
    "describedby",
    "dns-prefetch",
    "first",
    "help",
    "icon",
    "index",
    "item",
    "last",
    "license",
    "modulepreload",
    "preconnect",
    "prefetch",
    "preload",
    "prev",
    "previous",
    "profile",
    "search",
    "self",
    "service-desc",
    "service-doc",
    "start",
    "stylesheet",
    "sunset",
    "terms-of-service",
    "up",
    "via",
];

/// A `Link` header from which no next page can be derived, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Link header cannot be understood: {0}")]
pub(crate) struct NotUnderstood(&'static str);

/// One link: its target as written, and its relations; `None` if it names no relation.
struct LinkValue<'a> {
    target: &'a str,
    relations: Option<&'a str>,
}

/// The target of the link to the next page, as written: relative or absolute. A single link without relation counts as one, because
/// registries have no other reason to add a link to a page.
pub(crate) fn next(headers: &HeaderMap) -> Result<Option<String>, NotUnderstood> {
    let lines = headers.get_all(LINK).iter();
    // Bytes that are not UTF-8 are an error only inside a target.
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let mut links = Vec::new();
    for line in &lines {
        read_line(line, &mut links)?;
    }
    let relations_of = |link: &LinkValue<'_>| link.relations.map(|relations| relations.to_ascii_lowercase());
    let is_next =
        |link: &&LinkValue<'_>| relations_of(link).is_some_and(|text| text.split_whitespace().any(|r| r == "next"));
    let mut nexts = links.iter().filter(is_next);
    if let Some(first) = nexts.next() {
        return match nexts.all(|other| other.target == first.target) {
            true => target(first).map(Some),
            false => Err(NotUnderstood("it names several next pages")),
        };
    }
    let is_other = |text: &str| !text.is_empty() && text.split_whitespace().all(is_other_relation);
    let mut unnamed = None;
    for link in &links {
        match relations_of(link) {
            Some(text) if is_other(&text) => {}
            Some(_) => return Err(NotUnderstood("its relation is unknown")),
            None if unnamed.is_some() => return Err(NotUnderstood("several links name no relation")),
            None => unnamed = Some(link),
        }
    }
    unnamed.map(target).transpose()
}

/// Whether there are links at all.
pub(crate) fn has_links(headers: &HeaderMap) -> bool {
    headers.contains_key(LINK)
}

fn is_other_relation(relation: &str) -> bool {
    OTHER_RELATIONS.contains(&relation) || relation.contains("://")
}

fn target(link: &LinkValue<'_>) -> Result<String, NotUnderstood> {
    match link.target.contains(char::REPLACEMENT_CHARACTER) {
        true => Err(NotUnderstood("its target is not UTF-8")),
        false => Ok(link.target.to_owned()),
    }
}

fn read_line<'a>(line: &'a str, links: &mut Vec<LinkValue<'a>>) -> Result<(), NotUnderstood> {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return Ok(());
        }
        let (target, after) = match rest.strip_prefix('<') {
            Some(from_target) => from_target.split_once('>').ok_or(NotUnderstood("a '<' without '>'"))?,
            None => bare_target(rest)?,
        };
        let (relations, after) = parameters(after)?;
        links.push(LinkValue { target, relations });
        rest = after;
    }
}

/// A target without angle brackets (quay.io in 2016), and the text after it.
fn bare_target(text: &str) -> Result<(&str, &str), NotUnderstood> {
    let (target, after) = text.split_at(text.find(';').unwrap_or(text.len()));
    let target = target.trim_end();
    let is_url = ["/", "?", "http://", "https://"]
        .iter()
        .any(|begin| target.starts_with(begin));
    if is_url && !target.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')) {
        Ok((target, after))
    } else {
        Err(NotUnderstood("there is no target in angle brackets"))
    }
}

/// Reads a link's parameters up to the comma that ends it. Returns the relations that they name, and the text after the comma.
fn parameters(mut rest: &str) -> Result<(Option<&str>, &str), NotUnderstood> {
    let mut relations = None;
    loop {
        rest = rest.trim_start();
        let Some(parameter) = rest.strip_prefix(';') else {
            return match rest.is_empty() || rest.starts_with(',') {
                true => Ok((relations, rest)),
                false => Err(NotUnderstood("something follows a link")),
            };
        };
        let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
        let (name, after) = parameter.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => value(after.trim_start()),
            None => ("", after),
        };
        if name.trim().eq_ignore_ascii_case("rel") {
            // The first counts.
            relations = relations.or(Some(value.trim_matches(|c: char| c == '\'' || c.is_whitespace())));
        }
        rest = after;
    }
}

/// Reads a token or a quoted string. Returns it and the text after it; text between the closing quote and the next separator is
/// ignored. Relations need no escapes, so a backslash is taken literally.
fn value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.split_at(text.find([';', ',']).unwrap_or(text.len()));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    match end {
        Some(end) => {
            let after = &quoted[end + 1..];
            (&quoted[..end], &after[after.find([';', ',']).unwrap_or(after.len())..])
        }
        None => (quoted, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn next_in(lines: &[&str]) -> Result<Option<String>, NotUnderstood> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        next(&headers)
    }

    const NEXT: &str = "/v2/a/tags/list?last=x&n=1";

    #[test]
    fn finds_the_next_link_in_every_shape() {
        for line in [
            r#"<U>; rel="next""#,
            "<U>;rel=next",
            r#"<U> ; title="a,b;c\"<d>" ; REL="prev NEXT""#,
            r#"</first>; rel="first", <U>; rel="next""#,
            r#", <U>; a; rel = "next""#,
            "<U>;; rel=next",
            "<U>; rel='next'",
            "<U>; rel='prev next'",
            r#"<U>; rel="next"#,
            r#"<U>; rel="https://x.example/r next""#,
            r#"<U>; type="a;b,c"; rel=next"#,
            r#"<U>; rel=next; title="é""#,
            "<U>; rel=next;",
            r#"U; rel="next""#,
            "U;rel=next",
            r#"<U>; rel="next", <U>; rel=next"#,
            "<U>; rel=next, </x>; rel=nextish",
            // Without a relation, and alone.
            "<U>",
            "U",
            r#"<U>; title="rel=next""#,
            "<U>, </first>; rel=first",
        ] {
            let line = line.replace('U', NEXT);
            assert_eq!(next_in(&[&line]), Ok(Some(NEXT.to_owned())), "{line}");
        }
        assert_eq!(next_in(&["</p>; rel=prev", "<n>; rel=next"]), Ok(Some("n".to_owned())));
        let absolute = r#"<https://r.example/v2/a/tags/list?last=ab%2Fc%3D%3D>; rel="next""#;
        let expected = "https://r.example/v2/a/tags/list?last=ab%2Fc%3D%3D";
        assert_eq!(next_in(&[absolute]), Ok(Some(expected.to_owned())));
    }

    #[test]
    fn bytes_that_are_no_text_matter_only_in_the_target() {
        let next_of = |line: &[u8]| {
            let line = HeaderValue::from_bytes(line).unwrap();
            next(&HeaderMap::from_iter([(LINK, line)]))
        };
        assert_eq!(next_of(b"<n>; rel=\"next\"\xe9"), Ok(Some("n".to_owned())));
        assert_eq!(next_of(b"<n>; title=\"\xe9\"; rel=\"next\""), Ok(Some("n".to_owned())));
        assert!(next_of(b"<n\xe9>; rel=\"next\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in "[<>;,=\"\\\\'/ a-zé]{0,40}") {
            let _ = next_in(&[&text]);
            let _ = next_in(&[&format!("<a>;{text}")]);
        }
    }

    #[test]
    fn other_relations_are_no_next_page() {
        for line in [
            "",
            " , ",
            "</a>; rel=last",
            "</a>; rel=\"prev first\", </b>; rel=https://x.example/",
        ] {
            assert_eq!(next_in(&[line]), Ok(None), "{line}");
        }
        assert_eq!(next_in(&[]), Ok(None));
    }

    #[test]
    fn what_is_not_understood_is_no_end() {
        for line in [
            "</a>; rel=nextish",
            "</a>; rel=\"",
            "</a>; rel",
            "</a>; rel=\"prev what\"",
            "</a",
            "a; rel=next",
            "</a>, </b>",
            "</a>; rel=next, </b>; rel=next",
            "</a> </b>; rel=next",
            "/a b; rel=next",
        ] {
            assert!(next_in(&[line]).is_err(), "{line}: {:?}", next_in(&[line]));
        }
    }
}
