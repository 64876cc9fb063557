//! Sends requests to the registry with the caller's credentials, or with refshim's own where the configuration names some.

pub(in crate::registry) mod login;

use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::auth::token_scopes::scopes as scopes_of;
use crate::auth::{AuthQuestion, AuthReply, Authorization, LoginRefusal};
use crate::config::UpstreamConfig;
use crate::http::body::Body;
use crate::registry::caller::Caller;
use crate::registry::classify::failure_of;
use crate::registry::counts::RequestKind;
use crate::registry::error::{SetupError, UpstreamError};
use crate::registry::request_allowance::RequestAllowance;
use crate::registry::transport::clients::TokenHosts;
use crate::registry::transport::idle_timeout::IdleBody;
use crate::registry::transport::{OWN_USER_AGENT, Transport, collect};
use login::{Login, LoginOwner};

/// Of a token endpoint's answer, and of what `/v2/` says, in bytes.
const LIMIT: usize = 1 << 20;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A [`Transport`] with the credentials that requests to the registry take along.
pub(in crate::registry) struct AuthenticatedTransport {
    transport: Transport,
    /// Replaces callers' credentials, where there is one.
    login: Option<Login>,
    /// The account that lists tags on behalf of callers.
    listing_account: Option<Login>,
}

impl AuthenticatedTransport {
    /// Reads certificates and authorities; connects to nothing.
    pub(in crate::registry) fn new(
        config: &UpstreamConfig,
        login: Option<Login>,
        allowance: RequestAllowance,
    ) -> Result<Self, SetupError> {
        let token_hosts = login
            .as_ref()
            .map_or(TokenHosts::ByPolicy, |login| login.owner.token_hosts());
        let transport = Transport::new(config, token_hosts, allowance)?;
        let is_tls = transport.origin().is_tls();
        let listing_account = login::source(&config.listing_credentials, config);
        Ok(Self {
            transport,
            login,
            listing_account: listing_account.map(|source| Login::of_proxy(source, is_tls)),
        })
    }

    pub(in crate::registry) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The login that requests go on instead of callers' credentials.
    pub(in crate::registry) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Every login of refshim's asks its source again for the next request.
    pub(in crate::registry) fn read_credentials_again(&self) {
        let logins = self.login.iter().chain(&self.listing_account);
        logins.for_each(|login| login.authenticator.read_credentials_again());
    }

    pub(in crate::registry) fn has_listing_account(&self) -> bool {
        self.listing_account.is_some()
    }

    /// Sends a request for `caller`, who may be the account of `links.credentials`.
    pub(in crate::registry) async fn send_for(
        &self,
        caller: &Caller,
        kind: RequestKind,
        request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        let account = self.listing_account.as_ref().filter(|_| caller.is_listing_account());
        let asked_for = match caller.is_about_to_write() {
            true => TokenScopes::OrToPush,
            false => TokenScopes::AsNeeded,
        };
        match account.or(self.login.as_ref()) {
            Some(login) => Box::pin(self.send_as(login, kind, request, asked_for)).await,
            None => self.transport.send_to_registry(kind, request).await,
        }
    }

    /// Sends a request whose URI is on this upstream. With a login of our own, a challenge is answered where the request can be
    /// made again.
    pub(in crate::registry) async fn send(
        &self,
        kind: RequestKind,
        request: Request<Body>,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        match &self.login {
            None => self.transport.send_to_registry(kind, request).await,
            Some(login) => Box::pin(self.send_as(login, kind, request, TokenScopes::AsNeeded)).await,
        }
    }

    async fn send_as(
        &self,
        login: &Login,
        kind: RequestKind,
        mut request: Request<Body>,
        asked_for: TokenScopes,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        request.headers_mut().remove(AUTHORIZATION);
        let (uri, prefix) = (request.uri(), self.transport.origin().prefix());
        let mut scopes = scopes_of(request.method(), uri, prefix);
        let to_push = scopes_of(&Method::PUT, uri, prefix);
        let again = copy(&request);
        let ask = self.asking(login.owner);
        let mut authorization = login.authenticator.authorization(&scopes, &ask).await?;
        if asked_for == TokenScopes::OrToPush && is_without_token(&authorization) && scopes != to_push {
            authorization = login.authenticator.authorization(&to_push, &ask).await?;
            scopes = to_push;
        }
        let refusal = self.add(authorization, &mut request);
        let response = self.transport.send_to_registry(kind, request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return unless_told_to_nobody(response, refusal);
        }
        let Some(mut again) = again else {
            return Ok(login.owner.told_of_refusal(response));
        };
        let asked = login
            .authenticator
            .authorization_again(response.headers(), &scopes, &ask);
        let Authorization::Header(header) = asked.await? else {
            return Ok(login.owner.told_of_refusal(response));
        };
        again.headers_mut().insert(AUTHORIZATION, header);
        // Its few bytes are read so that the connection can be used again.
        let _ = collect::refusal(response).await;
        let response = self.transport.send_to_registry(kind, again).await?;
        Ok(match response.status() {
            StatusCode::UNAUTHORIZED => login.owner.told_of_refusal(response),
            _ => response,
        })
    }

    /// Adds the `Authorization` to a request. Where there is none, says why, and leaves the request as it is: the registry's own refusal
    /// says more than a token endpoint's.
    fn add(&self, authorization: Authorization, request: &mut Request<Body>) -> Option<LoginRefusal> {
        match authorization {
            Authorization::Unneeded => None,
            Authorization::Header(header) => {
                request.headers_mut().insert(AUTHORIZATION, header);
                None
            }
            Authorization::Refused(refusal) => {
                if let LoginRefusal::NoToken { realm, status, .. } = &refusal {
                    let (upstream, path) = (self.transport.name(), request.uri().path());
                    tracing::warn!(upstream, realm, %status, path, "the token endpoint gives no token; asked without one");
                }
                Some(refusal)
            }
        }
    }

    /// Gets the authorization of requests for `scopes` before any is made. Nothing is needed without a login.
    pub(in crate::registry) async fn log_in(&self, scopes: &[String]) -> Result<Authorization, UpstreamError> {
        match &self.login {
            Some(login) => self.log_in_as(login, scopes).await,
            None => Ok(Authorization::Unneeded),
        }
    }

    /// The same with a login that is not this transport's own.
    pub(in crate::registry) async fn log_in_as(
        &self,
        login: &Login,
        scopes: &[String],
    ) -> Result<Authorization, UpstreamError> {
        let ask = self.asking(login.owner);
        login.authenticator.authorization(scopes, &ask).await
    }

    /// How an authenticator asks the registry and its token endpoints.
    fn asking<'a>(
        &'a self,
        owner: LoginOwner,
    ) -> impl Fn(AuthQuestion) -> BoxFuture<'a, Result<AuthReply, UpstreamError>> + Send + Sync + 'a {
        move |question| Box::pin(self.ask_for_login(owner, question))
    }

    /// Asks the registry for a challenge, or a token endpoint for a token. Nothing of a caller's goes along, and no redirect is followed.
    async fn ask_for_login(&self, owner: LoginOwner, question: AuthQuestion) -> Result<AuthReply, UpstreamError> {
        let mut request = Request::new(Body::empty());
        match question {
            AuthQuestion::Challenge => *request.uri_mut() = self.transport.origin().uri("/v2/")?,
            AuthQuestion::Token(token) => {
                *request.uri_mut() = token.uri;
                if let Some(authorization) = token.authorization {
                    request.headers_mut().insert(AUTHORIZATION, authorization);
                }
                if let Some(form) = token.form {
                    *request.method_mut() = Method::POST;
                    request.headers_mut().insert(CONTENT_TYPE, FORM);
                    *request.body_mut() = Body::from(bytes::Bytes::from(form));
                }
            }
        }
        request.headers_mut().insert(USER_AGENT, OWN_USER_AGENT);
        let response = if self.transport.origin().holds(request.uri()) {
            self.transport.send_to_registry(RequestKind::Token, request).await?
        } else {
            self.transport
                .send_to_token_endpoint(owner.token_hosts(), request)
                .await?
        };
        let too_large = || UpstreamError::Invalid(format!("a token or challenge is larger than {LIMIT} bytes"));
        let reply = collect::reply(response, LIMIT).await?.ok_or_else(too_large)?;
        if reply.status == StatusCode::TOO_MANY_REQUESTS || reply.status.is_server_error() {
            return Err(failure_of(&reply).error);
        }
        Ok(AuthReply {
            status: reply.status,
            headers: reply.headers,
            body: reply.body,
        })
    }
}

/// The token that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenScopes {
    AsNeeded,
    /// One that lets push, where the token endpoint gives none that lets only pull: GitHub's refuses the latter for a repository that is not
    /// there, and gives the former to whoever may create it. With that, the registry says itself that it is not there.
    OrToPush,
}

/// Whether the token endpoint gave no token.
fn is_without_token(authorization: &Authorization) -> bool {
    matches!(authorization, Authorization::Refused(LoginRefusal::NoToken { .. }))
}

/// What a registry tells nobody in particular is no answer to somebody whose credentials could not be shown: it may hide from nobody
/// what they may see. Only a refusal is the same to both.
fn unless_told_to_nobody(
    response: Response<IdleBody>,
    refusal: Option<LoginRefusal>,
) -> Result<Response<IdleBody>, UpstreamError> {
    match refusal.filter(LoginRefusal::is_of_credentials) {
        Some(refusal) if response.status() != StatusCode::FORBIDDEN => {
            Err(UpstreamError::Credentials(refusal.to_string()))
        }
        _ => Ok(response),
    }
}

impl LoginOwner {
    fn token_hosts(self) -> TokenHosts {
        match self {
            Self::Proxy => TokenHosts::ByPolicy,
            Self::User => TokenHosts::Any,
        }
    }

    /// A 401 as this owner gets it.
    fn told_of_refusal(self, mut response: Response<IdleBody>) -> Response<IdleBody> {
        match self {
            Self::User => response,
            Self::Proxy => {
                *response.status_mut() = StatusCode::FORBIDDEN;
                response.headers_mut().remove(WWW_AUTHENTICATE);
                response
            }
        }
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
