//! One registry as typed calls: pool, TLS, credentials, retry, and what has been learned about it.

mod answer;
mod caller;
mod counts;
mod error;
mod tag_names;

use bytes::Bytes;
use http::{Request, Response};
use url::Url;

use crate::body::Body;
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::oci::{Digest, Reference, RepositoryName, SubjectKey};

pub use answer::{Answer, ManifestHead, Native, RawManifest, Refusal, Reply};
pub use caller::Caller;
pub use counts::{Outcome, RequestCounts, RequestKind};
pub use error::{SetupError, UpstreamError};
pub use tag_names::TagNames;

/// One registry.
pub struct Upstream {
    name: String,
    url: Url,
    counts: RequestCounts,
}

#[allow(clippy::unimplemented, unused_variables, clippy::unused_async)]
impl Upstream {
    pub fn new(config: &UpstreamConfig, limits: &LimitsConfig) -> Result<Self, SetupError> {
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            counts: RequestCounts::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn requests(&self) -> &RequestCounts {
        &self.counts
    }

    pub async fn forward(&self, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        unimplemented!()
    }

    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<RawManifest>, UpstreamError> {
        unimplemented!()
    }

    pub async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<ManifestHead>, UpstreamError> {
        unimplemented!()
    }

    pub async fn tags(&self, repository: &RepositoryName, caller: &Caller) -> Result<Answer<TagNames>, UpstreamError> {
        unimplemented!()
    }

    pub async fn tags_of(
        &self,
        repository: &RepositoryName,
        key: &SubjectKey,
        caller: &Caller,
    ) -> Result<Answer<TagNames>, UpstreamError> {
        unimplemented!()
    }

    pub fn seeks(&self) -> Option<bool> {
        unimplemented!()
    }

    pub async fn calibrate(
        &self,
        repository: &RepositoryName,
        all: &TagNames,
        caller: &Caller,
    ) -> Result<(), UpstreamError> {
        unimplemented!()
    }

    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<Reply, UpstreamError> {
        unimplemented!()
    }

    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Reply, UpstreamError> {
        unimplemented!()
    }

    pub async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit: usize,
        caller: &Caller,
    ) -> Result<Answer<Bytes>, UpstreamError> {
        unimplemented!()
    }

    pub async fn put_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<Answer<()>, UpstreamError> {
        unimplemented!()
    }

    pub async fn native_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        caller: &Caller,
    ) -> Result<Native, UpstreamError> {
        unimplemented!()
    }

    pub fn native(&self) -> Option<bool> {
        unimplemented!()
    }

    pub async fn get(&self, path_and_query: &str, caller: &Caller, limit: usize) -> Result<Reply, UpstreamError> {
        unimplemented!()
    }
}
