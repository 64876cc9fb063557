//! Values that a store holds in pieces, because they are larger than one of its entries should be.

use std::ops::Range;

use bytes::Bytes;

/// What tells a value from any other, so that pieces of two versions are never put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WholeValue {
    /// Bytes of all pieces.
    pub length: usize,
    pub hash: [u8; 32],
}

impl WholeValue {
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len(),
            hash: blake3::hash(bytes).into(),
        }
    }

    /// Where its pieces lie, each but the last of `size` bytes.
    pub fn pieces(&self, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let length = self.length;
        (0..length.div_ceil(size)).map(move |piece| piece * size..length.min((piece + 1) * size))
    }

    /// The value, if the pieces that were found are all of its own.
    pub fn assembled(&self, found: Vec<u8>) -> Option<Bytes> {
        (Self::of(&found) == *self).then(|| found.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_together_from_its_own_pieces_only() {
        let value = b"0123456789";
        let whole = WholeValue::of(value);
        let pieces: Vec<&[u8]> = whole.pieces(4).map(|piece| &value[piece]).collect();
        assert_eq!(pieces, [&b"0123"[..], b"4567", b"89"]);
        assert_eq!(whole.assembled(pieces.concat()).as_deref(), Some(&value[..]));
        for missing in 0..3 {
            let mut some = pieces.clone();
            some.remove(missing);
            assert_eq!(whole.assembled(some.concat()), None, "{missing}");
        }
        assert_eq!(whole.assembled(b"0123456780".to_vec()), None);
        assert_eq!(WholeValue::of(b"").pieces(4).len(), 0);
    }
}
