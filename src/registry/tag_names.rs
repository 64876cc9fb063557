//! All tag names of a repository, sorted bytewise, in one allocation: a million names must fit in memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::oci::weight::allocated;

/// See [`TagNames::fingerprint`].
pub type Fingerprint = [u8; 16];

/// Sorted, distinct tag names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagNames {
    text: String,
    /// Where each name ends in `text`.
    ends: Vec<u32>,
}

impl TagNames {
    /// The number of names.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at `index`, which must be below [`TagNames::len`].
    pub fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[index] as usize]
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The index of the first name that is not less than `name`.
    pub fn lower_bound(&self, name: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) < name {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether `name` is among them.
    pub fn contains(&self, name: &str) -> bool {
        let index = self.lower_bound(name);
        index < self.len() && self.get(index) == name
    }

    /// The names that begin with `prefix`.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        (self.lower_bound(prefix)..self.len())
            .map(|index| self.get(index))
            .take_while(move |name| name.starts_with(prefix))
    }

    /// What tells these names from any others, the same in every process.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Sha256::new_with_prefix(&self.text);
        for end in &self.ends {
            hasher.update(end.to_be_bytes());
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(&hasher.finalize()[..16]);
        fingerprint
    }

    /// Bytes held, for cache bounds.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + allocated(self.text.capacity()) + allocated(self.ends.capacity() * size_of::<u32>())
    }
}

/// Collects names as they arrive, in whatever order.
#[derive(Clone, Debug)]
pub struct TagNamesBuilder {
    /// Not yet sorted, unless `ascending`.
    names: TagNames,
    ascending: bool,
}

/// How far a builder was, to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    count: usize,
    text: usize,
    ascending: bool,
}

/// All names together are longer than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tags")]
pub struct TooManyNames;

impl Default for TagNamesBuilder {
    fn default() -> Self {
        Self {
            names: TagNames::default(),
            ascending: true,
        }
    }
}

impl TagNamesBuilder {
    pub fn push(&mut self, name: &str) -> Result<(), TooManyNames> {
        let end = u32::try_from(self.names.text.len() + name.len()).map_err(|_| TooManyNames)?;
        self.ascending = self.ascending && self.last().is_none_or(|last| last < name);
        self.names.text.push_str(name);
        self.names.ends.push(end);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes held.
    pub fn weight(&self) -> usize {
        self.names.weight()
    }

    /// The name that was pushed at `index`, which must be below [`TagNamesBuilder::len`].
    pub fn get(&self, index: usize) -> &str {
        self.names.get(index)
    }

    /// In the order in which they were pushed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter()
    }

    /// The name that was pushed last.
    pub fn last(&self) -> Option<&str> {
        self.len().checked_sub(1).map(|index| self.get(index))
    }

    /// Whether every name was bytewise greater than the one before.
    pub fn is_ascending(&self) -> bool {
        self.ascending
    }

    /// The names, where they were pushed in order.
    pub fn as_sorted(&self) -> Option<&TagNames> {
        self.ascending.then_some(&self.names)
    }

    pub fn mark(&self) -> Mark {
        Mark {
            count: self.len(),
            text: self.names.text.len(),
            ascending: self.ascending,
        }
    }

    /// Forgets what was pushed since `mark` was taken of this builder.
    pub fn rewind(&mut self, mark: Mark) {
        self.names.text.truncate(mark.text);
        self.names.ends.truncate(mark.count);
        self.ascending = mark.ascending;
    }

    /// Keeps the first `count` names.
    pub fn truncate(&mut self, count: usize) {
        self.names.ends.truncate(count);
        let end = self.names.ends.last().map_or(0, |end| *end as usize);
        self.names.text.truncate(end);
    }

    /// Sorts and drops doubles.
    pub fn finish(self) -> TagNames {
        let mut names = if self.ascending {
            self.names
        } else {
            sorted(&self.names)
        };
        names.text.shrink_to_fit();
        names.ends.shrink_to_fit();
        names
    }
}

fn sorted(names: &TagNames) -> TagNames {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_unstable_by_key(|&index| names.get(index));
    order.dedup_by_key(|index| names.get(*index));
    let mut sorted = TagNames {
        text: String::with_capacity(names.text.len()),
        ends: Vec::with_capacity(order.len()),
    };
    for index in order {
        sorted.text.push_str(names.get(index));
        // The text is no longer than the one it is taken from, whose ends fit.
        sorted.ends.push(u32::try_from(sorted.text.len()).unwrap_or(u32::MAX));
    }
    sorted
}

/// Sorts and drops doubles. Names past 4 GiB of text in all are a listing over every limit; they are left out.
/// A list of names.
impl Serialize for TagNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A list of names that are sorted and distinct.
impl<'de> Deserialize<'de> for TagNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SortedNames)
    }
}

/// Takes names one by one, so that they are in memory once.
struct SortedNames;

impl<'de> Visitor<'de> for SortedNames {
    type Value = TagNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sorted names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<TagNames, A::Error> {
        let mut builder = TagNamesBuilder::default();
        while let Some(name) = names.next_element::<Cow<'_, str>>()? {
            builder.push(&name).map_err(A::Error::custom)?;
        }
        match builder.is_ascending() {
            true => Ok(builder.finish()),
            false => Err(A::Error::custom("the names are not sorted")),
        }
    }
}

impl<S: AsRef<str>> FromIterator<S> for TagNames {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut builder = TagNamesBuilder::default();
        for name in names {
            if builder.push(name.as_ref()).is_err() {
                break;
            }
        }
        builder.finish()
    }
}

#[cfg(test)]
mod tests;
