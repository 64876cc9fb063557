//! The `Link` header (RFC 8288), as far as paging needs it.

use http::HeaderMap;
use http::header::LINK;

/// The target of the first link whose relation is `next`, as it is written: relative or absolute, its query opaque.
pub(crate) fn next(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(LINK).iter();
    lines.filter_map(|line| line.to_str().ok()).find_map(next_of_line)
}

fn next_of_line(mut line: &str) -> Option<&str> {
    while let Some((_, from_target)) = line.split_once('<') {
        let (target, after) = from_target.split_once('>')?;
        let (is_next, rest) = parameters(after);
        if is_next {
            return Some(target);
        }
        line = rest;
    }
    None
}

/// Reads a link's parameters up to the comma that ends it: whether it is a `next`, and what follows it.
fn parameters(mut rest: &str) -> (bool, &str) {
    let mut is_next = false;
    loop {
        rest = rest.trim_start();
        let Some(parameter) = rest.strip_prefix(';') else {
            return (is_next, rest);
        };
        let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
        let (name, after) = parameter.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => value(after.trim_start()),
            None => ("", after),
        };
        let relations = value.split_ascii_whitespace();
        is_next |= name.trim().eq_ignore_ascii_case("rel") && relations.into_iter().any(is_next_relation);
        rest = after;
    }
}

fn is_next_relation(relation: &str) -> bool {
    relation.eq_ignore_ascii_case("next")
}

/// A token or a quoted string, and what follows it. No relation needs an escape, so a backslash stays one.
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
        Some(end) => (&quoted[..end], &quoted[end + 1..]),
        None => (quoted, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn next_in(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_str(line).unwrap());
        }
        next(&headers).map(str::to_owned)
    }

    #[test]
    fn finds_the_next_link_in_every_shape() {
        for line in [
            r#"</v2/a/tags/list?last=x&n=1>; rel="next""#,
            "</v2/a/tags/list?last=x&n=1>;rel=next",
            r#"</v2/a/tags/list?last=x&n=1> ; title="a,b;c\"<d>" ; REL="prev NEXT""#,
            r#"</first>; rel="first", </v2/a/tags/list?last=x&n=1>; rel="next""#,
            r#", </v2/a/tags/list?last=x&n=1>; a; rel = "next""#,
        ] {
            assert_eq!(
                next_in(&[line]).as_deref(),
                Some("/v2/a/tags/list?last=x&n=1"),
                "{line}"
            );
        }
        assert_eq!(next_in(&["</p>; rel=prev", "<n>; rel=next"]).as_deref(), Some("n"));
        let absolute = r#"<https://r.example/v2/a/tags/list?last=ab%2Fc%3D%3D>; rel="next""#;
        assert_eq!(
            next_in(&[absolute]).as_deref(),
            Some("https://r.example/v2/a/tags/list?last=ab%2Fc%3D%3D")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in "[<>;,=\"\\\\ a-z]{0,40}") {
            let _ = next_of_line(&text);
            let _ = next_of_line(&format!("<a>;{text}"));
        }
    }

    #[test]
    fn nothing_else_is_next() {
        for line in [
            "",
            "</a>",
            "</a>; rel=nextish",
            "</a",
            "/a; rel=next",
            r#"</a>; title="rel=next""#,
            "</a>; rel=\"",
        ] {
            assert_eq!(next_in(&[line]), None, "{line}");
        }
    }
}
