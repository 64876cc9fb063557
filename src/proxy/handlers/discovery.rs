//! Extension discovery: what refshim adds, merged with the upstream's own.

use http::{Response, StatusCode};

use crate::http::body::Body;
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::LocalResponse;
use crate::registry::Refusal;
use crate::render::discover;

/// Largest list of the upstream's that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

pub(in crate::proxy) async fn discover_extensions(context: &RequestContext<'_>) -> Result<Response<Body>, ProxyError> {
    let caller = context.caller();
    let target = context.head.uri.path_and_query().map_or("/", |target| target.as_str());
    let reply = context.backend.upstream.get(target, &caller, LIMIT).await?;
    let own = match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Refusal::from(reply).into()),
        StatusCode::OK => Some(reply.body),
        // Most registries have no extensions.
        _ => None,
    };
    Ok(LocalResponse::new(discover::CONTENT_TYPE, discover::print(own.as_deref())).respond(&context.head))
}
