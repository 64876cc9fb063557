//! Checks that the files that the configuration names can be read. The listeners' own files are checked when they are opened.

use std::path::Path;

use super::Config;
use super::error::ConfigError;

pub(super) fn check(config: &Config, problems: &mut Vec<ConfigError>) {
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let credentials = &upstream.credentials;
        for (name, file) in [
            ("ca_file", &upstream.ca_file),
            ("client_cert_file", &upstream.client_cert_file),
            ("client_key_file", &upstream.client_key_file),
            ("credentials.password_file", &credentials.password_file),
            ("credentials.file", &credentials.file),
        ] {
            readable(&format!("upstream[{index}].{name}"), file.as_deref(), problems);
        }
    }
    for (name, account) in &config.links.credentials {
        for (key, file) in [("password_file", &account.password_file), ("file", &account.file)] {
            readable(&format!("links.credentials.{name}.{key}"), file.as_deref(), problems);
        }
    }
    for (index, webhook) in config.events.webhooks.iter().enumerate() {
        for (name, file) in [("ca_file", &webhook.ca_file), ("secret_file", &webhook.secret_file)] {
            readable(&format!("events.webhooks[{index}].{name}"), file.as_deref(), problems);
        }
    }
    let redis = &config.cache.redis;
    for (key, file) in [
        ("admin.events_token_file", &config.admin.events_token_file),
        ("cache.redis.ca_file", &redis.ca_file),
        ("cache.redis.password_file", &redis.password_file),
    ] {
        readable(key, file.as_deref(), problems);
    }
}

fn readable(key: &str, file: Option<&Path>, problems: &mut Vec<ConfigError>) {
    if let Some(file) = file.filter(|file| !file.is_file()) {
        let problem = format!("'{}' is not a file that can be read", file.display());
        problems.push(ConfigError::new(key, problem));
    }
}
