//! What the registry gives this caller, where its listing does not say.

use http::StatusCode;

use crate::oci::{Digest, Reference};
use crate::registry::{Answer, UpstreamError};

use super::error::ResolveError;
use super::names::{ListingAnswer, ScannedNames};
use super::own_api::FirstAnswer;
use super::scan::run::Scan;

impl Scan {
    /// Whether this caller may be shown what others' questions and pushes taught: not where the registry shows it no such
    /// repository, or does not let it list and gives it nothing. Without a listing there must be the registry's own API.
    pub async fn may_use_what_is_known(
        &self,
        own_api: &FirstAnswer,
        names: &mut ScannedNames,
    ) -> Result<bool, ResolveError> {
        let refusal = match &names.listed {
            ListingAnswer::All(_) | ListingAnswer::OfSubject(_) => return Ok(true),
            ListingAnswer::NoRepository => return Ok(!names.written.is_empty() || self.is_given() == Some(true)),
            ListingAnswer::Refused(refusal) => refusal,
        };
        let FirstAnswer::Complete(listed) = own_api else {
            return Err(refusal.clone().into());
        };
        if self.subject_is_given().await? {
            return Ok(true);
        }
        let Some(entry) = listed.first() else {
            names.written.clear();
            return Ok(false);
        };
        match self.is_given_manifest(entry).await? {
            true => Ok(true),
            false => Err(refusal.clone().into()),
        }
    }

    /// Whether the registry gives this caller the subject. Asked once; clients ping with a digest of zeros, which never exists.
    pub async fn subject_is_given(&self) -> Result<bool, UpstreamError> {
        let given = self.given.get_or_try_init(|| async {
            match self.subject.encoded().bytes().all(|byte| byte == b'0') {
                true => Ok(false),
                false => self.is_given_manifest(&self.subject).await,
            }
        });
        given.await.copied()
    }

    /// The same, where it was asked already.
    fn is_given(&self) -> Option<bool> {
        self.given.get().copied()
    }

    async fn is_given_manifest(&self, digest: &Digest) -> Result<bool, UpstreamError> {
        let (upstream, context) = (&self.manifests.upstream, &self.context);
        let reference = Reference::Digest(digest.clone());
        let head = upstream.head_manifest(&context.repository, &reference, &context.caller);
        let asked = match head.await.and_then(|answer| answer.try_map(|_| Ok(()))) {
            // Some fail at HEADs alone.
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => {
                let get = upstream.manifest(&context.repository, &reference, &context.caller);
                get.await.and_then(|answer| answer.try_map(|_| Ok(())))
            }
            asked => asked,
        };
        match asked {
            Ok(Answer::Found(_)) => {
                self.listings.allow(context);
                Ok(true)
            }
            Ok(Answer::Absent | Answer::Refused(_)) => Ok(false),
            // Distribution 2.8 fails at the digest of what is in an envelope.
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
