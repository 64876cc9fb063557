//! Which upstream a request is for, and what it asks of that.

use http::Method;
use http::request::Parts;

use super::{Gateway, head};
use crate::metrics::Endpoint;
use crate::proxy::realm::NO_ORIGIN;
use crate::proxy::route::{Route, RouteError, is_read, route};
use crate::proxy::state::Backend;
use crate::proxy::ui_page::UiPage;
use crate::proxy::upstream_view::UpstreamView;
use crate::registry::Caller;

/// Largest answer to the ping that is read for its challenge, in bytes.
const PING_LIMIT: usize = 64 * 1024;

/// Where a request goes.
pub(super) struct RoutedRequest<'a> {
    pub backend: &'a Backend,
    pub view: UpstreamView,
    pub route: Route,
}

impl Gateway {
    /// Checks the head, selects the upstream and reads what is asked of it. From then on nothing in the head tells of other
    /// upstreams.
    pub(super) async fn route(&self, request: &mut Parts) -> Result<RoutedRequest<'_>, RouteError> {
        head::check(request, &self.shared.limits)?;
        let (index, view) = self.selector.choose(request)?;
        let backend = &self.backends[index];
        if view != UpstreamView::Plain {
            request.uri = view.inner(&request.uri);
        }
        let route = self.route_within(backend, request).await?;
        Ok(RoutedRequest { backend, view, route })
    }

    async fn route_within(&self, backend: &Backend, request: &Parts) -> Result<Route, RouteError> {
        if self.shared.server.ui
            && let Some(page) = UiPage::route(request.uri.path())
        {
            return match is_read(&request.method) || page.is_form() && request.method == Method::POST {
                true => Ok(Route::Ui(page)),
                false => Err(RouteError::ReadOnly),
            };
        }
        let found = route(&request.method, &request.uri);
        if found == Err(RouteError::NotFound) && is_token_request(backend, request).await {
            return Ok(Route::Passthrough {
                endpoint: Endpoint::Token,
                repository: None,
            });
        }
        found
    }
}

/// Whether a request outside the API asks for a token where the upstream says that tokens are.
async fn is_token_request(backend: &Backend, request: &Parts) -> bool {
    // With credentials of refshim's own nobody is shown a challenge, and asking would be on those.
    if !backend.shared.server.rewrite_realm || backend.upstream.has_own_credentials() {
        return false;
    }
    if backend.realms.is_empty() {
        Box::pin(learn_realm(backend)).await;
    }
    backend.realms.holds(&request.method, request.uri.path())
}

/// Asks the upstream for its challenge: a caller may have its own from another replica, or from before a restart.
async fn learn_realm(backend: &Backend) {
    let Some(attempt) = backend.realms.attempt().await else {
        return;
    };
    let asked = backend.upstream.get("/v2/", &Caller::anonymous(), PING_LIMIT).await;
    let answered = asked.is_ok();
    if let Ok(mut ping) = asked {
        // Only the path is of interest here; the origin is thrown away.
        backend
            .realms
            .rewrite(&mut ping.headers, &backend.self_view, NO_ORIGIN, None);
    }
    // Last, so that requests queued behind this one find what was learned.
    attempt.asked(answered);
}
