//! Connections to the database. The URL is read again for each one, so that a password may change while the program runs.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_postgres::Client;

use super::address::Address;
use super::error::{explained, failed, too_slow};
use super::tls::Tls;
use crate::store::error::StoreError;

/// The time for a connection to be ready for queries.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What the server itself ends, so that nothing of a program that hangs or is cut off holds a lock.
const SESSION: &str = "SET statement_timeout = '60s'; SET lock_timeout = '20s'; \
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
        match tokio::time::timeout(CONNECT_MAX, self.connect_at_last()).await {
            Ok(connected) => connected,
            Err(_) => Err(too_slow(&self.shown())),
        }
    }

    async fn connect_at_last(&self) -> Result<Client, StoreError> {
        const REMEDY: &str = "the file that `url_file` names is read again at each try";
        let address = Address::read(&self.url_file).map_err(|why| failed(&self.shown(), why, REMEDY))?;
        let shown = address.shown();
        self.shown.lock().clone_from(&shown);
        let tls = Tls::new(&address).map_err(|why| failed(&shown, why, REMEDY))?;
        let (client, connection) = address.config.connect(tls).await.map_err(|error| explained(&shown, &error))?;
        // It ends with the client, or with an error that each query returns as well.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(SESSION).await.map_err(|error| explained(&shown, &error))?;
        Ok(client)
    }
}
