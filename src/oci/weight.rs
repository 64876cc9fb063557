//! The memory that values use, including the overhead of the allocator and of tree nodes: a cache that counted only the text would use a
//! multiple of its limit.

/// Bytes that an allocation of `bytes` uses: glibc's malloc adds a word and rounds up to 16; other allocators differ little.
pub fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// Bytes of an `Arc<str>`: the text and two reference counts.
pub fn shared_text(text: &str) -> usize {
    allocated(text.len() + 16)
}

/// Bytes of the nodes of a B-tree with `count` entries of `entry` bytes each. A node has room for eleven entries; if they were inserted in
/// order, half of the room is unused.
pub fn tree(count: usize, entry: usize) -> usize {
    let nodes = match count {
        0 => 0,
        1..=11 => 1,
        _ => count.div_ceil(6),
    };
    nodes * allocated(11 * entry + 16)
}

/// Bytes of a hash table with room for `capacity` entries: at most seven eighths of its slots are used, and each slot needs one more byte.
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
