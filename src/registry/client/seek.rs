//! Seeking: asking for the tags of one subject only, where a repository's listings were just seen to start after any `last`. A
//! wrong seek is a wrong "no signatures".

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Upstream;
use super::listing_so_far::{PAGE_SIZE, PartialListing};
use super::page_reader::{Extent, PageNames, ReadTagPage};
use crate::oci::{RepositoryName, SubjectKey};
use crate::registry::answer::{Answer, Stop};
use crate::registry::caller::Caller;
use crate::registry::capabilities::paging::{Calibration, RepositoryPaging};
use crate::registry::error::UpstreamError;
use crate::registry::tag_names::TagNames;
use crate::registry::tag_names::TagNamesBuilder;

/// With fewer names, too many misbehaviours look right.
const FEWEST_NAMES: usize = 3;
/// Names asked for to calibrate: the second shows their order.
const CALIBRATED_BY: usize = 2;

/// For how long a calibration is believed.
#[derive(Clone, Copy, Debug)]
pub struct CalibratedWithin {
    /// While it is younger than this,
    pub age: Duration,
    /// or if it was made after this.
    pub since: Instant,
}

impl CalibratedWithin {
    fn holds(self, calibration: &Calibration) -> bool {
        calibration.at >= self.since || calibration.at.elapsed() < self.age
    }
}

impl Upstream {
    /// Whether listings of `repository` seek, of which `all` are the names: asked with one request. `None`: it has too few of
    /// them, or the registry refused to say.
    pub async fn calibrate(
        &self,
        repository: &RepositoryName,
        all: &TagNames,
        caller: &Caller,
    ) -> Result<Option<bool>, UpstreamError> {
        let Some((last, index)) = gap(all) else {
            return Ok(None);
        };
        let seeks = self.seeks_to(repository, &last, index, all, caller).await?;
        self.paging(repository)
            .learn_calibration(seeks.map(|seeks| Calibration {
                last,
                first: all.get(index).to_owned(),
                seeks,
                by_listing_account: caller.is_listing_account(),
                at: Instant::now(),
            }));
        Ok(seeks)
    }

    /// The same, given the first pages of a listing. False where it cannot be told.
    pub(in crate::registry) async fn calibrate_on_pages(
        &self,
        repository: &RepositoryName,
        pages: &TagNamesBuilder,
        caller: &Caller,
    ) -> Result<bool, UpstreamError> {
        if self.paging(repository).calibration().is_some_and(|known| !known.seeks) {
            return Ok(false);
        }
        match pages.as_sorted() {
            Some(names) => Ok(self.calibrate(repository, names, caller).await? == Some(true)),
            None => Ok(false),
        }
    }

    /// Whether a page after `last`, which is no name, begins with those of `known` from `index` on, and links to the rest of
    /// them.
    async fn seeks_to(
        &self,
        repository: &RepositoryName,
        last: &str,
        index: usize,
        known: &TagNames,
        caller: &Caller,
    ) -> Result<Option<bool>, UpstreamError> {
        let uri = self.tags_uri(repository, Some(last), CALIBRATED_BY)?;
        let mut read = PageNames::default();
        let page = match self.read_page(uri, Extent::Whole, &mut read, caller).await {
            Ok(Answer::Found(page)) => page,
            Ok(Answer::Refused(refusal)) if refusal.status != StatusCode::BAD_REQUEST => return Ok(None),
            Ok(Answer::Absent) => return Ok(None),
            // A page that cannot be read is as telling as a wrong one.
            Ok(Answer::Refused(_)) | Err(UpstreamError::Invalid(_)) => return Ok(Some(false)),
            Err(error) => return Err(error),
        };
        let expected = index..known.len().min(index + page.count);
        let same = expected.clone().all(|i| read.names.get(i - index) == known.get(i));
        let links = page.next.is_some() || expected.end == known.len();
        Ok(Some(page.count > 0 && same && links && read.names.is_ascending()))
    }

    /// The tags that begin with `key`, read from where they start. `None` where listings of this repository are not known to
    /// seek, or turn out not to: then the whole listing decides.
    pub async fn tags_of(
        &self,
        repository: &RepositoryName,
        key: &SubjectKey,
        within: CalibratedWithin,
        caller: &Caller,
    ) -> Result<Answer<Option<TagNames>>, UpstreamError> {
        Answer::of(self.seek(repository, key, within, caller).await)
    }

    async fn seek(
        &self,
        repository: &RepositoryName,
        key: &SubjectKey,
        within: CalibratedWithin,
        caller: &Caller,
    ) -> Result<Option<TagNames>, Stop> {
        let known = self.paging(repository);
        let Some(calibrated) = self.calibrated(repository, &known, within, caller).await? else {
            return Ok(None);
        };
        let (last, prefix) = (key.seek_before(), key.as_str());
        let mut listing = PartialListing::default();
        let first = self.tags_uri(repository, Some(last), PAGE_SIZE)?;
        let mut page = match self.page(first, &mut listing, caller).await {
            // Nothing but a listing is told about a repository here.
            Err(Stop::Absent) => return Ok(None),
            page => page?,
        };
        while !is_past(&listing, prefix) {
            let Some(next) = page.next.take() else {
                // The account of `links.credentials` may be listed nothing of what callers are, and the other way about.
                let by_another = calibrated.by_listing_account != caller.is_listing_account();
                let again = (by_another || calibrated.at < within.since).then_some(&calibrated);
                match self.ends_here(repository, &page, &mut listing, again, caller).await? {
                    true => break,
                    false => return Ok(None),
                }
            };
            page = self.page(next, &mut listing, caller).await?;
        }
        let names = &listing.read.names;
        let starts_right = names.is_empty() || names.get(0) > last;
        if !starts_right || !names.is_ascending() {
            known.learn_calibration(None);
            return Ok(None);
        }
        let names = listing.read.names.finish();
        Ok(Some(names.with_prefix(prefix).collect()))
    }

    /// Whether a seek may end on `page`, which neither reached the names past the subject's nor links on: it must not have been
    /// cut, and where the calibration was made for an earlier question or for another than this caller, the registry must seek still.
    async fn ends_here(
        &self,
        repository: &RepositoryName,
        page: &ReadTagPage,
        listing: &mut PartialListing,
        again: Option<&Calibration>,
        caller: &Caller,
    ) -> Result<bool, Stop> {
        if listing.may_be_cut(page) {
            self.look_behind(repository, page, listing, caller).await?;
        }
        let Some(calibration) = again.cloned() else {
            return Ok(true);
        };
        let known = self.paging(repository);
        let again = self.calibrate_again(repository, &known, calibration, caller).await?;
        Ok(again.is_some())
    }

    /// Where it was seen lately that listings of the repository seek; made again where that is too long ago. One asks, the
    /// others wait.
    async fn calibrated(
        &self,
        repository: &RepositoryName,
        known: &RepositoryPaging,
        within: CalibratedWithin,
        caller: &Caller,
    ) -> Result<Option<Calibration>, UpstreamError> {
        let young = |known: &RepositoryPaging| known.calibration().filter(|c| c.seeks && within.holds(c));
        if let Some(calibration) = young(known) {
            return Ok(Some(calibration));
        }
        let turn = known.attempt_lock.wait().await?;
        if let Some(calibration) = young(known) {
            return Ok(Some(calibration));
        }
        let Some(old) = known.calibration().filter(|calibration| calibration.seeks) else {
            return Ok(None);
        };
        let again = self.calibrate_again(repository, known, old, caller).await;
        if let Err(error) = &again {
            turn.failed(error.clone());
        }
        again
    }

    /// Seeks to where a seek led before. `None` where it leads elsewhere now, be it that the name is gone: then it is to be
    /// calibrated anew.
    async fn calibrate_again(
        &self,
        repository: &RepositoryName,
        known: &RepositoryPaging,
        old: Calibration,
        caller: &Caller,
    ) -> Result<Option<Calibration>, UpstreamError> {
        let name = TagNames::from_iter([&old.first]);
        let seeks = self.seeks_to(repository, &old.last, 0, &name, caller).await?;
        let again = (seeks == Some(true)).then(|| Calibration {
            by_listing_account: caller.is_listing_account(),
            at: Instant::now(),
            ..old
        });
        known.learn_calibration(again.clone());
        Ok(again)
    }
}

/// Whether a seek got to names that sort after the subject's.
fn is_past(listing: &PartialListing, prefix: &str) -> bool {
    let last = listing.names().last();
    last.is_some_and(|name| name > prefix && !name.starts_with(prefix))
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
