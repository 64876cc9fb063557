//! `/v2/<name>/manifests/<reference>`: reads, writes, and referrers tags that the registry lacks.

mod given;
mod read;
mod request;
mod signed_pull;
mod stored_list;
pub(super) mod synthesised;
mod write;

use http::{Method, Response};

use crate::http::body::Body;
use crate::oci::{Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::passthrough;
use request::ManifestRequest;

pub(in crate::proxy) async fn handle_manifest(
    context: &RequestContext<'_>,
    body: Body,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ProxyError> {
    let asked = ManifestRequest {
        context,
        repository,
        reference,
        caller: context.caller(),
    };
    match context.head.method {
        Method::GET | Method::HEAD => {
            let response = read::read(&asked, body).await?;
            match signed_pull::pulled_type(&asked, &response) {
                None => Ok(response),
                Some(media_type) => Box::pin(signed_pull::noted(&asked, response, &media_type)).await,
            }
        }
        Method::PUT => Box::pin(write::push(&asked, body)).await,
        Method::DELETE => Box::pin(write::delete(&asked)).await,
        _ => passthrough::forward(context, body).await,
    }
}
