//! Manifests: read, asked about, written, deleted.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, Method, StatusCode};

use super::Upstream;
use super::content_check::check;
use super::write::WriteRequest;
use super::write_condition::WriteCondition;
use super::write_headers::WriteHeaders;
use crate::oci::media_type::{ACCEPT_MANIFESTS, essence};
use crate::oci::{Digest, Manifest, Reference, RepositoryName};
use crate::registry::answer::{Answer, DIGEST_HEADER, HeadOutcome, ManifestHead, RawManifest, RegistryResponse};
use crate::registry::caller::Caller;
use crate::registry::classify::classify;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::reader::request::{ReadRequest, Redirects};
use crate::registry::retry::state_wait;

fn path(repository: &RepositoryName, reference: &Reference) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

impl Upstream {
    /// A manifest, its bytes checked against the digest that it was asked by, or that the upstream names.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<RawManifest>, UpstreamError> {
        let ask = self.ask_manifest(RequestKind::Manifest, Method::GET, repository, reference, caller)?;
        let reply = self.reader.ask(&ask, self.manifest_bytes).await?;
        classify(reply, &ask.uri)?.try_map(|reply| raw_manifest(reply, reference))
    }

    /// What is known of a manifest without reading it, where the registry answers a HEAD with that. Whatever a HEAD leaves open
    /// (a 404 without a body states nothing; 401 and 403 have no body to relay; some registries refuse HEADs, or leave the digest
    /// out), a GET decides.
    pub async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<Answer<ManifestHead>, UpstreamError> {
        if let HeadOutcome::Found(head) = self.head_only(repository, reference, caller).await? {
            return Ok(Answer::Found(head));
        }
        let manifest = self.manifest(repository, reference, caller).await?;
        manifest.try_map(|manifest| {
            Ok(ManifestHead {
                size: Some(manifest.bytes.len() as u64),
                digest: manifest.digest,
                media_type: manifest.media_type,
                etag: None,
            })
        })
    }

    /// What a HEAD says, and nothing else is asked. For questions on which nothing rests but another question.
    pub async fn head_only(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<HeadOutcome, UpstreamError> {
        let ask = self.ask_manifest(RequestKind::ManifestHead, Method::HEAD, repository, reference, caller)?;
        let reply = match self.reader.ask(&ask, 0).await {
            Ok(reply) => reply,
            Err(UpstreamError::Failed(StatusCode::NOT_IMPLEMENTED)) => return Ok(HeadOutcome::Unclear),
            Err(error) => return Err(error),
        };
        Ok(match reply.status {
            StatusCode::OK => match manifest_head(&reply.headers, reference)? {
                Some(head) => HeadOutcome::Found(head),
                None => HeadOutcome::Unclear,
            },
            StatusCode::NOT_FOUND => HeadOutcome::NotFound,
            _ => HeadOutcome::Unclear,
        })
    }

    fn ask_manifest<'a>(
        &self,
        kind: RequestKind,
        method: Method,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &'a Caller,
    ) -> Result<ReadRequest<'a>, UpstreamError> {
        Ok(ReadRequest {
            kind,
            method,
            uri: self.origin().uri(&path(repository, reference))?,
            accept: ACCEPT_MANIFESTS,
            redirects: Redirects::Elsewhere,
            caller,
        })
    }

    /// Writes a manifest; whatever the upstream says is the answer. Writing the same bytes twice is writing them once, so it is
    /// tried again when the connection fails.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        self.put_manifest_if(repository, reference, media_type, bytes, None, caller)
            .await
    }

    /// The same, under a condition; an upstream that knows none writes all the same.
    pub async fn put_manifest_if(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
        condition: Option<WriteCondition<'_>>,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let write = WriteRequest {
            kind: RequestKind::ManifestWrite,
            method: Method::PUT,
            uri: self.origin().uri(&path(repository, reference))?,
            media_type,
            bytes,
            condition,
            headers: None,
        };
        self.put(write, caller).await
    }

    /// Passes a caller's push of a manifest on with its query and its headers, conditions among them. Otherwise as
    /// [`Upstream::put_manifest`].
    pub async fn push_manifest(
        &self,
        repository: &RepositoryName,
        (reference, query): (&Reference, Option<&str>),
        bytes: Bytes,
        headers: &WriteHeaders,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let mut path = path(repository, reference);
        if let Some(query) = query {
            path.push('?');
            path.push_str(query);
        }
        let uri = self.origin().uri(&path)?;
        let write = WriteRequest {
            bytes,
            headers: Some(headers),
            ..WriteRequest::empty(RequestKind::ManifestWrite, Method::PUT, uri)
        };
        self.put(write, caller).await
    }

    async fn put(&self, write: WriteRequest<'_>, caller: &Caller) -> Result<RegistryResponse, UpstreamError> {
        let callers_condition = write.headers.is_some_and(WriteHeaders::is_conditional);
        let replied = match self.write(write.clone(), caller).await {
            Err(UpstreamError::Connect(_)) => self.write(write, caller).await,
            // The first attempt may have been heard, whatever became of the second.
            Err(broken @ UpstreamError::Broken(_)) => match self.write(write, caller).await {
                Err(error) if error.is_unsent() => Err(broken),
                // What the first attempt wrote may be what the condition excludes.
                Ok(reply) if callers_condition && reply.status == StatusCode::PRECONDITION_FAILED => Err(broken),
                other => other,
            },
            other => other,
        };
        replied.map(stating_wait)
    }

    /// Deletes a manifest, or a tag where the upstream can; whatever the upstream says is the answer.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        self.delete(repository, reference, None, caller).await
    }

    /// Passes a caller's deletion on with its headers, where it has them. Otherwise as [`Upstream::delete_manifest`].
    pub async fn delete(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        headers: Option<&WriteHeaders>,
        caller: &Caller,
    ) -> Result<RegistryResponse, UpstreamError> {
        let uri = self.origin().uri(&path(repository, reference))?;
        let write = WriteRequest {
            headers,
            ..WriteRequest::empty(RequestKind::Delete, Method::DELETE, uri)
        };
        self.write(write, caller).await.map(stating_wait)
    }
}

fn stating_wait(mut reply: RegistryResponse) -> RegistryResponse {
    state_wait(reply.status, &mut reply.headers, &reply.body);
    reply
}

fn raw_manifest(reply: RegistryResponse, reference: &Reference) -> Result<RawManifest, UpstreamError> {
    let media_type = media_type(&reply.headers)?;
    if is_encoded(&reply.headers) {
        let encoding = reply.headers.get(CONTENT_ENCODING);
        return Err(UpstreamError::Invalid(format!(
            "a manifest with Content-Encoding {encoding:?}, which was asked for without"
        )));
    }
    let bytes = reply.body;
    let digest = match reference {
        Reference::Digest(digest) => {
            check(digest, &reply.headers, &bytes)?;
            digest.clone()
        }
        Reference::Tag(_) => match digest_header(&reply.headers) {
            Some(named) if named.matches(&bytes) == Some(true) => named,
            // Not one artifact's fault: the registry contradicts itself, and what the tag lists would be hidden with it.
            Some(named) if named.matches(&bytes) == Some(false) => {
                return Err(UpstreamError::Invalid(format!(
                    "a tag's manifest is not {named}, which it is called"
                )));
            }
            // It cannot be computed here: the registry's word is all there is.
            Some(named) => named,
            // Perhaps an error page with status 200: nothing says that anybody pushed it.
            None if Manifest::parse(&bytes, &media_type).is_err() => {
                return Err(UpstreamError::Invalid(format!(
                    "HTTP 200 of type '{media_type}' for the tag {reference}, without a digest and no manifest"
                )));
            }
            None => Digest::sha256(&bytes),
        },
    };
    Ok(RawManifest {
        digest,
        media_type,
        bytes,
    })
}

/// `None` when the digest is missing.
fn manifest_head(headers: &HeaderMap, reference: &Reference) -> Result<Option<ManifestHead>, UpstreamError> {
    let named = digest_header(headers);
    let digest = match (reference, named) {
        (Reference::Digest(asked), Some(named)) if named.algorithm() == asked.algorithm() && named != *asked => {
            return Err(UpstreamError::Invalid(format!("{named} where {asked} was asked for")));
        }
        (Reference::Digest(asked), _) => asked.clone(),
        (Reference::Tag(_), Some(named)) => named,
        (Reference::Tag(_), None) => return Ok(None),
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    Ok(Some(ManifestHead {
        digest,
        media_type: media_type(headers)?,
        size: length.and_then(|length| length.parse().ok()),
        etag: headers.get(ETAG).cloned(),
    }))
}

/// Whether the body is other bytes than the content: what stands before a registry may compress. No digest is that of such bytes.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get(DIGEST_HEADER)?.to_str().ok()?).ok()
}

/// The media type without parameters; empty when there is none. A web page is no registry's answer, whatever its status.
pub(in crate::registry) fn media_type(headers: &HeaderMap) -> Result<String, UpstreamError> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = essence(text.unwrap_or_default());
    if media_type.eq_ignore_ascii_case("text/html") {
        return Err(UpstreamError::Invalid("a web page instead of an answer".into()));
    }
    Ok(media_type.to_owned())
}
