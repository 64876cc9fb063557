//! What values take up in memory, allocator and tree nodes included: a cache that counts text alone holds a multiple of its bound.

/// Bytes that an allocation of `bytes` takes: the allocator adds a word and rounds up to 16 (glibc's malloc; others differ by
/// little).
pub fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// Of an `Arc<str>`, which counts its holders beside the text.
pub fn shared_text(text: &str) -> usize {
    allocated(text.len() + 16)
}

/// Of the nodes of a tree of `count` entries of `entry` bytes each: up to eleven share a node, of which a tree that grew in order
/// fills half.
pub fn tree(count: usize, entry: usize) -> usize {
    let nodes = match count {
        0 => 0,
        1..=11 => 1,
        _ => count.div_ceil(6),
    };
    nodes * allocated(11 * entry + 16)
}

/// Of a hash table that has room for `capacity` entries: it is never fuller than seven eighths, and has a byte beside each place.
pub fn table(capacity: usize, entry: usize) -> usize {
    allocated(capacity * 8 / 7 * (entry + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_rounded_up_and_nothing_takes_nothing() {
        for (bytes, expected) in [
            (0, 0),
            (1, 32),
            (24, 32),
            (25, 48),
            (40, 48),
            (1000, 1008),
            (1001, 1024),
        ] {
            assert_eq!(allocated(bytes), expected, "{bytes}");
        }
        assert_eq!(shared_text(&"x".repeat(71)), 96);
        assert_eq!((tree(0, 48), tree(3, 48)), (0, 560));
    }
}
