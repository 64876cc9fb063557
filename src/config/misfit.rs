//! A value that does not fit the configuration: where it stands, and what is wrong with it.

use std::fmt;

use ::config::{ConfigError as RawError, Map, Value, ValueKind};

use super::unknown_key;

/// Of a tree of values that was deserialised.
pub(super) struct Misfit {
    pub(super) path: KeyPath,
    /// In one line, without the path.
    pub(super) problem: String,
}

impl Misfit {
    /// What `error` says of `tree`.
    pub(super) fn new(error: &RawError, tree: &Value) -> Self {
        let key = match error {
            RawError::At { key: Some(key), .. } | RawError::Type { key: Some(key), .. } | RawError::NotFound(key) => {
                key
            }
            // Whatever it is of then, it is somewhere below the root.
            _ => "",
        };
        let mut path = KeyPath::find(tree, key).unwrap_or_else(|| KeyPath(vec![Step::Name(key.to_owned())]));
        if let Some(unknown) = unknown_key::named_in(&innermost(error).to_string()) {
            path.0.push(Step::Name(unknown.to_owned()));
        }
        let problem = one_line(error);
        Self { path, problem }
    }
}

fn innermost(error: &RawError) -> &RawError {
    match error {
        RawError::At { error, .. } => innermost(error),
        other => other,
    }
}

/// The error's message in one line, without its key (which is printed in front of it) and without the parser's excerpt of the file.
pub(super) fn one_line(error: &RawError) -> String {
    match innermost(error) {
        RawError::Type {
            unexpected, expected, ..
        } => flat(&format!("is {unexpected}, expected {expected}")),
        RawError::FileParse { cause, .. } => {
            let text = cause.to_string();
            let lines: Vec<&str> = text.lines().filter(|line| !line.contains('|')).collect();
            flat(&lines.join("\n"))
        }
        other => unknown_key::explain(&flat(&other.to_string())),
    }
}

fn flat(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}

/// Where a value stands in a tree of values. Printed as `upstream[0].url`.
pub(super) struct KeyPath(Vec<Step>);

enum Step {
    Name(String),
    Index(usize),
}

impl KeyPath {
    /// Where `tree` has `key`, as the crate config writes it. Names may have dots and brackets in them, and a dot is missing after an index:
    /// only the tree says where a name ends.
    fn find(tree: &Value, key: &str) -> Option<Self> {
        let mut steps = Vec::new();
        if !follow(tree, key, &mut steps) {
            return None;
        }
        steps.reverse();
        Some(Self(steps))
    }

    /// Removes the value, or where it cannot be, the nearest one around it. Returns whether one was.
    pub(super) fn remove_from(&self, tree: &mut Value) -> bool {
        (1..=self.0.len())
            .rev()
            .any(|length| Self::remove(tree, &self.0[..length]))
    }

    fn remove(tree: &mut Value, steps: &[Step]) -> bool {
        let Some((last, parents)) = steps.split_last() else {
            return false;
        };
        let mut place = tree;
        for step in parents {
            let next = match (step, &mut place.kind) {
                (Step::Name(name), ValueKind::Table(table)) => table.get_mut(name),
                (Step::Index(index), ValueKind::Array(items)) => items.get_mut(*index),
                _ => None,
            };
            match next {
                Some(next) => place = next,
                None => return false,
            }
        }
        match (last, &mut place.kind) {
            (Step::Name(name), ValueKind::Table(table)) => table.remove(name).is_some(),
            // An empty table in its place, so that the indices of the others stay.
            (Step::Index(index), ValueKind::Array(items)) => items.get_mut(*index).is_some_and(|item| {
                let was_table = matches!(item.kind, ValueKind::Table(_));
                item.kind = ValueKind::Table(Map::new());
                !was_table
            }),
            _ => false,
        }
    }
}

/// Puts the steps from `value` along `key` into `steps`, the last one first. Returns false, and adds none, where they lead nowhere.
fn follow(value: &Value, key: &str, steps: &mut Vec<Step>) -> bool {
    if key.is_empty() {
        return true;
    }
    match &value.kind {
        ValueKind::Table(table) => {
            let key = key.strip_prefix('.').unwrap_or(key);
            table.iter().any(|(name, value)| {
                let rest = key.strip_prefix(name.as_str());
                let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
                let leads = rest.is_some_and(|rest| follow(value, rest, steps));
                if leads {
                    steps.push(Step::Name(name.clone()));
                }
                leads
            })
        }
        ValueKind::Array(items) => {
            let index = key.strip_prefix('[').and_then(|key| key.split_once(']'));
            let Some((Ok(index), rest)) = index.map(|(index, rest)| (index.parse::<usize>(), rest)) else {
                return false;
            };
            let leads = items.get(index).is_some_and(|item| follow(item, rest, steps));
            if leads {
                steps.push(Step::Index(index));
            }
            leads
        }
        _ => false,
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if number == 0 => write!(f, "{name}")?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::config::{Config, File, FileFormat};

    #[test]
    fn a_key_is_found_whatever_its_name_looks_like() {
        let text = "[t]\na.b = 1\n'a.b' = {c = 2, 'd[0].e' = 3}\nf = [[4, 5], {g = 6}]";
        let source = File::from_str(text, FileFormat::Toml);
        let tree = Config::builder().add_source(source).build().unwrap().cache;
        for (key, printed) in [
            ("t.a.b", "t.a.b"),
            ("t.a.b.c", "t.a.b.c"),
            ("t.a.b.d[0].e", "t.a.b.d[0].e"),
            ("t.f[0][1]", "t.f[0][1]"),
            ("t.f[1]g", "t.f[1].g"),
        ] {
            let path = KeyPath::find(&tree, key).unwrap_or_else(|| panic!("{key} is not found"));
            assert_eq!(path.to_string(), printed);
            let mut rest = tree.clone();
            assert!(path.remove_from(&mut rest), "{key}");
            assert_ne!(rest, tree, "{key}");
        }
        for key in ["t.f[2]", "t.f[x]", "t.f[", "t.a.b.x", "t.a.b.c.x", "x"] {
            assert!(KeyPath::find(&tree, key).is_none(), "{key}");
        }
    }
}
