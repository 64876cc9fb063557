//! Requests to the upstream itself: on the caller's credentials, or on refshim's own where the configuration gives it some.

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use url::Url;

use super::authenticator::{AuthScheme, Authenticator, CachedToken};
use super::counts::RequestKind;
use super::idle_timeout::IdleBody;
use super::reader::{OWN_USER_AGENT, failure_of};
use super::{Caller, RegistryResponse, Upstream, UpstreamError, collect};
use crate::auth::token_scopes::scopes;
use crate::auth::{Bearer, Challenge, Credentials, Token, challenges, exchange_form, question, target};
use crate::http::body::Body;

/// Answers of token endpoints are small, and so is what `/v2/` says.
const LIMIT: usize = 1 << 20;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

impl Upstream {
    /// Whether callers' credentials are left aside and refshim's own are used.
    pub fn has_own_credentials(&self) -> bool {
        self.login.is_some()
    }

    /// Whether an account of refshim's lists tags on behalf of callers ([`super::Caller::listing_account`]).
    pub fn has_listing_account(&self) -> bool {
        self.listing_account.is_some()
    }

    /// Sends a read of refshim's own for `caller`, who may be the account that lists.
    pub(super) async fn send_for(
        &self,
        caller: &Caller,
        kind: RequestKind,
        request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        match self.listing_account.as_ref().filter(|_| caller.is_listing_account()) {
            Some(account) => Box::pin(self.send_as(account, kind, request)).await,
            None => self.send_own(kind, request).await,
        }
    }

    /// Sends a request whose URI is on this upstream. With credentials of our own, a challenge is answered where the request
    /// can be made again, and a refusal is 403 without a challenge: it is not the caller who can answer that.
    pub(super) async fn send_own(
        &self,
        kind: RequestKind,
        request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        match &self.login {
            None => self.send(kind, &self.authenticated_client, request).await,
            Some(login) => Box::pin(self.send_as(login, kind, request)).await,
        }
    }

    async fn send_as(
        &self,
        login: &Authenticator,
        kind: RequestKind,
        mut request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        request.headers_mut().remove(AUTHORIZATION);
        let scopes = scopes(request.method(), request.uri(), self.origin.prefix());
        let again = copy(&request);
        let scheme = self.scheme(login).await?;
        self.authorize(login, &scheme, &scopes, &mut request).await?;
        let response = self.send(kind, &self.authenticated_client, request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let Some(mut again) = again else {
            return Ok(denied(response));
        };
        let challenges = challenges(response.headers());
        login.forget(&scopes);
        let scheme = login.learn(&challenges);
        let asked_for = scope_of(&challenges).unwrap_or(scopes);
        login.forget(&asked_for);
        if !self.authorize(login, &scheme, &asked_for, &mut again).await? {
            return Ok(denied(response));
        }
        // Its few bytes are read so that the connection can be used again.
        let _ = collect::refusal(response).await;
        let response = self.send(kind, &self.authenticated_client, again).await?;
        Ok(match response.status() {
            StatusCode::UNAUTHORIZED => denied(response),
            _ => response,
        })
    }

    /// What the registry asks for, found out once.
    async fn scheme(&self, login: &Authenticator) -> Result<AuthScheme, UpstreamError> {
        if let Some(scheme) = login.scheme() {
            return Ok(scheme);
        }
        let attempt = login.asking.wait().await?;
        if let Some(scheme) = login.scheme() {
            return Ok(scheme);
        }
        let asked = self.ask_scheme(login).await;
        if let Err(error) = &asked {
            attempt.failed(error.clone());
        }
        asked
    }

    async fn ask_scheme(&self, login: &Authenticator) -> Result<AuthScheme, UpstreamError> {
        let reply = self
            .ask_as_nobody(Method::GET, self.origin.uri("/v2/")?, None, Body::empty())
            .await?;
        if is_failure(reply.status) {
            return Err(failure_of(&reply).error);
        }
        Ok(login.learn(&challenges(&reply.headers)))
    }

    /// Adds what the registry asks for; whether there is anything to add.
    async fn authorize(
        &self,
        login: &Authenticator,
        scheme: &AuthScheme,
        scopes: &[String],
        request: &mut Request<Body>,
    ) -> Result<bool, UpstreamError> {
        let authorization = match scheme {
            AuthScheme::Open => None,
            AuthScheme::Basic => login.basic().await?,
            AuthScheme::Bearer(bearer) => self.token(login, bearer, scopes).await?,
        };
        let found = authorization.is_some();
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(found)
    }

    /// A token, kept until it ends. `None` where the realm refuses: the registry's own refusal then says more.
    async fn token(
        &self,
        login: &Authenticator,
        bearer: &Bearer,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>, UpstreamError> {
        let slot = login.slot(bearer, scopes);
        if let Some(usable) = slot.usable() {
            return Ok(Some(usable));
        }
        let attempt = match slot.attempt_lock.wait().await {
            Ok(attempt) => attempt,
            Err(failed) => return failed.map_or(Ok(None), Err),
        };
        if let Some(usable) = slot.usable() {
            return Ok(Some(usable));
        }
        match self.fetch_token(login, bearer, scopes).await {
            Ok(Some(token)) => {
                let value = token.at_once();
                slot.hold(token);
                Ok(Some(value))
            }
            Ok(None) => {
                attempt.failed(None);
                Ok(None)
            }
            Err(error) => {
                attempt.failed(Some(error.clone()));
                Err(error)
            }
        }
    }

    async fn fetch_token(
        &self,
        login: &Authenticator,
        bearer: &Bearer,
        scopes: &[String],
    ) -> Result<Option<CachedToken>, UpstreamError> {
        let reply = self.ask_realm(login, bearer, scopes).await?;
        if is_failure(reply.status) {
            return Err(failure_of(&reply).error);
        }
        if reply.status.is_client_error() {
            let (upstream, status) = (&self.name, reply.status);
            tracing::warn!(upstream, realm = bearer.realm, %status, ?scopes, "the realm gives no token");
            return Ok(None);
        }
        let token = Token::parse(&reply.body).as_ref().and_then(CachedToken::new);
        let none = || UpstreamError::Invalid(format!("{} answers without a token", bearer.realm));
        token.ok_or_else(none).map(Some)
    }

    async fn ask_realm(
        &self,
        login: &Authenticator,
        bearer: &Bearer,
        scopes: &[String],
    ) -> Result<RegistryResponse, UpstreamError> {
        let unusable = |problem: &str| UpstreamError::Invalid(format!("the realm '{}' {problem}", bearer.realm));
        let realm = Url::parse(&bearer.realm).map_err(|_| unusable("is not a URL"))?;
        let credentials = login.credentials().await?;
        if credentials.is_some() && self.origin.is_tls() && realm.scheme() != "https" {
            return Err(unusable("is not https: the credentials stay here"));
        }
        let origin = realm.origin().ascii_serialization();
        let uri = |target: String| {
            format!("{origin}{target}")
                .parse::<Uri>()
                .map_err(|_| unusable("cannot be asked"))
        };
        match credentials {
            Some(Credentials::IdentityToken(identity)) => {
                let form = exchange_form(bearer, scopes, &identity);
                self.ask_as_nobody(
                    Method::POST,
                    uri(target(&realm))?,
                    None,
                    Body::from(bytes::Bytes::from(form)),
                )
                .await
            }
            Some(Credentials::Password { .. }) => {
                let basic = login.basic().await?;
                self.ask_as_nobody(
                    Method::GET,
                    uri(question(&realm, bearer, scopes))?,
                    basic,
                    Body::empty(),
                )
                .await
            }
            None => {
                self.ask_as_nobody(Method::GET, uri(question(&realm, bearer, scopes))?, None, Body::empty())
                    .await
            }
        }
    }

    /// Asks for a challenge or a token: no caller has part in it, and nothing is followed.
    async fn ask_as_nobody(
        &self,
        method: Method,
        uri: Uri,
        authorization: Option<HeaderValue>,
        body: Body,
    ) -> Result<RegistryResponse, UpstreamError> {
        let client = if self.origin.holds(&uri) {
            &self.authenticated_client
        } else {
            let checked = self.policy.check(&uri);
            checked.map_err(|forbidden| UpstreamError::Invalid(forbidden.to_string()))?;
            &self.foreign_client
        };
        let mut request = Request::new(body);
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, OWN_USER_AGENT);
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, FORM);
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let response = self.send(RequestKind::Token, client, request).await?;
        let too_large = || UpstreamError::Invalid(format!("a token or challenge is larger than {LIMIT} bytes"));
        collect::reply(response, LIMIT).await?.ok_or_else(too_large)
    }
}

/// The same request, where its body is known.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().copy()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// The scopes that a challenge names itself.
fn scope_of(challenges: &[Challenge]) -> Option<Vec<String>> {
    challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer(bearer) => {
            let scopes = bearer.scope.as_ref()?.split_whitespace();
            Some(scopes.map(str::to_owned).collect())
        }
        _ => None,
    })
}

fn is_failure(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn denied(mut response: Response<IdleBody>) -> Response<IdleBody> {
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().remove(WWW_AUTHENTICATE);
    response
}
