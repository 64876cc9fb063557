//! Configuration errors: all of them together, each in one line that names its key.

use std::fmt;

/// One problem in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The key, such as `upstream[0].url`, the environment variable, or the file that is wrong.
    pub key: String,
    /// What is wrong with it, and how to correct it.
    pub problem: String,
    /// `None` where nothing sets the key.
    pub origin: Option<ConfigOrigin>,
}

/// What set a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// An environment variable or a flag.
    Setting(String),
    /// The file, in this line.
    File(String, usize),
}

impl ConfigError {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
            origin: None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)?;
        match &self.origin {
            Some(ConfigOrigin::Setting(name)) => write!(f, " (set by {name})"),
            Some(ConfigOrigin::File(file, line)) => write!(f, " ({file}, line {line})"),
            None => Ok(()),
        }
    }
}

/// All problems in the configuration, at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
