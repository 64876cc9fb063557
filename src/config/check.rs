//! What no single value shows: what is missing, and what does not go together.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::ConfigError;
use super::redis::{RedisConfig, RedisUrl};
use super::routing;
use super::upstream::DEFAULT_UPSTREAM;
use super::{Config, ServerConfig};

/// Completes names and reports what no single value shows.
pub(super) fn check(config: &mut Config, problems: &mut Vec<ConfigError>) {
    if config.upstreams.is_empty() && !problems.iter().any(|problem| problem.key.starts_with("upstream")) {
        let problem = "is missing: give --upstream URL, REFSHIM_UPSTREAM, or an [[upstream]] table in the file";
        problems.push(ConfigError::new("upstream", problem));
    }
    let mut names = BTreeSet::new();
    for (index, upstream) in config.upstreams.iter_mut().enumerate() {
        let key = |name: &str| format!("upstream[{index}].{name}");
        let reported = |key: &str| problems.iter().any(|problem| problem.key == key);
        if !upstream.has_url() && !reported(&key("url")) && !reported(&format!("upstream[{index}]")) {
            problems.push(ConfigError::new(
                key("url"),
                "is missing: give the registry's URL, such as https://ghcr.io",
            ));
        }
        if upstream.name.is_empty() {
            upstream.name = match index {
                0 => DEFAULT_UPSTREAM.to_owned(),
                _ => upstream.url.authority().to_owned(),
            };
        }
        if !names.insert(upstream.name.clone()) {
            let problem = format!(
                "'{}' is taken by an upstream before it: give each its own name",
                upstream.name
            );
            problems.push(ConfigError::new(key("name"), problem));
        }
        check_file(&key("ca_file"), upstream.ca_file.as_deref(), problems);
    }
    routing::check(&config.upstreams, problems);
    check_tls(&config.server, problems);
    check_redis(&config.cache.redis, problems);
    check_file(
        "admin.events_token_file",
        config.admin.events_token_file.as_deref(),
        problems,
    );
    let (listen, admin) = (config.server.listen, config.admin.listen);
    if listen == admin && listen.port() != 0 {
        let problem = format!("'{admin}' is server.listen too: the two listeners need an address each");
        problems.push(ConfigError::new("admin.listen", problem));
    }
}

/// Half a key pair would leave callers unprotected without a word.
fn check_tls(server: &ServerConfig, problems: &mut Vec<ConfigError>) {
    let given = [
        ("tls_cert_file", server.tls_cert_file.is_some()),
        ("tls_key_file", server.tls_key_file.is_some()),
    ];
    let wanted = given.iter().any(|(_, given)| *given) || server.tls_client_ca_file.is_some();
    for (key, _) in given.into_iter().filter(|(_, given)| wanted && !given) {
        let problem = "is missing: TLS needs server.tls_cert_file and server.tls_key_file";
        problems.push(ConfigError::new(format!("server.{key}"), problem));
    }
}

fn check_redis(redis: &RedisConfig, problems: &mut Vec<ConfigError>) {
    let key = |name: &str| format!("cache.redis.{name}");
    check_file(&key("ca_file"), redis.ca_file.as_deref(), problems);
    check_file(&key("password_file"), redis.password_file.as_deref(), problems);
    if redis.ca_file.is_some() && redis.url.as_ref().is_some_and(|url| !url.is_tls()) {
        let problem = "is of no use without TLS: write cache.redis.url as rediss://…";
        problems.push(ConfigError::new(key("ca_file"), problem));
    }
    let in_url = redis.url.as_ref().is_some_and(RedisUrl::has_password);
    let passwords = [in_url, redis.password.is_some(), redis.password_file.is_some()];
    if passwords.into_iter().filter(|given| *given).count() > 1 {
        let problem = "is given more than once among url, password and password_file: keep one";
        problems.push(ConfigError::new(key("password"), problem));
    }
}

fn check_file(key: &str, file: Option<&Path>, problems: &mut Vec<ConfigError>) {
    if let Some(file) = file.filter(|file| !file.is_file()) {
        let problem = format!("'{}' is not a file that can be read", file.display());
        problems.push(ConfigError::new(key, problem));
    }
}
