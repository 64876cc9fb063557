//! The `Link` header to the next page (RFC 8288).

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::page::NEXT_TOKEN;
use super::query::Query;

/// The query parameters that the link repeats: those of the question, and the page size.
const KEPT: [&str; 3] = ["digest", "artifactType", "n"];

/// Characters to percent-encode in values: all except those that no parser treats specially.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// Characters to percent-encode in paths, which the caller has already encoded: those that would end the URL or the header's brackets.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// `<{origin}{path}?…&nextToken={token}>; rel="next"`. `origin` is `""` for a path-absolute link (OCI 1.1), or
/// `https://host` where the API wants an absolute one (Proposal A). `path` and `query` are those of the request.
pub fn next_link(origin: &str, path: &str, query: &Query, token: &str) -> String {
    let mut link = format!("<{origin}{}?", utf8_percent_encode(path, PATH));
    for (key, value) in query.pairs().filter(|(key, _)| KEPT.contains(key)) {
        link.push_str(key);
        link.push('=');
        link.extend(utf8_percent_encode(value, VALUE));
        link.push('&');
    }
    link.push_str(NEXT_TOKEN);
    link.push('=');
    link.extend(utf8_percent_encode(token, VALUE));
    link.push_str(">; rel=\"next\"");
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_question_and_drops_the_rest() {
        let query = Query::parse(Some("artifactType=a/b+c&x=1&artifactType=d%3Ee&n=5&nextToken=old"));
        assert_eq!(
            next_link("", "/v2/a/b/referrers/sha256:00", &query, "t-_1"),
            "</v2/a/b/referrers/sha256:00?artifactType=a%2Fb%2Bc&artifactType=d%3Ee&n=5&nextToken=t-_1>; rel=\"next\""
        );
    }

    #[test]
    fn nothing_breaks_out_of_the_brackets() {
        let query = Query::parse(Some("digest=%3E%0D%0Ax&n=%22"));
        let link = next_link("https://r.example", "/v2/>\r\n?é", &query, "t");
        assert_eq!(link.matches('>').count(), 1);
        assert!(link.bytes().all(|b| (0x20..0x7f).contains(&b)), "{link}");
    }
}
