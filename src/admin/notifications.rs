//! Reports of writes to repositories: Distribution's notification envelopes, and a plain form for all other senders.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::oci::{Digest, InvalidName, Reference, RepositoryName, Tag};

/// The media type of blobs in Distribution's events. Blobs change no list of referrers.
const BLOB: &str = "application/octet-stream";

/// What was written, by repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notifications {
    /// What the writes named; `None` when that is unknown.
    pub written: BTreeMap<RepositoryName, Option<Vec<Reference>>>,
    /// Manifests that may have been pushed, for those who are told of links.
    pub pushed: Vec<ReportedPush>,
    /// Events that change nothing here: pulls, blobs, and events that cannot be read.
    pub ignored: usize,
}

/// A manifest that somebody saw being pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportedPush {
    pub repository: RepositoryName,
    pub tag: Option<Tag>,
    pub digest: Option<Digest>,
}

/// Why a body is no report of writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotificationError {
    #[error("the body is not JSON: {0}")]
    Json(String),
    #[error(
        "the body is neither a notification ({{\"events\": […]}}) nor {{\"repository\": \"a/b\", \"tag\": …, \"digest\": …}} or a list of such"
    )]
    Shape,
    #[error(transparent)]
    Repository(#[from] InvalidName),
    #[error("'{}' is not a tag", .0.escape_debug())]
    Tag(String),
    #[error("'{}' is not a digest", .0.escape_debug())]
    Digest(String),
}

impl Notifications {
    pub fn read(body: &[u8]) -> Result<Self, NotificationError> {
        let body: Value = serde_json::from_slice(body).map_err(|error| NotificationError::Json(error.to_string()))?;
        let mut notifications = Self::default();
        match &body {
            Value::Object(object) if object.contains_key("events") => {
                let events = object["events"].as_array().ok_or(NotificationError::Shape)?;
                events.iter().for_each(|event| notifications.add_event(event));
            }
            Value::Object(object) => notifications.add_plain(object)?,
            Value::Array(list) => {
                for notification in list {
                    notifications.add_plain(notification.as_object().ok_or(NotificationError::Shape)?)?;
                }
            }
            _ => return Err(NotificationError::Shape),
        }
        Ok(notifications)
    }

    /// One event of Distribution's. What cannot be read is ignored: a registry sends a refused envelope again and again, and
    /// everything after it has to wait.
    fn add_event(&mut self, event: &Value) {
        let target = &event["target"];
        let text = |key: &str| target[key].as_str().filter(|text| !text.is_empty());
        let repository = text("repository").and_then(|name| RepositoryName::parse(name).ok());
        let tag = text("tag").and_then(|tag| Tag::parse(tag).ok());
        let digest = text("digest").and_then(|digest| Digest::parse(digest).ok());
        let is_blob = text("mediaType") == Some(BLOB);
        match (event["action"].as_str(), repository) {
            (Some("push"), Some(repository)) if !is_blob => {
                self.add_push(&repository, tag.as_ref(), digest);
                // What a digest names never changes; only the tag does.
                self.add(repository, Some(tag.map(Reference::Tag).into_iter().collect()));
            }
            (Some("delete"), Some(repository)) => {
                let digest = digest.map(Reference::Digest);
                let touched = tag.map(Reference::Tag).into_iter().chain(digest);
                self.add(repository, Some(touched.collect()));
            }
            _ => self.ignored += 1,
        }
    }

    fn add_plain(&mut self, notification: &Map<String, Value>) -> Result<(), NotificationError> {
        let text = |key: &str| match notification.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(NotificationError::Shape),
        };
        let repository = RepositoryName::parse(text("repository")?.ok_or(NotificationError::Shape)?)?;
        let tag = text("tag")?.map(|tag| Tag::parse(tag).map_err(|_| NotificationError::Tag(tag.to_owned())));
        let tag = tag.transpose()?;
        let digest = text("digest")?
            .map(|digest| Digest::parse(digest).map_err(|_| NotificationError::Digest(digest.to_owned())));
        let digest = digest.transpose()?;
        self.add_push(&repository, tag.as_ref(), digest.clone());
        let touched: Vec<Reference> = tag
            .map(Reference::Tag)
            .into_iter()
            .chain(digest.map(Reference::Digest))
            .collect();
        self.add(repository, (!touched.is_empty()).then_some(touched));
        Ok(())
    }

    fn add_push(&mut self, repository: &RepositoryName, tag: Option<&Tag>, digest: Option<Digest>) {
        if tag.is_some() || digest.is_some() {
            self.pushed.push(ReportedPush {
                repository: repository.clone(),
                tag: tag.cloned(),
                digest,
            });
        }
    }

    fn add(&mut self, repository: RepositoryName, touched: Option<Vec<Reference>>) {
        let known = self.written.entry(repository).or_insert_with(|| Some(Vec::new()));
        *known = known.take().zip(touched).map(|(mut known, touched)| {
            for reference in touched {
                if !known.contains(&reference) {
                    known.push(reference);
                }
            }
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Notifications, NotificationError> {
        Notifications::read(body.to_string().as_bytes())
    }

    fn written(body: &Value) -> Vec<(String, Option<Vec<String>>)> {
        let texts = |touched: Vec<Reference>| touched.iter().map(|r| r.as_str().to_owned()).collect();
        let notifications = read(body).unwrap();
        let written = notifications.written.into_iter();
        written
            .map(|(name, touched)| (name.as_str().to_owned(), touched.map(texts)))
            .collect()
    }

    fn digest() -> String {
        Digest::sha256(b"x").to_string()
    }

    #[test]
    fn an_envelope_names_what_its_events_touched() {
        let event = |action: &str, target: Value| json!({"id": "1", "action": action, "target": target, "request": {"host": "r"}});
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let body = json!({"events": [
            event("push", json!({"repository": "a/b", "digest": digest(), "tag": "v1", "mediaType": manifest})),
            event("push", json!({"repository": "a/b", "digest": digest(), "tag": "v1", "mediaType": manifest})),
            event("push", json!({"repository": "by/digest", "digest": digest(), "mediaType": manifest})),
            event("delete", json!({"repository": "gone", "digest": digest()})),
            event("delete", json!({"repository": "gone", "tag": "old"})),
            event("push", json!({"repository": "blob", "digest": digest(), "mediaType": BLOB})),
            event("pull", json!({"repository": "pulled", "digest": digest(), "mediaType": manifest})),
            event("push", json!({"repository": "NO NAME", "tag": "v1"})),
            json!("nonsense"),
        ]});
        assert_eq!(
            written(&body),
            [
                ("a/b".to_owned(), Some(vec!["v1".to_owned()])),
                ("by/digest".to_owned(), Some(vec![])),
                ("gone".to_owned(), Some(vec![digest(), "old".to_owned()])),
            ]
        );
        assert_eq!(read(&body).unwrap().ignored, 4);
    }

    #[test]
    fn the_plain_form_names_what_it_likes() {
        let unknown = |name: &str| (name.to_owned(), None);
        assert_eq!(written(&json!({"repository": "a/b"})), [unknown("a/b")]);
        let both = json!({"repository": "a/b", "tag": "v1", "digest": digest()});
        assert_eq!(
            written(&both),
            [("a/b".to_owned(), Some(vec!["v1".to_owned(), digest()]))]
        );
        assert_eq!(
            written(&json!([{"repository": "a", "tag": "v1"}, {"repository": "b"}, {"repository": "a"}])),
            [unknown("a"), unknown("b")],
            "once anything may have changed, a name narrows nothing"
        );
        assert_eq!(written(&json!([])), []);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |body: Value| read(&body).unwrap_err();
        for body in [
            json!(1),
            json!({}),
            json!({"events": 1}),
            json!(["a/b"]),
            json!({"repository": 1}),
        ] {
            assert_eq!(error(body.clone()), NotificationError::Shape, "{body}");
        }
        assert!(matches!(
            error(json!({"repository": "A B"})),
            NotificationError::Repository(_)
        ));
        assert!(matches!(
            error(json!({"repository": "a", "tag": "!"})),
            NotificationError::Tag(_)
        ));
        assert!(matches!(
            error(json!({"repository": "a", "digest": "v1"})),
            NotificationError::Digest(_)
        ));
        assert!(matches!(Notifications::read(b"{"), Err(NotificationError::Json(_))));
    }
}
