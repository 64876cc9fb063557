//! Seeking: asking for the tags of one subject only, and finding out whether an upstream can be trusted with it. A wrong seek
//! is a wrong "no signatures".

use http::Uri;

use super::tags::{Listing, PAGE_SIZE};
use super::{Answer, Caller, TagNames, Upstream, UpstreamError};
use crate::oci::{RepositoryName, SubjectKey};

/// With fewer names, too many misbehaviours look right.
const FEWEST_NAMES: usize = 3;

impl Upstream {
    /// Whether `last` starts a listing where it should. `None`: not calibrated lately.
    pub fn seeks(&self) -> Option<bool> {
        self.seeks.get()
    }

    /// Learns [`Upstream::seeks`] with one request: between two names of the full listing `all`, a page must begin with exactly
    /// the names that follow. Learns nothing where the listing has no such place, or the answer is a refusal.
    pub async fn calibrate(
        &self,
        repository: &RepositoryName,
        all: &TagNames,
        caller: &Caller,
    ) -> Result<(), UpstreamError> {
        let Some((last, index)) = gap(all) else {
            return Ok(());
        };
        let mut listing = Listing::default();
        let next = match self.page(self.seek_uri(repository, &last)?, &mut listing, caller).await {
            Ok(Answer::Found(next)) => next,
            Ok(Answer::Refused(refusal)) if refusal.status != http::StatusCode::BAD_REQUEST => return Ok(()),
            Ok(Answer::Absent) => return Ok(()),
            // A page that cannot be read is as telling as a wrong one.
            Ok(Answer::Refused(_)) | Err(UpstreamError::Invalid(_)) => {
                self.seeks.learn(false);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let page = &listing.names;
        let expected = all.len() - index;
        let complete = page.len() == expected || next.is_some() && page.len() < expected;
        let same = complete && !page.is_empty() && (0..page.len()).all(|i| page.get(i) == all.get(index + i));
        self.seeks.learn(same);
        Ok(())
    }

    /// The tags that begin with `key`, read from where they start. Only to be asked while [`Upstream::seeks`] is `Some(true)`.
    pub async fn tags_of(
        &self,
        repository: &RepositoryName,
        key: &SubjectKey,
        caller: &Caller,
    ) -> Result<Answer<TagNames>, UpstreamError> {
        let (last, prefix) = (key.seek_before(), key.as_str());
        let mut listing = Listing::default();
        let mut page = self.seek_uri(repository, last)?;
        loop {
            let next = match self.page(page, &mut listing, caller).await? {
                Answer::Found(next) => next,
                Answer::Absent => return Ok(Answer::Absent),
                Answer::Refused(refusal) => return Ok(Answer::Refused(refusal)),
            };
            let names = &listing.names;
            let starts_right = names.is_empty() || names.get(0) > last;
            if !starts_right || !names.is_ascending() {
                self.seeks.learn(false);
                return Err(UpstreamError::Invalid("its tag listing is not in order".into()));
            }
            let past = names
                .last()
                .is_some_and(|name| name > prefix && !name.starts_with(prefix));
            match next {
                Some(next) if !past => page = next,
                _ => break,
            }
        }
        let names = listing.names.finish();
        Ok(Answer::Found(names.with_prefix(prefix).collect()))
    }

    fn seek_uri(&self, repository: &RepositoryName, last: &str) -> Result<Uri, UpstreamError> {
        // Names out of a listing are foreign text.
        let last: String = url::form_urlencoded::byte_serialize(last.as_bytes()).collect();
        self.origin
            .uri(&format!("/v2/{repository}/tags/list?n={PAGE_SIZE}&last={last}"))
    }
}

/// A name that does not exist, between two that do, as near the middle as can be, and the index of the one after it. It is
/// made like [`SubjectKey::seek_before`]: the following name without its end.
fn gap(all: &TagNames) -> Option<(String, usize)> {
    if all.len() < FEWEST_NAMES {
        return None;
    }
    let middle = all.len() / 2;
    let outwards = (0..all.len())
        .flat_map(|d| [middle.checked_sub(d), Some(middle + d)])
        .flatten();
    outwards
        .filter(|&index| index > 0 && index < all.len())
        .find_map(|index| Some((between(all.get(index - 1), all.get(index))?, index)))
}

fn between(before: &str, after: &str) -> Option<String> {
    let mut shortened = after.to_owned();
    shortened.pop();
    let candidates = [shortened, format!("{before}-")];
    candidates
        .into_iter()
        .find(|name| before < name.as_str() && name.as_str() < after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lies_between_two_names_and_is_none_of_them() {
        for names in [
            vec!["a", "b", "c"],
            vec!["v1", "v1-rc", "v10", "v2"],
            vec!["a", "aa", "aaa", "aaaa", "b"],
            vec!["x-1", "x-10", "x-100"],
        ] {
            let names = TagNames::from_iter(names);
            let (last, index) = gap(&names).unwrap();
            assert!(!names.contains(&last));
            assert!(index > 0 && names.get(index - 1) < last.as_str() && last.as_str() < names.get(index));
        }
    }

    #[test]
    fn without_a_gap_nothing_can_be_learned() {
        assert_eq!(gap(&TagNames::from_iter(["a", "b"])), None);
        assert_eq!(gap(&TagNames::from_iter(["a", "a-", "a--"])), None);
    }
}
