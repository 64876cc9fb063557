//! refshim's own writes. What the upstream answers is the answer; nothing is repeated here.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use super::counts::RequestKind;
use super::scan::OWN_USER_AGENT;
use super::{Caller, Reply, Upstream, UpstreamError, read};
use crate::body::Body;

impl Upstream {
    /// Sends `bytes` to `uri`, which is the upstream's own.
    pub(super) async fn write(
        &self,
        kind: RequestKind,
        method: Method,
        uri: Uri,
        media_type: &str,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<Reply, UpstreamError> {
        let mut request = Request::new(Body::from(bytes));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, OWN_USER_AGENT);
        if !media_type.is_empty() {
            let invalid = |_| UpstreamError::Invalid(format!("'{}' is no media type", media_type.escape_default()));
            headers.insert(CONTENT_TYPE, HeaderValue::try_from(media_type).map_err(invalid)?);
        }
        if let Some(authorization) = caller.authorization() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.send(kind, &self.own_client, request).await?;
        read::refusal(response).await
    }
}
