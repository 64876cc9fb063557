//! Checks of keys that depend on each other: TLS, credentials, and who may use them.

use super::credentials::{CredentialsConfig, CredentialsKind};
use super::error::ConfigError;
use super::tls::TlsConfig;
use super::{Config, UpstreamConfig};
use crate::build_info::FULL_BUILD;

pub(super) fn check(config: &Config, problems: &mut Vec<ConfigError>) {
    tls("server.tls", &config.server.tls, problems);
    tls("admin.tls", &config.admin.tls, problems);
    for (index, upstream) in config.upstreams.iter().enumerate() {
        credentials(
            &format!("upstream[{index}].credentials"),
            &upstream.credentials,
            problems,
        );
        client_certificate(index, upstream, problems);
    }
    for (name, account) in &config.links.credentials {
        credentials(&format!("links.credentials.{name}"), account, problems);
    }
    auth(config, problems);
    if !config.telemetry.is_built_in() {
        let problem = format!(
            "needs OpenTelemetry, which is not part of this build: use a released one, or build with '{FULL_BUILD}'"
        );
        problems.push(ConfigError::new("telemetry.otlp_endpoint", problem));
    }
}

fn tls(section: &str, tls: &TlsConfig, problems: &mut Vec<ConfigError>) {
    let mut missing = |name: &str, other: &str| {
        let problem = format!("is missing: {other} has no effect without it");
        problems.push(ConfigError::new(format!("{section}.{name}"), problem));
    };
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => missing("key_file", "cert_file"),
        (None, Some(_)) => missing("cert_file", "key_file"),
        (None, None) if tls.client_ca_file.is_some() => missing("cert_file", "client_ca_file"),
        _ => {}
    }
}

fn client_certificate(index: usize, upstream: &UpstreamConfig, problems: &mut Vec<ConfigError>) {
    let (certificate, key) = (&upstream.client_cert_file, &upstream.client_key_file);
    if certificate.is_some() != key.is_some() {
        let name = if certificate.is_none() {
            "client_cert_file"
        } else {
            "client_key_file"
        };
        let problem = "is missing: client_cert_file and client_key_file need each other";
        problems.push(ConfigError::new(format!("upstream[{index}].{name}"), problem));
    }
}

fn credentials(section: &str, credentials: &CredentialsConfig, problems: &mut Vec<ConfigError>) {
    let CredentialsConfig {
        kind,
        username,
        password,
        password_file,
        file,
        region,
        endpoint,
    } = credentials;
    let mut report = |name: &str, problem: &str| {
        problems.push(ConfigError::new(format!("{section}.{name}"), problem));
    };
    let is_static = *kind == CredentialsKind::Static;
    if is_static && username.as_ref().is_none_or(String::is_empty) {
        report("username", "is missing: kind = \"static\" needs it");
    }
    match (password.is_some(), password_file.is_some()) {
        (true, true) => report("password", "is set besides password_file: remove one of them"),
        (false, false) if is_static => report(
            "password_file",
            "is missing: kind = \"static\" needs it, or the password in the environment",
        ),
        _ => {}
    }
    let given = username.is_some() || password.is_some() || password_file.is_some();
    if !is_static && given {
        report(
            "kind",
            "must be \"static\" if username, password or password_file is set",
        );
    }
    if *kind != CredentialsKind::DockerConfig && file.is_some() {
        report("kind", "must be \"docker-config\" if file is set");
    }
    if *kind != CredentialsKind::Ecr && (region.is_some() || endpoint.is_some()) {
        report("kind", "must be \"ecr\" if region or endpoint is set");
    }
    if !kind.is_built_in() {
        report(
            "kind",
            &format!("\"ecr\" is not part of this build: use a released one, or build with '{FULL_BUILD}'"),
        );
    }
}

/// Reports configurations in which everybody on the network could use refshim's own credentials without `server.allow_anonymous`.
fn auth(config: &Config, problems: &mut Vec<ConfigError>) {
    let server = &config.server;
    let checks = server.auth.htpasswd_file.is_some() || server.tls.client_ca_file.is_some();
    let own = config.upstreams.iter().find(|upstream| upstream.credentials.are_own());
    match own {
        None if server.auth.htpasswd_file.is_some() => {
            let problem = "has no effect: refshim has no credentials of its own for any upstream, so the registries check the callers";
            problems.push(ConfigError::new("server.auth.htpasswd_file", problem));
        }
        Some(_) if checks && server.allow_anonymous => {
            let problem =
                "contradicts server.auth.htpasswd_file and server.tls.client_ca_file: remove one or the other";
            problems.push(ConfigError::new("server.allow_anonymous", problem));
        }
        Some(own) if !checks && !server.allow_anonymous && !server.listen.ip().is_loopback() => {
            let problem = format!(
                "is missing: everybody who can connect to {} could use refshim's credentials for upstream '{}'; set \
                 server.auth.htpasswd_file or server.tls.client_ca_file, listen on loopback, or set server.allow_anonymous = true",
                server.listen, own.name
            );
            problems.push(ConfigError::new("server.auth", problem));
        }
        _ => {}
    }
}
