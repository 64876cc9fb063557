//! `WWW-Authenticate` (RFC 9110, section 11.6.1; Docker's token authentication).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One way in which a registry would be authenticated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A user and a password (RFC 7617).
    Basic,
    /// A token of a token endpoint.
    Bearer(Bearer),
    /// A scheme that refshim does not know, by its name.
    Other(String),
}

/// Which token endpoint gives a token, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The token endpoint's URL.
    pub realm: String,
    /// The registry's name there.
    pub service: Option<String>,
    /// What the refused request needs, separated by spaces.
    pub scope: Option<String>,
}

/// Every challenge of a response, in its order. Header values that are not ASCII are left out.
pub fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    texts.flat_map(parse).collect()
}

/// One header value, which may hold several challenges.
fn parse(text: &str) -> Vec<Challenge> {
    let mut raw: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for part in split_outside_quotes(text) {
        let part = part.trim();
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        // `Bearer realm=…` begins a challenge, `service=…` goes on with it, `Basic` alone begins one.
        let begins = name.trim().split_once(char::is_whitespace);
        let parameter = match begins {
            Some((scheme, parameter)) => {
                raw.push((scheme.to_owned(), Vec::new()));
                parameter
            }
            None if part.contains('=') => name,
            None => {
                if !part.is_empty() {
                    raw.push((part.to_owned(), Vec::new()));
                }
                continue;
            }
        };
        if let Some((_, parameters)) = raw.last_mut() {
            parameters.push((parameter.trim().to_ascii_lowercase(), unquote(value.trim())));
        }
    }
    raw.into_iter()
        .map(|(scheme, parameters)| typed(&scheme, parameters))
        .collect()
}

fn typed(scheme: &str, parameters: Vec<(String, String)>) -> Challenge {
    if scheme.eq_ignore_ascii_case("basic") {
        return Challenge::Basic;
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Challenge::Other(scheme.to_owned());
    }
    let mut bearer = Bearer::default();
    for (name, value) in parameters {
        match name.as_str() {
            "realm" => bearer.realm = value,
            "service" => bearer.service = Some(value),
            "scope" => bearer.scope = Some(value),
            _ => {}
        }
    }
    Challenge::Bearer(bearer)
}

/// At commas; those between quotes (`scope="repository:a:pull,push"`) belong to a value.
fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = escaped;
        escaped = quoted && c == '\\' && !was_escaped;
        if c == '"' && !was_escaped {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
    .collect()
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut unquoted = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        unquoted.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    unquoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: Some(service.to_owned()),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn registries_challenges() {
        assert_eq!(
            parse(r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull,push""#),
            [bearer(
                "https://ghcr.io/token",
                "ghcr.io",
                Some("repository:a/b:pull,push")
            )]
        );
        assert_eq!(parse(r#"Basic realm="registry, with comma""#), [Challenge::Basic]);
        assert_eq!(
            parse(r#"Bearer realm="http://g/v2/token",service="container_registry",scope="*", Basic realm="g""#),
            [
                bearer("http://g/v2/token", "container_registry", Some("*")),
                Challenge::Basic
            ]
        );
        assert_eq!(parse("Negotiate"), [Challenge::Other("Negotiate".into())]);
        assert_eq!(
            parse(r#"bearer Realm="a\"b" , service=plain"#),
            [bearer("a\"b", "plain", None)]
        );
        assert_eq!(parse(""), []);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".*") {
            parse(&text);
        }
    }
}
