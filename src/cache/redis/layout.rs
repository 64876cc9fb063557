//! The names of keys, as `docs/redis.md` describes them. A change of names or of the form of values needs a new [`VERSION`].

use crate::cache::entry_id::{EntryId, RepositoryKey};
use crate::cache::stored_name::{of_repository, stored_name};

/// Part of every key, so that replicas of different versions do not misread each other's values.
const VERSION: u32 = 3;

pub(super) struct Layout {
    /// With the version.
    prefix: String,
    view: String,
}

impl Layout {
    pub fn new(prefix: &str, view: &str) -> Self {
        Self {
            prefix: format!("{prefix}:{VERSION}"),
            view: view.to_owned(),
        }
    }

    /// The key of a value.
    pub fn value(&self, id: &EntryId) -> String {
        format!("{}:{}", self.prefix, stored_name(id, &self.view))
    }

    /// The key of the list of a repository's writes, newest first. `run` is the server's `run_id`: a server that was restarted or took over from
    /// another may have lost the latest writes, so lists with another `run_id` are not used.
    pub fn writes(&self, repository_key: &RepositoryKey, run: &str) -> String {
        format!("{}:{}:{run}", self.prefix, of_repository(repository_key, "writes"))
    }

    /// The key of the lock `name` of a repository.
    pub fn lock(&self, repository_key: &RepositoryKey, name: &str) -> String {
        format!(
            "{}:{}",
            self.prefix,
            of_repository(repository_key, &format!("lock:{name}"))
        )
    }

    /// The channel on which the names of written repositories are published.
    pub fn channel(&self) -> String {
        format!("{}:written", self.prefix)
    }

    /// A key without a value: deleting it shows whether Redis accepts writes.
    pub fn probe(&self) -> String {
        format!("{}:probe", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::epoch::Epoch;
    use crate::cache::key::Key;

    #[test]
    fn keys_are_as_documented() {
        let layout = Layout::new("refshim", "c0ffee");
        let repository_key = RepositoryKey::new("https://ghcr.io/", "org/app");
        let epoch = Epoch::unknown();
        let id = epoch.id();
        let keys = [
            (
                Key::manifest(&repository_key, &epoch, "sha256:ab"),
                "manifest:sha256:ab".to_owned(),
            ),
            (Key::tag(&repository_key, &epoch, "v1"), "tag:v1".to_owned()),
            (Key::tag_list(&repository_key, &epoch), "tags".to_owned()),
            (
                Key::ordinary_tags(&repository_key, &epoch, "f00d"),
                format!("deep:c0ffee:{id}:f00d"),
            ),
            (
                Key::answer(&repository_key, &epoch, "sha256:ab"),
                format!("answer:c0ffee:{id}:sha256:ab"),
            ),
            (
                Key::observed(&repository_key, "sha256:ab"),
                "learned:sha256:ab".to_owned(),
            ),
            (
                Key::synthesised(&repository_key, "sha256:ab"),
                "made-index:sha256:ab".to_owned(),
            ),
            (Key::large(&repository_key), "large".to_owned()),
        ];
        for (key, expected) in keys {
            let expected = format!("refshim:3:{{https://ghcr.io/|org/app}}:{expected}");
            assert_eq!(layout.value(key.id()), expected);
        }
        let writes = "refshim:3:{https://ghcr.io/|org/app}:writes:run";
        assert_eq!(layout.writes(&repository_key, "run"), writes);
        let lock = "refshim:3:{https://ghcr.io/|org/app}:lock:sha256-ab";
        assert_eq!(layout.lock(&repository_key, "sha256-ab"), lock);
        assert_eq!(layout.channel(), "refshim:3:written");
    }
}
