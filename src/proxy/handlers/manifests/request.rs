//! A request for one manifest, as every handler of manifests gets it.

use http::{HeaderMap, Response};

use crate::http::body::Body;
use crate::oci::{Reference, RepositoryName};
use crate::proxy::context::RequestContext;
use crate::proxy::headers;
use crate::proxy::respond::LocalResponse;
use crate::referrers::Resolver;
use crate::registry::{Caller, RawManifest};

/// A request for one manifest.
pub(super) struct ManifestRequest<'a> {
    pub context: &'a RequestContext<'a>,
    pub repository: &'a RepositoryName,
    pub reference: &'a Reference,
    pub caller: Caller,
}

impl ManifestRequest<'_> {
    pub fn resolver(&self) -> &Resolver {
        &self.context.backend.resolver
    }

    /// The upstream said that what was asked for by its digest is there.
    pub async fn confirm(&self) {
        if let Reference::Digest(digest) = self.reference {
            let resolver = self.resolver();
            resolver.confirm_manifest(self.repository, digest, &self.caller).await;
        }
    }

    /// Answers with `manifest`, whatever the upstream says.
    pub fn serve(&self, manifest: &RawManifest) -> Response<Body> {
        LocalResponse::manifest(&manifest.media_type, &manifest.digest, manifest.bytes.clone())
            .respond(&self.context.head)
    }
}

/// refshim's own `answer` in place of the upstream's, with what that sends along.
pub(super) fn instead_of(upstreams: &HeaderMap, mut answer: Response<Body>) -> Response<Body> {
    let along = headers::along_with_another_body(upstreams);
    headers::add(answer.headers_mut(), &along);
    answer
}
