//! Connections to the database. The URL is read again for each one, so that a password may change while the program runs.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_postgres::{Client, Config};

use super::address::Address;
use super::error::{explained, failed, too_slow};
use super::tls::Tls;
use crate::store::error::StoreError;

/// The time for each host of the URL to be connected with, where the URL has none of its own, and for the rest: names,
/// TLS and the session's settings.
const HOST_MAX: Duration = Duration::from_secs(5);

/// What the server itself ends, so that nothing of a program that hangs or is cut off holds a lock.
pub(super) const SESSION: &str = "SET statement_timeout = '60s'; SET lock_timeout = '20s'; \
                       SET idle_in_transaction_session_timeout = '60s'";

/// Connects to the database.
pub(super) struct Connector {
    url_file: PathBuf,
    /// Where the database is, of the last URL that was read.
    shown: Mutex<String>,
}

impl Connector {
    pub(super) fn new(url_file: PathBuf) -> Self {
        let shown = format!("of `{}`", url_file.display());
        Self { url_file, shown: Mutex::new(shown) }
    }

    /// Where the database is, for messages.
    pub(super) fn shown(&self) -> String {
        self.shown.lock().clone()
    }

    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        const REMEDY: &str = "the file that `url_file` names is read again at each try";
        let address = Address::read(&self.url_file).map_err(|why| failed(&self.shown(), why, REMEDY))?;
        let shown = address.shown();
        self.shown.lock().clone_from(&shown);
        let tls = Tls::new(&address).map_err(|why| failed(&shown, why, REMEDY))?;
        let connected = async {
            let (client, connection) = address.config.connect(tls).await?;
            // It ends with the client, or with an error that each query returns as well.
            tokio::spawn(async move { drop(connection.await) });
            client.batch_execute(SESSION).await?;
            Ok(client)
        };
        match tokio::time::timeout(connect_max(&address.config), connected).await {
            Ok(connected) => connected.map_err(|error| explained(&shown, &error)),
            Err(_) => Err(too_slow(&shown)),
        }
    }

    /// A connection that has a session for itself. A pooler that gives sessions to other clients between transactions takes the
    /// prepared statement of one client for that of another, which would write what nobody meant: then this is an error.
    pub(super) async fn connect_with_session(&self) -> Result<Client, StoreError> {
        let client = self.connect().await?;
        let mut other = self.connect().await?;
        let is_prepared_still = async {
            let statement = client.prepare("SELECT 1").await?;
            // As a rule a pooler gives it the session that was used last.
            let _transaction = other.transaction().await?;
            client.query_one(&statement, &[]).await
        };
        match tokio::time::timeout(HOST_MAX, is_prepared_still).await {
            Ok(Err(error)) => Err(explained(&self.shown(), &error)),
            // A pooler without another session may let it wait.
            Ok(Ok(_)) | Err(_) => Ok(client),
        }
    }
}

/// The time for a connection to be ready for queries. The last of several hosts has its turn even if none before it answers.
fn connect_max(config: &Config) -> Duration {
    let each = config.get_connect_timeout().copied().unwrap_or(HOST_MAX);
    let hosts = u32::try_from(config.get_hosts().len().max(config.get_hostaddrs().len())).unwrap_or(u32::MAX);
    each.saturating_mul(hosts).saturating_add(HOST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_time() {
        for (url, seconds) in
            [("postgres://a/sizes", 10), ("postgres://a,b,c/sizes", 20), ("postgres://a,b/sizes?connect_timeout=2", 9)]
        {
            let config: Config = url.parse().unwrap();
            assert_eq!(connect_max(&config), Duration::from_secs(seconds), "{url}");
        }
    }
}
