//! The order of tags that people expect: `1.9` before `1.10`, and `2.0-rc1` before `2.0`.

use std::cmp::Ordering;

/// What a name with one of these behind a separator is a forerunner of.
const FORERUNNERS: [&str; 7] = ["alpha", "beta", "dev", "nightly", "pre", "rc", "snapshot"];

/// A piece of a tag. The order of the variants counts: a forerunner comes before the end of the name, and everything else behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TagPiece {
    Forerunner(String),
    End,
    /// The number of its digits, and the digits, without leading zeros.
    Number(usize, String),
    Text(String),
}

/// The sort key of a tag. Tags that are different have different keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionKey {
    pieces: Vec<TagPiece>,
    name: String,
}

impl VersionKey {
    pub fn of(name: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = name;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            pieces.push(match digits {
                true => number(piece),
                false if pieces.is_empty() => TagPiece::Text(piece.to_ascii_lowercase()),
                false => text(piece),
            });
            rest = after;
        }
        pieces.push(TagPiece::End);
        Self {
            pieces,
            name: name.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// In the order that is asked for.
    pub fn compare(&self, other: &Self, newest_first: bool) -> Ordering {
        match newest_first {
            true => other.cmp(self),
            false => self.cmp(other),
        }
    }
}

fn number(digits: &str) -> TagPiece {
    let digits = digits.trim_start_matches('0');
    TagPiece::Number(digits.len(), digits.to_owned())
}

fn text(text: &str) -> TagPiece {
    let lower = text.to_ascii_lowercase();
    let word = lower.trim_start_matches(['-', '.', '_']);
    let is_forerunner = FORERUNNERS.iter().any(|forerunner| {
        let rest = word.strip_prefix(forerunner);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    });
    match is_forerunner {
        true => TagPiece::Forerunner(word.to_owned()),
        false => TagPiece::Text(lower),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_their_release() {
        let sorted = [
            "1.2.0",
            "1.9",
            "1.10-alpha1",
            "1.10-rc2",
            "1.10-rc10",
            "1.10",
            "1.10-alpine",
            "1.10.1",
            "2",
            "latest",
            "nightly-1",
            "v1.9",
            "v1.10",
        ];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by_key(|name| VersionKey::of(name));
        assert_eq!(shuffled, sorted);
        shuffled.sort_by(|a, b| VersionKey::of(a).compare(&VersionKey::of(b), true));
        assert!(shuffled.iter().rev().eq(sorted.iter()));
        assert_ne!(VersionKey::of("1.01"), VersionKey::of("1.1"));
    }

    proptest::proptest! {
        #[test]
        fn different_names_are_never_equal(one in "[a-c0-2._-]{1,6}", other in "[a-c0-2._-]{1,6}") {
            let order = VersionKey::of(&one).cmp(&VersionKey::of(&other));
            proptest::prop_assert_eq!(order == Ordering::Equal, one == other);
        }
    }
}
