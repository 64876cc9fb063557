//! All tag names of a repository, sorted bytewise, in one allocation: a million names must fit in memory.

/// Sorted, distinct tag names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagNames {
    text: String,
    /// Where each name ends in `text`.
    ends: Vec<u32>,
}

impl TagNames {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at `index`, which must be below [`TagNames::len`].
    pub fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[index] as usize]
    }

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

    /// Bytes held, for cache bounds.
    pub fn weight(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<u32>()
    }
}

/// Sorts and drops doubles. Names past 4 GiB of text in all are a listing over every limit; they are left out.
impl<S: AsRef<str>> FromIterator<S> for TagNames {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut names: Vec<S> = names.into_iter().collect();
        names.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        names.dedup_by(|a, b| a.as_ref() == b.as_ref());
        let mut all = Self::default();
        for name in &names {
            all.text.push_str(name.as_ref());
            let Ok(end) = u32::try_from(all.text.len()) else { break };
            all.ends.push(end);
        }
        all
    }
}
