//! Writes: the number of each, and what it may have changed, as replicas tell one another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The random number of a write.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WriteId(u64);

impl WriteId {
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a write may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    Tag(Arc<str>),
    Manifest(Arc<str>),
    /// Tags that nobody remembers: older listings are no longer complete.
    TagNames,
    /// Unknown: nothing that was read before is valid.
    Everything,
}

/// One write to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedWrite {
    pub id: WriteId,
    pub touched: Arc<[Invalidation]>,
}

impl RecordedWrite {
    pub fn new(touched: Arc<[Invalidation]>) -> Self {
        let id = WriteId::random();
        Self { id, touched }
    }
}

/// The form that other processes read: `0123456789abcdef tag:v1 manifest:sha256:…`, with `names` for unknown tags and `*` for everything.
impl fmt::Display for RecordedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        for touch in &*self.touched {
            match touch {
                Invalidation::Tag(tag) => write!(f, " tag:{tag}")?,
                Invalidation::Manifest(digest) => write!(f, " manifest:{digest}")?,
                Invalidation::TagNames => f.write_str(" names")?,
                Invalidation::Everything => f.write_str(" *")?,
            }
        }
        Ok(())
    }
}

/// The text is not in that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidWrite;

impl FromStr for RecordedWrite {
    type Err = InvalidWrite;

    fn from_str(text: &str) -> Result<Self, InvalidWrite> {
        let mut words = text.split(' ');
        let is_id = |id: &&str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let id = words.next().filter(is_id).ok_or(InvalidWrite)?;
        let id = WriteId(u64::from_str_radix(id, 16).map_err(|_| InvalidWrite)?);
        let touched = words.map(|word| match word.split_once(':') {
            Some(("tag", tag)) => Ok(Invalidation::Tag(tag.into())),
            Some(("manifest", digest)) => Ok(Invalidation::Manifest(digest.into())),
            _ if word == "names" => Ok(Invalidation::TagNames),
            _ if word == "*" => Ok(Invalidation::Everything),
            _ => Err(InvalidWrite),
        });
        let touched = touched.collect::<Result<Vec<_>, _>>()?.into();
        Ok(Self { id, touched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_read_as_they_were_written() {
        let touched = [
            Invalidation::Tag("v1".into()),
            Invalidation::Manifest("sha256:ab".into()),
            Invalidation::TagNames,
            Invalidation::Everything,
        ];
        for touched in [Arc::from([]), Arc::from(touched)] {
            let write = RecordedWrite::new(touched);
            assert_eq!(write.to_string().parse(), Ok(write));
        }
        for garbage in ["", "x", "0123456789abcdef  ", "0123456789abcdef v1", "+123456789abcdef"] {
            assert_eq!(garbage.parse::<RecordedWrite>(), Err(InvalidWrite), "{garbage}");
        }
    }
}
