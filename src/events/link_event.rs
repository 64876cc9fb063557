//! What happened to a link, and how that is written down as a CloudEvent 1.0 in JSON.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;

use crate::config::EventType;
use crate::oci::descriptor::Annotations;
use crate::oci::{Descriptor, Digest, LinkSource, timestamp};

const SPECIFICATION: &str = "1.0";
const JSON: &str = "application/json";
/// Bytes of annotations, in JSON, that an event carries; with more, it has none. Receivers accept 64 KiB (CloudEvents 1.0.2,
/// "Size Limits").
const MAX_ANNOTATIONS: usize = 16 << 10;

/// Longest media type (RFC 6838, 4.2: two names of 127 characters). Longer ones are left out.
const MAX_MEDIA_TYPE: usize = 255;

/// A link that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    pub event_type: EventType,
    pub origin: LinkOrigin,
    pub subject: Digest,
    /// `None` where only the tag is known that held the link.
    pub referrer: Option<LinkedReferrer>,
    pub dialects: BTreeSet<LinkSource>,
}

/// How refshim knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkOrigin {
    /// The push or deletion passed through refshim.
    Proxied,
    /// Somebody reported a push that did not, and refshim read what was pushed.
    Reported,
}

/// What refers to the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkedReferrer {
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    annotations: Annotations,
}

impl From<&Descriptor> for LinkedReferrer {
    fn from(descriptor: &Descriptor) -> Self {
        let annotations = &descriptor.annotations;
        let written = serde_json::to_string(annotations);
        Self {
            media_type: media_type(&descriptor.media_type),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            artifact_type: descriptor.artifact_type.as_deref().and_then(media_type),
            annotations: match written.is_ok_and(|json| json.len() <= MAX_ANNOTATIONS) {
                true => annotations.clone(),
                false => Annotations::new(),
            },
        }
    }
}

/// What a stranger wrote, where that may be a media type.
fn media_type(text: &str) -> Option<String> {
    (1..=MAX_MEDIA_TYPE).contains(&text.len()).then(|| text.to_owned())
}

/// An event in structured mode.
#[derive(Serialize)]
struct CloudEvent<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    data: D,
}

impl<D: Serialize> CloudEvent<'_, D> {
    /// `None` where serde_json cannot write it, which no value here makes it do.
    fn to_json(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }
}

/// Of this moment.
fn time() -> Option<String> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since_1970.as_nanos())
        .ok()
        .and_then(timestamp::to_rfc3339)
}

/// An event that tells of nothing.
pub(super) fn ping(id: &str, source: &str) -> Option<Bytes> {
    let event = CloudEvent {
        specversion: SPECIFICATION,
        id,
        source,
        event_type: "io.refshim.ping.v1",
        subject: None,
        time: time(),
        datacontenttype: JSON,
        data: serde_json::Map::new(),
    };
    event.to_json()
}

#[derive(Serialize)]
struct EventData<'a> {
    origin: LinkOrigin,
    upstream: &'a str,
    repository: &'a str,
    subject: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<&'a LinkedReferrer>,
    dialects: &'a BTreeSet<LinkSource>,
}

/// Where a link came or went.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventPlace<'a> {
    /// `source` of the event.
    pub source: &'a str,
    pub upstream: &'a str,
    /// As clients name it.
    pub repository: &'a str,
}

impl LinkEvent {
    /// The digest of what refers to the subject.
    pub(super) fn referrer_digest(&self) -> Option<&Digest> {
        self.referrer.as_ref().map(|referrer| &referrer.digest)
    }

    /// As a CloudEvent with this `id`, of this moment.
    pub(super) fn to_json(&self, id: &str, place: EventPlace<'_>) -> Option<Bytes> {
        let event = CloudEvent {
            specversion: SPECIFICATION,
            id,
            source: place.source,
            event_type: match self.event_type {
                EventType::Linked => "io.refshim.referrer.linked.v1",
                EventType::Removed => "io.refshim.referrer.removed.v1",
            },
            subject: Some(format!("{}@{}", place.repository, self.subject)),
            time: time(),
            datacontenttype: JSON,
            data: EventData {
                origin: self.origin,
                upstream: place.upstream,
                repository: place.repository,
                subject: &self.subject,
                referrer: self.referrer.as_ref(),
                dialects: &self.dialects,
            },
        };
        event.to_json()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn printed(referrer: Option<&Descriptor>) -> Value {
        let event = LinkEvent {
            event_type: EventType::Linked,
            origin: LinkOrigin::Proxied,
            subject: Digest::sha256(b"image"),
            referrer: referrer.map(LinkedReferrer::from),
            dialects: [LinkSource::ProposalDTag, LinkSource::Subject].into(),
        };
        let place = EventPlace {
            source: "urn:refshim",
            upstream: "default",
            repository: "o/app",
        };
        serde_json::from_slice(&event.to_json("1", place).unwrap()).unwrap()
    }

    #[test]
    fn an_event_has_what_cloudevents_asks_for_and_what_is_known_of_the_link() {
        let artifact = Descriptor {
            artifact_type: Some("application/vnd.acme".into()),
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            data: Some("e30=".into()),
            ..Descriptor::new("application/x", Digest::sha256(b"sbom"), 4)
        };
        let mut event = printed(Some(&artifact));
        let time = event.as_object_mut().unwrap().remove("time").unwrap();
        assert!(timestamp::parse(time.as_str().unwrap()).is_some(), "{time}");
        let subject = Digest::sha256(b"image");
        assert_eq!(
            event,
            json!({
                "specversion": "1.0", "id": "1", "source": "urn:refshim", "type": "io.refshim.referrer.linked.v1",
                "subject": format!("o/app@{subject}"), "datacontenttype": "application/json",
                "data": {
                    "origin": "proxied", "upstream": "default", "repository": "o/app", "subject": subject,
                    "referrer": {
                        "mediaType": "application/x", "digest": artifact.digest, "size": 4,
                        "artifactType": "application/vnd.acme", "annotations": {"a": "b"},
                    },
                    "dialects": ["subject", "proposal-d-tag"],
                },
            })
        );
        assert!(printed(None)["data"].get("referrer").is_none());
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let annotated = |bytes: usize| Descriptor {
            annotations: [("k".to_owned(), "x".repeat(bytes - r#"{"k":""}"#.len()))].into(),
            ..Descriptor::new("application/x", Digest::sha256(b"sbom"), 4)
        };
        for (bytes, is_there) in [(MAX_ANNOTATIONS, true), (MAX_ANNOTATIONS + 1, false)] {
            let event = printed(Some(&annotated(bytes)));
            assert_eq!(
                event["data"]["referrer"].get("annotations").is_some(),
                is_there,
                "{bytes}"
            );
        }
        let named = Descriptor {
            artifact_type: Some("x".repeat(MAX_MEDIA_TYPE + 1)),
            ..Descriptor::new("x".repeat(MAX_MEDIA_TYPE), Digest::sha256(b"sbom"), 4)
        };
        let referrer = &printed(Some(&named))["data"]["referrer"];
        assert!(referrer.get("mediaType").is_some() && referrer.get("artifactType").is_none());
    }
}
