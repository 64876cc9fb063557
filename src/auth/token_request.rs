//! What a token endpoint is asked (distribution's "Token Authentication" and "OAuth2 Token Authentication"). Sending is the caller's.

use http::{HeaderValue, Uri};
use url::Url;
use url::form_urlencoded::Serializer;

use super::token::{basic, sensitive};
use super::{AuthProblem, Bearer, Credentials};

/// The `client_id` under which refshim exchanges identity tokens.
const CLIENT: &str = "refshim";

/// A request for a token.
#[derive(Debug)]
pub struct TokenRequest {
    /// The realm's; for a GET with service and scopes in its query.
    pub uri: Uri,
    /// For a GET: the user and the password, where there are some.
    pub authorization: Option<HeaderValue>,
    /// For a POST: what exchanges an identity token, `application/x-www-form-urlencoded`. Without it, the request is a GET.
    pub form: Option<String>,
}

impl TokenRequest {
    /// Asks the realm of `bearer` for a token for `scopes`. With `https_only`, credentials are sent to an https realm alone.
    pub fn new(
        bearer: &Bearer,
        scopes: &[String],
        credentials: Option<&Credentials>,
        https_only: bool,
    ) -> Result<Self, AuthProblem> {
        let unusable = |problem: &'static str| AuthProblem::Realm {
            realm: bearer.realm.clone(),
            problem,
        };
        let realm = Url::parse(&bearer.realm).map_err(|_| unusable("is not a URL"))?;
        if !matches!(realm.scheme(), "https" | "http") {
            return Err(unusable("is not an http or https URL"));
        }
        if credentials.is_some() && https_only && realm.scheme() != "https" {
            return Err(unusable("is not https, so no credentials were sent to it"));
        }
        let (target, authorization, form) = match credentials {
            Some(Credentials::IdentityToken(identity)) => {
                (target(&realm), None, Some(exchange_form(bearer, scopes, identity)))
            }
            Some(Credentials::Password { user, password }) => {
                let authorization = sensitive(&basic(user, password));
                (question(&realm, bearer, scopes), authorization, None)
            }
            None => (question(&realm, bearer, scopes), None, None),
        };
        let uri = format!("{}{target}", realm.origin().ascii_serialization()).parse();
        Ok(Self {
            uri: uri.map_err(|_| unusable("is no URL that can be asked"))?,
            authorization,
            form,
        })
    }
}

/// Path and query of a GET that asks `realm` for a token; its own query stays.
fn question(realm: &Url, bearer: &Bearer, scopes: &[String]) -> String {
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
fn target(url: &Url) -> String {
    match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The form that exchanges an identity token (OAuth2's `refresh_token` grant).
fn exchange_form(bearer: &Bearer, scopes: &[String], identity: &str) -> String {
    Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", bearer.service.as_deref().unwrap_or_default())
        .append_pair("client_id", CLIENT)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("refresh_token", identity)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Bearer {
        Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            ..Bearer::default()
        }
    }

    fn scopes() -> [String; 2] {
        ["repository:o/app:pull,push".to_owned(), "repository:b:pull".to_owned()]
    }

    #[test]
    fn the_realms_own_query_stays() {
        let bearer = bearer("https://auth.example/token?account=a", Some("registry.example"));
        let asked = TokenRequest::new(&bearer, &scopes(), None, true).unwrap();
        assert_eq!(
            asked.uri,
            "https://auth.example/token?account=a&service=registry.example&scope=repository%3Ao%2Fapp%3Apull%2Cpush&scope=repository%3Ab%3Apull"
        );
        assert!(asked.authorization.is_none() && asked.form.is_none());
    }

    #[test]
    fn a_realm_is_an_http_or_https_url() {
        for realm in [
            "h:ttp://g/token",
            "nullhttp://g/token",
            "file:///token",
            "/token",
            "mailto:a@b",
        ] {
            let asked = TokenRequest::new(&bearer(realm, None), &[], None, false);
            assert!(matches!(asked, Err(AuthProblem::Realm { .. })), "{realm}");
        }
    }

    #[test]
    fn passwords_and_identity_tokens_go_their_own_ways() {
        let bearer = bearer("https://auth.example/token", Some("s"));
        let asked = |credentials| TokenRequest::new(&bearer, &scopes()[1..], Some(&credentials), true).unwrap();
        let by_password = asked(Credentials::Password {
            user: "u".to_owned(),
            password: "p".to_owned(),
        });
        assert_eq!(by_password.authorization.unwrap(), "Basic dTpw");
        assert_eq!(by_password.form, None);
        let by_identity = asked(Credentials::IdentityToken("i+d".to_owned()));
        assert_eq!(by_identity.uri, "https://auth.example/token");
        assert_eq!(by_identity.authorization, None);
        assert_eq!(
            by_identity.form.unwrap(),
            "grant_type=refresh_token&service=s&client_id=refshim&scope=repository%3Ab%3Apull&refresh_token=i%2Bd"
        );
    }

    #[test]
    fn credentials_go_to_no_realm_in_clear_text_where_the_registry_is_not() {
        let bearer = bearer("http://auth.example/token", None);
        let identity = Credentials::IdentityToken("i".to_owned());
        let asked = |credentials, https_only| TokenRequest::new(&bearer, &[], credentials, https_only).is_ok();
        assert!(!asked(Some(&identity), true));
        assert!(asked(Some(&identity), false) && asked(None, true));
    }
}
