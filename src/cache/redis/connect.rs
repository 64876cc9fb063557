//! Connecting: one connection for questions and, over RESP3, for the news of other replicas' writes.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, PushInfo, cmd};
use redis::{PushKind, TlsCertificates, Value};

use super::keeper::Gone;
use super::layout::Layout;
use super::link::Link;
use super::{RedisError, RedisOptions};
use crate::cache::epoch::Epochs;
use crate::cache::key::Scope;

/// Commands that wait to be sent.
const QUEUE: usize = 1024;

pub(super) struct Connector {
    info: ConnectionInfo,
    password_file: Option<PathBuf>,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
    pub patience: Duration,
}

/// Why there is no connection. Never holds a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Redis(#[from] redis::RedisError),
    #[error("the password file cannot be read: {0}")]
    Password(std::io::Error),
    #[error("it is a replica: refshim needs the primary")]
    Replica,
    #[error("it is still loading its data")]
    Loading,
    #[error("it does not tell its run_id (INFO): a restart that loses writes could not be noticed")]
    NoRunId,
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// A connection and the run of the server that it leads to.
pub(super) struct Connected {
    pub connection: MultiplexedConnection,
    pub run: Arc<str>,
}

impl Connector {
    pub fn new(options: &RedisOptions, patience: Duration) -> Result<Self, RedisError> {
        let unusable = |error: redis::RedisError| RedisError::Url(error.to_string());
        let info = options.url.as_str().into_connection_info().map_err(unusable)?;
        let mut login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(password) = &options.password {
            login = login.set_password(password);
        }
        let connector = Self {
            info: info.set_redis_settings(login),
            password_file: options.password_file.clone(),
            authorities: options
                .ca_file
                .as_ref()
                .map(std::fs::read)
                .transpose()
                .map_err(|error| RedisError::Authorities(error.to_string()))?,
            timeout: options.timeout,
            patience,
        };
        connector.client(connector.info.clone())?;
        Ok(connector)
    }

    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        match &self.authorities {
            Some(pem) => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.clone()),
                };
                Client::build_with_tls(info, certificates).map_err(|error| RedisError::Authorities(error.to_string()))
            }
            None => Client::open(info).map_err(|error| RedisError::Url(error.to_string())),
        }
    }

    /// Connects, makes sure that this is a server that can be used, and listens to the other replicas.
    pub async fn connect(&self, layout: &Layout, listener: Listener) -> Result<Connected, ConnectError> {
        let mut info = self.info.clone();
        if let Some(file) = &self.password_file {
            // Read every time: it may have been changed.
            let password = tokio::fs::read_to_string(file).await.map_err(ConnectError::Password)?;
            let login = info.redis_settings().clone().set_password(password.trim_end());
            info = info.set_redis_settings(login);
        }
        let client = self.client(info).map_err(|error| unusable(&error))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.timeout))
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(listener);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;

        let mut patient = connection.clone();
        patient.set_response_timeout(self.patience);
        patient.subscribe(layout.channel()).await?;
        let info: String = cmd("INFO").query_async(&mut patient).await?;
        let run = usable(&info)?;
        // Shows whether it takes writes, which one that cannot save its data does not.
        cmd("DEL").arg(layout.probe()).query_async::<()>(&mut patient).await?;
        Ok(Connected { connection, run })
    }
}

/// The client was made once already with the same settings, all but the password.
fn unusable(error: &RedisError) -> ConnectError {
    ConnectError::Password(std::io::Error::other(error.to_string()))
}

/// Hears of other replicas' writes, and of the connection's end.
pub(super) struct Listener {
    pub epochs: Arc<Epochs>,
    pub link: Weak<Link>,
    /// Of the connection.
    pub number: u64,
}

impl AsyncPushSender for Listener {
    fn send(&self, news: PushInfo) -> Result<(), redis::aio::SendError> {
        match (news.kind, news.data.get(1)) {
            // What is known of a repository that was written to is over.
            (PushKind::Message, Some(Value::BulkString(scope))) => {
                if let Ok(scope) = std::str::from_utf8(scope) {
                    self.epochs.forget(&Scope::from_text(scope));
                }
            }
            (PushKind::Disconnection, _) => {
                if let Some(link) = self.link.upgrade() {
                    link.fail(self.number, &"the connection was closed");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The name of the server's run, when it is one that can be used.
fn usable(info: &str) -> Result<Arc<str>, ConnectError> {
    let field = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    if field("loading").is_some_and(|loading| loading != "0") {
        return Err(ConnectError::Loading);
    }
    if field("role").is_some_and(|role| role != "master") {
        return Err(ConnectError::Replica);
    }
    let run = field("run_id").map(str::trim).filter(|run| !run.is_empty());
    run.map(Into::into).ok_or(ConnectError::NoRunId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_primary_that_names_its_run_can_be_used() {
        let info = |text: &str| usable(text).map(|run| run.to_string());
        assert_eq!(
            info("# Server\r\nrun_id:abc\r\nloading:0\r\nrole:master\r\n").unwrap(),
            "abc"
        );
        assert!(matches!(
            info("run_id:abc\r\nrole:slave\r\n"),
            Err(ConnectError::Replica)
        ));
        assert!(matches!(
            info("run_id:abc\r\nloading:1\r\n"),
            Err(ConnectError::Loading)
        ));
        assert!(matches!(info("role:master\r\n"), Err(ConnectError::NoRunId)));
    }
}
