//! The trace that a request is part of (W3C Trace Context, Level 1). It is logged, and passed on to the registry with every request that
//! refshim makes for that request.

#[cfg_attr(not(feature = "otel"), path = "no_otel.rs")]
mod otel;

use http::{HeaderMap, HeaderName, HeaderValue};

pub use otel::{adopt, answered, follow};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of `00-<trace-id>-<parent-id>-<flags>`.
const LENGTH: usize = 55;
/// Positions of the dashes.
const DASHES: [usize; 3] = [2, 35, 52];

/// The caller's `traceparent` and `tracestate`, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    parent: HeaderValue,
    /// In the order of the request.
    state: Vec<HeaderValue>,
}

impl TraceContext {
    /// `None` if there is no valid `traceparent`; the specification then requires that `tracestate` is ignored too.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?;
        if parents.next().is_some() || !is_valid(parent.as_bytes()) {
            return None;
        }
        Some(Self {
            parent: parent.clone(),
            state: headers.get_all(TRACESTATE).iter().cloned().collect(),
        })
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        // Checked to be ASCII.
        let text = self.parent.to_str().unwrap_or_default();
        text.get(DASHES[0] + 1..DASHES[1]).unwrap_or_default()
    }

    /// Makes another request part of this trace.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.parent.clone());
        headers.remove(TRACESTATE);
        for state in &self.state {
            headers.append(TRACESTATE, state.clone());
        }
    }
}

/// Section 3.2.2; later versions may say more after a dash.
fn is_valid(text: &[u8]) -> bool {
    let (Some(known), more) = (text.get(..LENGTH), text.get(LENGTH)) else {
        return false;
    };
    let is_text = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let has_form = known.iter().enumerate().all(|(at, byte)| match DASHES.contains(&at) {
        true => *byte == b'-',
        false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let is_any = |range: std::ops::Range<usize>| known[range].iter().any(|digit| *digit != b'0');
    let version = &known[..DASHES[0]];
    let ends = match more {
        None => true,
        Some(byte) => *byte == b'-' && version != b"00",
    };
    let ids = is_any(DASHES[0] + 1..DASHES[1]) && is_any(DASHES[1] + 1..DASHES[2]);
    is_text && has_form && ends && version != b"ff" && ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn context(parents: &[&str], states: &[&str]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, state.parse().unwrap());
        }
        TraceContext::of(&headers)
    }

    #[test]
    fn a_context_is_passed_on_as_it_came() {
        let parent = format!("00-{ID}-b7ad6b7169203331-01");
        let context = context(&[&parent], &["a=1", "b=2,c=3"]).unwrap();
        assert_eq!(context.trace_id(), ID);
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, "old=1".parse().unwrap());
        context.write(&mut headers);
        assert_eq!(headers[TRACEPARENT], parent);
        assert_eq!(
            headers.get_all(TRACESTATE).iter().collect::<Vec<_>>(),
            ["a=1", "b=2,c=3"]
        );
    }

    #[test]
    fn what_is_no_context_is_none() {
        let valid = |text: &str| context(&[text], &[]).is_some();
        let parent = "b7ad6b7169203331";
        assert!(valid(&format!("00-{ID}-{parent}-00")));
        assert!(valid(&format!("cc-{ID}-{parent}-01-what-the-future-brings")));
        for wrong in [
            "",
            "00-1",
            &format!("00-{ID}-{parent}"),
            &format!("00-{ID}-{parent}-01-more"),
            &format!("cc-{ID}-{parent}-01.more"),
            &format!("ff-{ID}-{parent}-01"),
            &format!("00-{}-{parent}-01", "0".repeat(32)),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("00-{}-{parent}-01", ID.to_uppercase()),
            &format!("00_{ID}-{parent}-01"),
        ] {
            assert!(!valid(wrong), "{wrong}");
        }
        let twice = format!("00-{ID}-{parent}-01");
        assert!(context(&[&twice, &twice], &[]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_survived(text in "[ -~]{0,70}") {
            let _ = context(&[&text], &[&text]).map(|context| context.trace_id().len());
        }
    }
}
