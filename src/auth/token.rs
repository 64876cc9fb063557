//! Docker's token authentication: what is asked of a realm, and what it answers. Sending is the caller's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Bearer;

/// What a token lives for when the realm does not say (the token specification's default).
const DEFAULT_LIFE: u64 = 60;
/// As which refresh tokens are exchanged.
const CLIENT: &str = "refshim";

/// A realm's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub token: String,
    pub lives: Duration,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// `None` where there is no token in it.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let answer: TokenResponse = serde_json::from_slice(body).ok()?;
        let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
        let lives = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE));
        (!token.is_empty()).then_some(Self { token, lives })
    }
}

/// Path and query of a GET that asks `realm` for a token; its own query stays.
pub fn question(realm: &Url, bearer: &Bearer, scopes: &[String]) -> String {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
    }
    target(&url)
}

/// Path and query of `url`.
pub fn target(url: &Url) -> String {
    match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The form that exchanges an identity token (OAuth2's `refresh_token` grant).
pub fn exchange_form(bearer: &Bearer, scopes: &[String], identity: &str) -> String {
    Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", bearer.service.as_deref().unwrap_or_default())
        .append_pair("client_id", CLIENT)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("refresh_token", identity)
        .finish()
}

/// The value of `Authorization`.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(service: Option<&str>) -> Bearer {
        Bearer {
            service: service.map(str::to_owned),
            ..Bearer::default()
        }
    }

    #[test]
    fn the_token_request_keeps_the_realms_own_query() {
        let realm = Url::parse("https://auth.example/token?account=a").unwrap();
        let scopes = ["repository:o/app:pull,push".to_owned(), "repository:b:pull".to_owned()];
        assert_eq!(
            question(&realm, &bearer(Some("registry.example")), &scopes),
            "/token?account=a&service=registry.example&scope=repository%3Ao%2Fapp%3Apull%2Cpush&scope=repository%3Ab%3Apull"
        );
        let bare = Url::parse("https://auth.example/token").unwrap();
        assert_eq!(question(&bare, &bearer(None), &[]), "/token");
        assert_eq!(
            exchange_form(&bearer(Some("s")), &scopes[1..], "i+d"),
            "grant_type=refresh_token&service=s&client_id=refshim&scope=repository%3Ab%3Apull&refresh_token=i%2Bd"
        );
    }

    #[test]
    fn tokens_in_every_spelling() {
        let parsed = |body: &str| Token::parse(body.as_bytes()).map(|token| (token.token, token.lives.as_secs()));
        let some = |token: &str, lives| Some((token.to_owned(), lives));
        assert_eq!(parsed(r#"{"token":"t","expires_in":300}"#), some("t", 300));
        assert_eq!(parsed(r#"{"access_token":"a","token":""}"#), some("a", 60));
        for nothing in ["", "{}", r#"{"token":""}"#, r#"{"token":1}"#, "<html>"] {
            assert_eq!(parsed(nothing), None, "{nothing}");
        }
    }
}
