//! `Via` (RFC 9110, 7.6.3), by which refshim recognises a request that comes back to it, or that passed too many refshims.

use std::sync::LazyLock;

use http::header::VIA;
use http::{HeaderMap, HeaderValue};

/// The beginning of every refshim's name in `Via`.
const KIND: &str = "refshim-";
/// Number of refshims that a request may have passed. Two in a row are common; a longer chain than this is taken for a loop.
const MOST: usize = 5;

/// The unique name of this process in `Via`.
static NAME: LazyLock<String> = LazyLock::new(|| format!("{KIND}{:016x}", rand::random::<u64>()));

/// The line that this process adds. Hexadecimal digits and letters, which every header value may hold.
static LINE: LazyLock<Option<HeaderValue>> = LazyLock::new(|| HeaderValue::try_from(format!("1.1 {}", *NAME)).ok());

/// Adds this process to the proxies that the request has passed.
pub(crate) fn add(headers: &mut HeaderMap) {
    if let Some(line) = &*LINE {
        headers.append(VIA, line.clone());
    }
}

/// The proxies that a request has passed, in one line.
pub(crate) fn of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(VIA).iter();
    let first = lines.next()?;
    let mut all = first.as_bytes().to_vec();
    for line in lines {
        all.extend_from_slice(b", ");
        all.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&all).ok()
}

/// Whether the request has passed this process already, or too many refshims.
pub fn is_loop(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(VIA).iter();
    let passed = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let kin: Vec<&[u8]> = passed
        .filter_map(name)
        .filter(|name| name.starts_with(KIND.as_bytes()))
        .collect();
    kin.len() > MOST || kin.contains(&NAME.as_bytes())
}

/// The pseudonym in `1.1 pseudonym (comment)`.
fn name(element: &[u8]) -> Option<&[u8]> {
    let mut words = element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VIA, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn what_passed_here_before_is_a_loop_wherever_it_went_meanwhile() {
        let here = format!("1.1 {}", *NAME);
        for lines in [
            vec![here.as_str()],
            vec!["1.1 gateway", &here, "2 edge (of the cloud)"],
            vec![&format!("1.1 a,{here} ,HTTP/1.1 b")],
        ] {
            assert!(is_loop(&passed(&lines)), "{lines:?}");
        }
        for lines in [
            &[][..],
            &["1.1 gateway"],
            &["", ",", "1.1"],
            &["1.1 refshim-0123456789abcdef"],
        ] {
            assert!(!is_loop(&passed(lines)), "{lines:?}");
        }
    }

    #[test]
    fn a_chain_of_many_is_a_loop_and_one_of_few_is_none() {
        let chain = |length: usize| vec!["1.1 refshim-0"; length].join(", ");
        assert!(!is_loop(&passed(&[&chain(MOST)])));
        assert!(is_loop(&passed(&[&chain(MOST + 1)])));
        assert!(is_loop(&passed(&[&chain(MOST), "1.1 refshim-1"])));
    }

    #[test]
    fn what_a_request_passed_before_stays() {
        let mut headers = passed(&["1.0 fred", "1.1 p.example.net (Apache)"]);
        add(&mut headers);
        let line = of(&headers).unwrap();
        assert_eq!(line, format!("1.0 fred, 1.1 p.example.net (Apache), 1.1 {}", *NAME));
    }
}
