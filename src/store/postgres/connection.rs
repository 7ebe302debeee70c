//! Connections to the database. The URL is read again for each one, so that a password may change while the program runs.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_postgres::{Client, Config};

use super::address::Address;
use super::error::{explained, failed, shared_session, too_slow};
use super::tls::Tls;
use crate::store::error::StoreError;

/// The time for each host of the URL to be connected with, where the URL has none of its own, and for the rest: names,
/// TLS and the session's settings.
const HOST_MAX: Duration = Duration::from_secs(5);

/// How often it is tried whether a connection has a session for itself.
const PROBES: u32 = 5;

/// What the server itself ends, so that nothing of a program that hangs or is cut off holds a lock.
pub(super) const SESSION: &str = "SET statement_timeout = '60s'; SET lock_timeout = '20s'; \
                       SET idle_in_transaction_session_timeout = '60s'";

/// Connects to the database.
pub(super) struct Connector {
    url_file: PathBuf,
    /// Where the database is, of the last URL that was read.
    shown: Mutex<String>,
    /// What was connected with and gave each client a session for itself.
    checked: Mutex<Option<Config>>,
}

impl Connector {
    pub(super) fn new(url_file: PathBuf) -> Self {
        let shown = format!("of `{}`", url_file.display());
        Self { url_file, shown: Mutex::new(shown), checked: Mutex::default() }
    }

    /// Where the database is, for messages.
    pub(super) fn shown(&self) -> String {
        self.shown.lock().clone()
    }

    /// A connection by a URL of which it was seen that clients have sessions for themselves.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let (config, client) = self.connect_any().await?;
        if self.checked.lock().as_ref() == Some(&config) { Ok(client) } else { self.check(config, client).await }
    }

    /// The same, and looks again: for the connection that writes, since a pooler's settings may change.
    pub(super) async fn connect_to_write(&self) -> Result<Client, StoreError> {
        let (config, client) = self.connect_any().await?;
        self.check(config, client).await
    }

    /// A pooler that gives sessions to other clients between transactions takes the prepared statement of one client for that of
    /// another with the same name, which would write what nobody meant: then this is an error.
    async fn check(&self, config: Config, client: Client) -> Result<Client, StoreError> {
        let shown = self.shown();
        *self.checked.lock() = None;
        let (_, mut other) = self.connect_any().await?;
        // Other clients may by chance leave it its own session now and then.
        for _ in 0..PROBES {
            // No other exporter prepares the same, under the same name, at the same time.
            let probe = random();
            let prepared = in_time(&shown, client.prepare(&format!("SELECT '{probe}'::bigint"))).await?;
            // As a rule a pooler gives it the session that was used last.
            let transaction = in_time(&shown, other.transaction()).await?;
            let row = in_time(&shown, client.query_one(&prepared, &[])).await?;
            if row.try_get::<_, i64>(0).ok() != Some(probe) {
                return Err(shared_session(&shown));
            }
            in_time(&shown, transaction.rollback()).await?;
        }
        *self.checked.lock() = Some(config);
        Ok(client)
    }

    async fn connect_any(&self) -> Result<(Config, Client), StoreError> {
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
            Ok(connected) => Ok((address.config, connected.map_err(|error| explained(&shown, &error))?)),
            Err(_) => Err(too_slow(&shown)),
        }
    }
}

/// A number that no other process has.
pub(super) fn random() -> i64 {
    let mut random = [0; 8];
    let _ = SystemRandom::new().fill(&mut random);
    i64::from_le_bytes(random)
}

async fn in_time<T>(
    shown: &str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(HOST_MAX, answer).await.map_err(|_| too_slow(shown))?;
    answer.map_err(|error| explained(shown, &error))
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
