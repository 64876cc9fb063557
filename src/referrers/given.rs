//! What the registry gives this caller, where its listing does not say.

use http::StatusCode;

use crate::oci::{Digest, Reference};
use crate::registry::{Answer, UpstreamError};

use super::error::ResolveError;
use super::names::{ListingAnswer, ScannedNames};
use super::own_api::FirstAnswer;
use super::scan::context::Scan;

/// What the registry answers where this caller asks for the manifest of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DigestAnswer {
    Given,
    /// It is there, and a policy keeps it from being read: Harbor's 412, 451.
    Blocked,
    Absent,
    /// It does not say: 401, 403, or another refusal.
    Refused,
    /// 500, with which Distribution 2.8 fails at the digest of what is in an envelope.
    Failed,
}

impl DigestAnswer {
    pub fn of<T>(answer: &Answer<T>) -> Self {
        match answer {
            Answer::Found(_) => Self::Given,
            Answer::Absent => Self::Absent,
            Answer::Refused(refusal) => match refusal.status.as_u16() {
                412 | 451 => Self::Blocked,
                _ => Self::Refused,
            },
        }
    }
}

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
            ListingAnswer::NoRepository => return Ok(!names.written.is_empty() || self.is_given()),
            ListingAnswer::Refused(refusal) => refusal,
        };
        let FirstAnswer::Complete(answer) = own_api else {
            return Err(refusal.clone().into());
        };
        if self.subject_is_given().await? {
            return Ok(true);
        }
        let Some(entry) = answer.found.first() else {
            names.written.clear();
            return Ok(false);
        };
        match self.ask_by_digest(entry).await? {
            DigestAnswer::Given => Ok(true),
            _ => Err(refusal.clone().into()),
        }
    }

    /// What the registry answers where this caller asks for the subject. Asked once; clients ping with a digest of zeros, which
    /// never exists.
    pub async fn subject_answer(&self) -> Result<DigestAnswer, UpstreamError> {
        let answer = self.subject_answer.get_or_try_init(|| async {
            match self.subject.encoded().bytes().all(|byte| byte == b'0') {
                true => Ok(DigestAnswer::Absent),
                false => self.ask_by_digest(&self.subject).await.inspect(|answer| {
                    // Perhaps it is hidden from this caller, with what refers to it.
                    if *answer == DigestAnswer::Absent {
                        self.lacks(&self.subject);
                    }
                }),
            }
        });
        answer.await.copied()
    }

    /// The media type and size of the subject in the repository whose links this one keeps, where the registry gives it this caller.
    pub async fn subject_of_base(&self) -> Result<Option<(String, u64)>, UpstreamError> {
        if self.subject.is_zero() {
            return Ok(None);
        }
        let (upstream, context) = (&self.stores.manifests.upstream, &self.context);
        let reference = Reference::Digest(self.subject.clone());
        let asked = match (&context.base, upstream.base_of(&context.repository)) {
            (Some(base), _) => {
                base.upstream
                    .head_manifest(&base.repository, &reference, &base.caller)
                    .await
            }
            (None, Some(base)) => upstream.head_manifest(&base, &reference, &context.caller).await,
            (None, None) => return Ok(None),
        };
        Ok(match asked? {
            Answer::Found(head) => head.size.map(|size| (head.media_type, size)),
            Answer::Absent | Answer::Refused(_) => None,
        })
    }

    /// The media type and size of the subject, where the registry said both when it was asked.
    pub fn subject_head(&self) -> Option<(String, u64)> {
        self.subject_head.get().cloned()
    }

    pub async fn subject_is_given(&self) -> Result<bool, UpstreamError> {
        Ok(self.subject_answer().await? == DigestAnswer::Given)
    }

    /// The same, where it was asked already.
    fn is_given(&self) -> bool {
        self.subject_answer.get() == Some(&DigestAnswer::Given)
    }

    /// Whether the registry refused this caller the subject, so that what was found may be less than others would find.
    pub fn subject_is_refused(&self) -> bool {
        self.subject_answer.get() == Some(&DigestAnswer::Refused)
    }

    async fn ask_by_digest(&self, digest: &Digest) -> Result<DigestAnswer, UpstreamError> {
        let (upstream, context) = (&self.stores.manifests.upstream, &self.context);
        let began = self.stores.manifests.access.now();
        let reference = Reference::Digest(digest.clone());
        let head = upstream.head_manifest(&context.repository, &reference, &context.caller);
        let asked = match head
            .await
            .and_then(|answer| answer.try_map(|head| Ok((head.media_type, head.size))))
        {
            // Some fail at HEADs alone.
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => {
                let get = upstream.manifest(&context.repository, &reference, &context.caller);
                get.await
                    .and_then(|answer| answer.try_map(|raw| Ok((raw.media_type, Some(raw.bytes.len() as u64)))))
            }
            asked => asked,
        };
        match asked {
            Ok(answer) => {
                if let Answer::Found((media_type, size)) = &answer {
                    self.prove_reading(began);
                    if let Some(size) = size.filter(|_| *digest == self.subject) {
                        self.subject_head.get_or_init(|| (media_type.clone(), size));
                    }
                }
                Ok(DigestAnswer::of(&answer))
            }
            Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => Ok(DigestAnswer::Failed),
            Err(error) => Err(error),
        }
    }
}
