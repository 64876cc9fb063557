//! Names are kept sorted, compact and as they were given.

use super::*;

#[test]
fn names_in_any_order_end_up_sorted_and_distinct() {
    let names = TagNames::from_iter(["b", "a", "", "b", "aa"]);
    assert_eq!(names.iter().collect::<Vec<_>>(), ["", "a", "aa", "b"]);
    assert_eq!(names, TagNames::from_iter(["", "a", "aa", "b"]));
    assert!(names.contains("aa") && !names.contains("c"));
    assert_eq!(names.with_prefix("a").collect::<Vec<_>>(), ["a", "aa"]);
}

#[test]
fn names_that_differ_have_other_fingerprints() {
    let of = |names: &[&str]| TagNames::from_iter(names).fingerprint();
    assert_eq!(of(&["a", "b"]), of(&["b", "a", "b"]));
    let all = [of(&[]), of(&["ab"]), of(&["a", "b"]), of(&["a", "c"]), of(&["a"])];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{index}");
    }
}

#[test]
fn rewinding_forgets_a_page() {
    let mut builder = TagNamesBuilder::default();
    builder.push("b").unwrap();
    let mark = builder.mark();
    builder.push("a").unwrap();
    assert!(!builder.is_ascending());
    builder.rewind(mark);
    assert!(builder.is_ascending());
    builder.push("c").unwrap();
    assert_eq!(builder.finish(), TagNames::from_iter(["b", "c"]));
}
