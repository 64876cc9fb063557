//! The embedded registry's errors, in the words of Distribution 2.8.

use http::StatusCode;
use serde_json::Value;

use crate::oci::{Digest, RepositoryName};

/// An error response with an OCI error body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RegistryError {
    /// The response's status.
    pub status: StatusCode,
    /// One of the distribution-spec's codes. Not [`crate::oci::Code`], which has only those that refshim itself uses.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// `null` if there is none.
    pub detail: Value,
}

impl RegistryError {
    /// A refusal with these contents.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>, detail: Value) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail,
        }
    }

    pub(super) fn name_unknown(name: &RepositoryName) -> Self {
        let detail = serde_json::json!({ "name": name });
        let message = "repository name not known to registry";
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message, detail)
    }

    pub(super) fn manifest_unknown(detail: Value) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown", detail)
    }

    /// The manifest exists, but not in a form that the caller accepts.
    pub(super) fn not_accepted(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message, Value::Null)
    }

    pub(super) fn manifest_invalid(detail: Value) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "manifest invalid", detail)
    }

    pub(super) fn manifest_blob_unknown(digest: &str) -> Self {
        let message = "blob unknown to registry";
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message, digest.into())
    }

    pub(super) fn blob_unknown(digest: &Digest) -> Self {
        let message = "blob unknown to registry";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message, digest.as_str().into())
    }

    pub(super) fn digest_invalid() -> Self {
        let message = "provided digest did not match uploaded content";
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message, Value::Null)
    }

    pub(super) fn upload_unknown() -> Self {
        let message = "blob upload unknown to registry";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message, Value::Null)
    }

    /// A wrong or missing `_state`. Distribution answers 404 here.
    pub(super) fn upload_invalid() -> Self {
        let message = "blob upload invalid";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_INVALID", message, Value::Null)
    }

    /// `{"errors":[{"code","message","detail"}]}`, without `detail` if there is none.
    pub fn body(&self) -> Value {
        let mut error = serde_json::json!({"code": self.code, "message": self.message});
        if !self.detail.is_null() {
            error["detail"] = self.detail.clone();
        }
        serde_json::json!({ "errors": [error] })
    }
}
