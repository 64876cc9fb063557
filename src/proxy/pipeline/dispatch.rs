//! The handler of each route, and its deadline.

use std::pin::Pin;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;

use crate::http::body::Body;
use crate::metrics::Endpoint;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::handlers::{blobs, discovery, manifests, proposal_a, proposal_b, proposal_c, referrers, tags, ui};
use crate::proxy::passthrough;
use crate::proxy::route::Route;

/// `answer`, or 504 after `limit`.
pub(super) async fn within(
    limit: Option<Duration>,
    answer: Pin<Box<impl Future<Output = Result<Response<Body>, ProxyError>>>>,
) -> Result<Response<Body>, ProxyError> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| ProxyError::late(limit))?,
        None => answer.await,
    }
}

/// Calls the route's handler. What is asked most is answered in place; the rest is boxed, because each connection holds room for the
/// largest of these futures.
pub(super) async fn dispatch(
    context: &RequestContext<'_>,
    route: Route,
    body: Incoming,
) -> Result<Response<Body>, ProxyError> {
    match route {
        Route::Referrers { repository, subject } => referrers::list_referrers(context, &repository, &subject).await,
        Route::ProposalA {
            shape,
            repository,
            subject,
        } => Ok(Box::pin(proposal_a::list_proposal_a(context, shape, &repository, &subject)).await),
        Route::References { repository, reference } => {
            Box::pin(proposal_b::list_proposal_b(context, &repository, &reference)).await
        }
        Route::V3Ping => Ok(proposal_c::ping(context)),
        Route::V3 {
            question,
            repository,
            reference,
        } => {
            Box::pin(proposal_c::answer_proposal_c(
                context,
                question,
                &repository,
                &reference,
            ))
            .await
        }
        Route::Discover { .. } => Box::pin(discovery::discover_extensions(context)).await,
        Route::TagsList { repository } => Box::pin(tags::list_tags(context, &repository)).await,
        Route::Manifest { repository, reference } => {
            manifests::handle_manifest(context, body.into(), &repository, &reference).await
        }
        Route::Ui(page) => Ok(Box::pin(ui::show_page(context, page, body.into())).await),
        Route::Passthrough {
            endpoint: Endpoint::Blob | Endpoint::Upload,
            repository,
        } => blobs::transfer::transfer(context, body.into(), repository.as_ref()).await,
        Route::Passthrough { .. } => passthrough::forward(context, body.into()).await,
    }
}
