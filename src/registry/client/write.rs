//! refshim's own writes. What the upstream answers is the answer; nothing is repeated here.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};

use super::Upstream;
use super::manifest_calls::media_type;
use super::write_condition::WriteCondition;
use super::write_headers::WriteHeaders;
use crate::http::body::Body;
use crate::registry::answer::RegistryResponse;
use crate::registry::caller::Caller;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::transport::OWN_USER_AGENT;
use crate::registry::transport::collect;

/// One write to a `uri` of the upstream's own.
#[derive(Clone)]
pub(in crate::registry) struct WriteRequest<'a> {
    pub kind: RequestKind,
    pub method: Method,
    pub uri: Uri,
    /// Empty: none.
    pub media_type: &'a str,
    pub bytes: Bytes,
    /// Of a write of refshim's own.
    pub condition: Option<WriteCondition<'a>>,
    /// Those of the caller whose own write this is.
    pub headers: Option<&'a WriteHeaders>,
}

impl WriteRequest<'_> {
    /// A write without content.
    pub fn empty(kind: RequestKind, method: Method, uri: Uri) -> Self {
        Self {
            kind,
            method,
            uri,
            media_type: "",
            bytes: Bytes::new(),
            condition: None,
            headers: None,
        }
    }
}

impl Upstream {
    pub(in crate::registry) async fn write(
        &self,
        mut write: WriteRequest<'_>,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let bytes = std::mem::take(&mut write.bytes);
        let length = bytes.len() as u64;
        self.write_body(write, (Body::from(bytes), length), caller).await
    }

    /// The same with a body of this many bytes in the place of `write.bytes`.
    pub(in crate::registry) async fn write_body(
        &self,
        write: WriteRequest<'_>,
        (body, length): (Body, u64),
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let (kind, content_type) = (write.kind, write.media_type);
        let mut request = Request::new(body);
        *request.method_mut() = write.method;
        *request.uri_mut() = write.uri;
        let headers = request.headers_mut();
        match write.headers {
            Some(callers) => headers.clone_from(callers.as_map()),
            None => {
                headers.insert(USER_AGENT, OWN_USER_AGENT);
            }
        }
        // hyper says nothing of an empty body, and some servers insist (411).
        headers.insert(CONTENT_LENGTH, length.into());
        if !content_type.is_empty() {
            let invalid = |_| UpstreamError::Invalid(format!("'{}' is no media type", content_type.escape_default()));
            headers.insert(CONTENT_TYPE, HeaderValue::try_from(content_type).map_err(invalid)?);
        }
        if let Some(condition) = write.condition {
            condition.state(headers);
        }
        caller.sign(headers);
        let response = self.reader.transport().send_for(caller, kind, request).await?;
        let reply = collect::refusal(response).await?;
        if reply.status.is_success() {
            // Whoever answers with a web page has stored nothing.
            media_type(&reply.headers)?;
        }
        Ok(reply)
    }
}
