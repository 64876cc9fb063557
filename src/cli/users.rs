//! Who may use the credentials that the configuration gives refshim; `check` and the start of `serve` say so.

use std::net::SocketAddr;

use serde::Serialize;

use crate::config::ServerConfig;

/// The configuration was checked: what is left open is so on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CredentialUsers {
    /// Of `server.auth.htpasswd_file`.
    Passwords,
    /// Of authorities in `server.tls.client_ca_file`.
    Certificates,
    /// Users of that file, and holders of such a certificate.
    PasswordsOrCertificates,
    /// Whoever is on this machine: refshim listens on a loopback address.
    ThisMachine,
    /// `server.allow_anonymous`
    Anybody,
}

impl CredentialUsers {
    pub(super) fn of(server: &ServerConfig) -> Self {
        let (passwords, certificates) = (&server.auth.htpasswd_file, &server.tls.client_ca_file);
        match (passwords.is_some(), certificates.is_some()) {
            (true, true) => Self::PasswordsOrCertificates,
            (true, false) => Self::Passwords,
            (false, true) => Self::Certificates,
            (false, false) if server.listen.ip().is_loopback() => Self::ThisMachine,
            (false, false) => Self::Anybody,
        }
    }

    /// For people.
    pub(super) fn at(self, listen: SocketAddr) -> String {
        match self {
            Self::Passwords => "users of server.auth.htpasswd_file".to_owned(),
            Self::Certificates => "callers with a certificate of server.tls.client_ca_file".to_owned(),
            Self::PasswordsOrCertificates => {
                "users of server.auth.htpasswd_file and callers with a certificate of server.tls.client_ca_file"
                    .to_owned()
            }
            Self::ThisMachine => format!("whoever can connect to {listen} on this machine"),
            Self::Anybody => format!("anybody who can connect to {listen} (server.allow_anonymous)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_let_in_is_named() {
        let server = |listen: &str, passwords: bool, certificates: bool| {
            let mut server = ServerConfig {
                listen: listen.parse().unwrap(),
                ..ServerConfig::default()
            };
            server.auth.htpasswd_file = passwords.then(|| "users".into());
            server.tls.client_ca_file = certificates.then(|| "ca.pem".into());
            CredentialUsers::of(&server)
        };
        assert_eq!(server("127.0.0.1:1", false, false), CredentialUsers::ThisMachine);
        assert_eq!(server("[::1]:1", false, false), CredentialUsers::ThisMachine);
        assert_eq!(server("0.0.0.0:1", false, false), CredentialUsers::Anybody);
        for listen in ["127.0.0.1:1", "0.0.0.0:1"] {
            assert_eq!(server(listen, true, false), CredentialUsers::Passwords);
            assert_eq!(server(listen, false, true), CredentialUsers::Certificates);
            assert_eq!(server(listen, true, true), CredentialUsers::PasswordsOrCertificates);
        }
    }
}
