//! What to write instead of a key that does not exist.

/// Names this similar (by Jaro, from 0 to 1) are taken for the one that was meant, as clap takes flags.
const SIMILAR: f64 = 0.7;

/// The key that serde's `message` calls unknown.
pub(super) fn named_in(message: &str) -> Option<&str> {
    Some(unknown_field(message)?.0)
}

/// The unknown key, and what the message says of those that are known.
fn unknown_field(message: &str) -> Option<(&str, &str)> {
    message.strip_prefix("unknown field `")?.split_once("`, expected ")
}

/// serde's "unknown field `x`, expected `a` or `b`", in our words. Other messages stay as they are.
pub(super) fn explain(message: &str) -> String {
    let Some((unknown, known)) = unknown_field(message) else {
        return message.to_owned();
    };
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    match closest(unknown, &names) {
        Some(meant) => format!("unknown key: did you mean '{meant}'? Known are {}", names.join(", ")),
        None => format!("unknown key, expected {}", known.replace('`', "")),
    }
}

fn closest<'a>(unknown: &str, names: &[&'a str]) -> Option<&'a str> {
    let rated = names.iter().map(|name| (strsim::jaro(unknown, name), *name));
    let similar = rated.filter(|(similarity, _)| *similarity > SIMILAR);
    similar.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_nonsense() {
        assert_eq!(
            explain("unknown field `lisen`, expected one of `ui`, `listen`"),
            "unknown key: did you mean 'listen'? Known are ui, listen"
        );
        assert_eq!(
            explain("unknown field `colour`, expected `listen` or `ui`"),
            "unknown key, expected listen or ui"
        );
        assert_eq!(explain("something else"), "something else");
    }
}
