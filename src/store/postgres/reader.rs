//! Loads facts by digest, over a connection of its own, so that no load waits for a write.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use tracing::{info, warn};

use super::connection::{Connector, random};
use super::error::{explained, too_slow};
use super::facts::{self, Kind};
use super::schema::encoding;
use crate::oci::Digest;
use crate::store::batch::{Batch, ClaimKey};
use crate::store::encoding::digest_key;
use crate::store::error::StoreError;

/// The time for one answer. After it the registry is asked.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// After a failure nothing is asked for this long, doubled at each further one up to a minute.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// The most digests of one query. The listings of layers are big.
const DIGESTS_MAX: usize = 2_000;
const LISTED_DIGESTS_MAX: usize = 100;

pub(super) fn digests_max(kinds: &[Kind]) -> usize {
    if kinds.contains(&Kind::Listing) { LISTED_DIGESTS_MAX } else { DIGESTS_MAX }
}

pub(super) const SELECT_FACTS: &str = "SELECT digest, kind, value FROM image_size_exporter.facts \
                                       WHERE encoding = $1 AND digest = ANY ($2) AND kind = ANY ($3)";

/// The time until a claim ends that nobody renews.
const CLAIM_SECONDS: f64 = 10.0;

const CLAIM: &str = "INSERT INTO image_size_exporter.claims AS held (registry, digest, facts, claimant, ends_at) \
                     VALUES ($1, $2, $3, $4, now() + $5::double precision * interval '1 second') \
                     ON CONFLICT (registry, digest, facts) \
                     DO UPDATE SET claimant = excluded.claimant, ends_at = excluded.ends_at \
                     WHERE held.ends_at < now() OR held.claimant = excluded.claimant";

/// The connection that facts are loaded over.
pub(super) struct Reader {
    connector: Arc<Connector>,
    /// Random, so that no other process has it.
    claimant: i64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// Not before this time.
    retry_at: Option<Instant>,
    pause: Duration,
}

struct Connection {
    client: Client,
    select: Statement,
    claim: Statement,
}

impl Reader {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        // Without randomness two processes might share claims, and fetch the same twice.
        Self { connector, claimant: random(), state: Mutex::default() }
    }

    pub(super) fn claimant(&self) -> i64 {
        self.claimant
    }

    /// What the database has of these digests; nothing while it is away.
    pub(super) async fn load(&self, digests: &[Digest], kinds: &[Kind]) -> Batch {
        let mut loaded = Batch::default();
        for digests in digests.chunks(digests_max(kinds)) {
            let Some(connection) = self.connection().await else { break };
            let query = select(&connection.client, &connection.select, digests, kinds, &mut loaded);
            if self.answer(&connection, query).await.is_none() {
                break;
            }
        }
        loaded
    }

    /// Takes or renews a claim; false while another exporter has it, none while the database is away.
    pub(super) async fn claim(&self, (registry, digest, facts): &ClaimKey) -> Option<bool> {
        let connection = self.connection().await?;
        let (registry, digest) = (&**registry, digest_key(digest));
        let parameters: [&(dyn ToSql + Sync); 5] = [&registry, &digest, facts, &self.claimant, &CLAIM_SECONDS];
        let claimed = self.answer(&connection, connection.client.execute(&connection.claim, &parameters)).await?;
        Some(claimed > 0)
    }

    /// Waits for an answer; none after a failure, with which the connection ends.
    async fn answer<T>(
        &self,
        connection: &Arc<Connection>,
        query: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Option<T> {
        let error = match tokio::time::timeout(ANSWER_MAX, query).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => explained(&self.connector.shown(), &error),
            Err(_) => too_slow(&self.connector.shown()),
        };
        let mut state = self.state.lock().await;
        // Another query may have connected anew meanwhile.
        if state.connection.as_ref().is_some_and(|now| Arc::ptr_eq(now, connection)) {
            state.failed(&error);
        }
        None
    }

    async fn connection(&self) -> Option<Arc<Connection>> {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|connection| !connection.client.is_closed()) {
            return Some(Arc::clone(connection));
        }
        state.connection = None;
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        match self.connect().await {
            Ok(connection) => {
                if state.pause > Duration::ZERO {
                    info!(database = self.connector.shown(), "the database can be read again");
                }
                let connection = Arc::new(connection);
                *state = State { connection: Some(Arc::clone(&connection)), ..State::default() };
                Some(connection)
            }
            Err(error) => {
                state.failed(&error);
                None
            }
        }
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let client = self.connector.connect().await?;
        let prepared = async { Ok((client.prepare(SELECT_FACTS).await?, client.prepare(CLAIM).await?)) };
        match tokio::time::timeout(ANSWER_MAX, prepared).await {
            Ok(Ok((select, claim))) => Ok(Connection { client, select, claim }),
            Ok(Err(error)) => Err(explained(&self.connector.shown(), &error)),
            Err(_) => Err(too_slow(&self.connector.shown())),
        }
    }
}

impl State {
    fn failed(&mut self, error: &StoreError) {
        if self.pause.is_zero() {
            warn!(%error, "cannot read the database: asking registries for what is missing");
        }
        self.connection = None;
        self.pause = (self.pause * 2).clamp(PAUSE, PAUSE_MAX);
        self.retry_at = Some(Instant::now() + self.pause);
    }
}

/// Adds to `loaded` what the database has of at most [`digests_max`] digests.
pub(super) async fn select(
    client: &Client,
    statement: &Statement,
    digests: &[Digest],
    kinds: &[Kind],
    loaded: &mut Batch,
) -> Result<(), tokio_postgres::Error> {
    let digests: Vec<Vec<u8>> = digests.iter().map(digest_key).collect();
    let kinds: Vec<i16> = kinds.iter().map(|kind| kind.number()).collect();
    for row in client.query(statement, &[&encoding(), &digests, &kinds]).await? {
        facts::insert(loaded, row.get(0), row.get(1), row.get(2));
    }
    Ok(())
}
