//! Checks across several keys: required keys that are missing, and values that contradict each other.

use std::collections::BTreeSet;

use super::Config;
use super::error::ConfigError;
use super::redis::{RedisConfig, RedisUrl};
use super::upstream::DEFAULT_UPSTREAM;
use super::{events, files, links_repositories, listener_security, routing};

/// Gives upstreams without a name their default one, and reports problems that involve several keys.
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
        if upstream.insecure_skip_verify && upstream.url.scheme() == "http" {
            let problem = "has no effect without TLS: write upstream.url as https://…, or remove it";
            problems.push(ConfigError::new(key("insecure_skip_verify"), problem));
        }
        if upstream.name.is_empty() {
            upstream.name = match index {
                0 => DEFAULT_UPSTREAM.to_owned(),
                _ => upstream.url.authority().to_owned(),
            };
        }
        if !names.insert(upstream.name.clone()) {
            let problem = format!(
                "'{}' is also the name of an earlier upstream: give each a different name",
                upstream.name
            );
            problems.push(ConfigError::new(key("name"), problem));
        }
    }
    listing_accounts(config, problems);
    links_repositories::check(config, problems);
    routing::check(&config.upstreams, problems);
    events::check(&mut config.events, problems);
    files::check(config, problems);
    listener_security::check(config, problems);
    check_redis(&config.cache.redis, problems);
    let (listen, admin) = (config.server.listen, config.admin.listen);
    if listen == admin && listen.port() != 0 {
        let problem =
            format!("'{admin}' is the address of server.listen too: give the two listeners different addresses");
        problems.push(ConfigError::new("admin.listen", problem));
    }
}

/// Copies each account of `links.credentials` to the upstream that its key names.
fn listing_accounts(config: &mut Config, problems: &mut Vec<ConfigError>) {
    for (name, account) in &config.links.credentials {
        let key = format!("links.credentials.{name}");
        if !account.are_own() {
            let problem = "must say whose credentials to list with: static, docker-config or ecr";
            problems.push(ConfigError::new(format!("{key}.kind"), problem));
        }
        match config.upstreams.iter_mut().find(|upstream| upstream.name == *name) {
            Some(upstream) => upstream.listing_credentials = account.clone(),
            None => {
                let problem = "is not the name of an upstream (the first is called \"default\" unless it has a name)";
                problems.push(ConfigError::new(key, problem));
            }
        }
    }
}

fn check_redis(redis: &RedisConfig, problems: &mut Vec<ConfigError>) {
    let key = |name: &str| format!("cache.redis.{name}");
    if redis.ca_file.is_some() && redis.url.as_ref().is_some_and(|url| !url.is_tls()) {
        let problem = "has no effect without TLS: write cache.redis.url as rediss://…, or remove it";
        problems.push(ConfigError::new(key("ca_file"), problem));
    }
    let in_url = redis.url.as_ref().is_some_and(RedisUrl::has_password);
    let passwords = [in_url, redis.password.is_some(), redis.password_file.is_some()];
    if passwords.into_iter().filter(|given| *given).count() > 1 {
        let problem = "is given more than once among url, password and password_file: keep one";
        problems.push(ConfigError::new(key("password"), problem));
    }
}
