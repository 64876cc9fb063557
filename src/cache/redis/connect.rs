//! Connects to Redis: one connection for commands, and one for events about other replicas' writes.
//!
//! They are separate because events that arrive in the middle of a transaction's reply have shifted all later replies by one (seen with
//! Redis 7.0 and RESP3), so that a question got the epoch of an earlier one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates, cmd};

use super::connection_task::ConnectionLost;
use super::layout::Layout;
use super::{RedisError, RedisOptions};

/// Number of commands that may wait to be sent.
const QUEUE: usize = 1024;

pub(super) struct RedisConnector {
    info: ConnectionInfo,
    password_file: Option<PathBuf>,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
    pub patience: Duration,
}

/// Why there is no connection. Never contains a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Redis(#[from] redis::RedisError),
    #[error("it does not answer in time")]
    Slow,
    #[error("the password file cannot be read: {0}")]
    Password(std::io::Error),
    #[error("it is a read replica: connect refshim to the primary")]
    Replica,
    #[error("it is still loading its data")]
    Loading,
    #[error("its INFO has no run_id, without which refshim cannot notice a restart that lost writes")]
    NoRunId,
    #[error(transparent)]
    Gone(#[from] ConnectionLost),
}

/// Both connections, and the `run_id` of the server.
pub(super) struct OpenConnections {
    pub connection: MultiplexedConnection,
    pub run: Arc<str>,
    /// Ends when its connection does.
    pub events: PubSubStream,
}

impl RedisConnector {
    pub fn new(options: &RedisOptions, patience: Duration) -> Result<Self, RedisError> {
        let unusable = |error: redis::RedisError| RedisError::Url(error.to_string());
        let info = options.url.as_str().into_connection_info().map_err(unusable)?;
        let mut login = info.redis_settings().clone();
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

    /// Connects, checks that the server can be used, and subscribes to other replicas' writes.
    pub async fn connect(&self, layout: &Layout) -> Result<OpenConnections, ConnectError> {
        let client = self.client(self.login().await?).map_err(|error| unusable(&error))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.timeout))
            .set_pipeline_buffer_size(QUEUE);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut patient = connection.clone();
        patient.set_response_timeout(self.patience);
        let info: String = cmd("INFO").query_async(&mut patient).await?;
        let run = usable(&info)?;
        // A write test: a server that cannot save its data refuses writes.
        cmd("DEL").arg(layout.probe()).query_async::<()>(&mut patient).await?;

        let events = tokio::time::timeout(self.patience, async {
            let mut events = client.get_async_pubsub().await?;
            events.subscribe(layout.channel()).await?;
            Ok::<_, redis::RedisError>(events.into_on_message())
        });
        Ok(OpenConnections {
            connection,
            run,
            events: events.await.map_err(|_| ConnectError::Slow)??,
        })
    }

    /// Reads the password file for each connection, because it may have changed.
    async fn login(&self) -> Result<ConnectionInfo, ConnectError> {
        let info = self.info.clone();
        let Some(file) = &self.password_file else {
            return Ok(info);
        };
        let password = tokio::fs::read_to_string(file).await.map_err(ConnectError::Password)?;
        let login = info.redis_settings().clone().set_password(password.trim_end());
        Ok(info.set_redis_settings(login))
    }
}

/// Cannot fail, because the client was built before with the same settings except the password.
fn unusable(error: &RedisError) -> ConnectError {
    ConnectError::Password(std::io::Error::other(error.to_string()))
}

/// The server's `run_id`.
///
/// # Errors
/// If the server cannot be used.
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
