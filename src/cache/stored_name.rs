//! The names of values in Redis and on disk, as `docs/redis.md` describes them.

use super::entry_id::{EntryId, Kind, RepositoryKey};

/// The name of a value. `view` goes into the names of what depends on how links are looked for.
pub(super) fn stored_name(id: &EntryId, view: &str) -> String {
    let kind = match id.kind {
        Kind::Manifest => "manifest",
        Kind::Blob => "blob",
        Kind::Tag => "tag",
        Kind::TagList => "tags",
        Kind::OrdinaryTags => "deep",
        Kind::Observed => "learned",
        Kind::Answer => "answer",
        Kind::Synthesised => "made-index",
        Kind::Adopted => "adopted",
        Kind::Large => "large",
        Kind::NativeApi => "native",
        Kind::Partial => "partial",
        Kind::Written => "written-tags",
    };
    let mut name = of_repository(&id.repository_key, kind);
    if matches!(id.kind, Kind::Answer | Kind::OrdinaryTags) {
        name.push_str(&format!(":{view}"));
    }
    if let Some(epoch) = id.epoch {
        name.push_str(&format!(":{epoch}"));
    }
    if !id.detail.is_empty() {
        name.push_str(&format!(":{}", id.detail));
    }
    name
}

/// The name of what there is one of for each repository.
pub(super) fn of_repository(repository_key: &RepositoryKey, kind: &str) -> String {
    format!("{{{repository_key}}}:{kind}")
}
