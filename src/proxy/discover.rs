//! Extension discovery: what refshim adds, merged with the upstream's own.

use http::request::Parts;
use http::{Response, StatusCode};

use super::answer::Answered;
use super::backend::Backend;
use super::failure::Failure;
use crate::body::Body;
use crate::dialect::discover;

/// Largest list of the upstream's that is read.
const LIMIT: usize = 1024 * 1024;

pub(super) async fn answer(backend: &Backend, request: &Parts) -> Result<Response<Body>, Failure> {
    let caller = backend.caller(request);
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let reply = backend.upstream.get(target, &caller, LIMIT).await?;
    let own = match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(reply.into()),
        StatusCode::OK => Some(reply.body),
        // Most registries have no extensions.
        _ => None,
    };
    Ok(Answered::new(discover::CONTENT_TYPE, discover::print(own.as_deref())).respond(request))
}
