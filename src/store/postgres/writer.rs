//! The only writer of a shard: a thread, as for the state file. It connects, holds the shard, and writes batches.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tracing::{debug, info, warn};

use super::connection::Connector;
use super::database::Database;
use super::error::{explained, failed, is_conflict, is_read_only, too_slow};
use super::restore;
use super::schema::{SchemaError, migrate};
use super::sweep;
use super::write::{NotWritten, Statements, Written, hold, hold_again, hold_at_start, write};
use crate::oci::Digest;
use crate::store::batch::Batch;
use crate::store::error::StoreError;
use crate::store::queue::{PAUSE, PAUSE_MAX, Turn};
use crate::target::Shard;

/// While nothing changes, the holder of a shard shows as often that it lives, and notices that the database is away.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The time for one batch, and for showing that this exporter lives.
const WRITE_MAX: Duration = Duration::from_secs(30);
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);

/// How long a start waits for a database that cannot be used yet.
const START_MAX: Duration = Duration::from_secs(10);

/// The time for reading everything at a start.
const RESTORE_MAX: Duration = Duration::from_mins(5);

/// The time between two sweeps of the database: marks are days.
const SWEEP_INTERVAL: Duration = Duration::from_hours(6);

/// The first sweep is not among the work of a start, and removes nothing: after a pause of weeks the other shards have yet to
/// start, and to mark what they use.
const SWEEP_FIRST: Duration = Duration::from_mins(5);
const REMOVE_FIRST: Duration = Duration::from_hours(1);

/// The time for a sweep. Each of its statements has the server's.
const SWEEP_MAX: Duration = Duration::from_hours(1);

/// How often a batch is written again at once after a conflict with another exporter's.
const CONFLICTS_MAX: u32 = 3;

/// The writer's connection, and what it holds.
pub(in crate::store) struct Writer {
    database: Arc<Database>,
    connection: Option<(Client, Statements)>,
    holding: Holding,
    /// What the shard knew was not restored: the first write replaces all of it, since tags of it may be gone by now.
    begins_anew: bool,
    started_at: Instant,
    swept_at: Option<Instant>,
    is_sweeping: Arc<AtomicBool>,
    /// Why the last sweep failed.
    sweep_error: Arc<Mutex<Option<String>>>,
}

/// Whether this exporter has its shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// Not yet.
    Never,
    /// By the number of its holding.
    Epoch(i64),
    /// Another one took it.
    Lost,
}

impl Writer {
    /// Connects, takes the shard and restores what it knew. An error is why this did not succeed yet: [`run`] tries to
    /// connect again, and what the shard knew is then read from registries.
    pub(in crate::store) fn open(database: Arc<Database>, runtime: &Runtime) -> (Self, Option<StoreError>) {
        let mut writer = Self {
            database,
            connection: None,
            holding: Holding::Never,
            begins_anew: true,
            started_at: Instant::now(),
            swept_at: None,
            is_sweeping: Arc::default(),
            sweep_error: Arc::default(),
        };
        let error = runtime.block_on(writer.restore_patiently()).err();
        writer.database.queue.set_persistent(error.is_none());
        (writer, error)
    }

    /// Waits for a database that starts as well: reading all registries anew instead may cost metered pulls.
    async fn restore_patiently(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        loop {
            match self.restore().await {
                Err(error) if self.begins_anew && started.elapsed() < START_MAX => {
                    debug!(%error, "cannot use the database yet");
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn restore(&mut self) -> Result<(), StoreError> {
        let mut client = self.connect().await?;
        let shown = self.database.connector.shown();
        // A database that takes no writes can be read all the same.
        let held = match hold_at_start(&mut client, self.database.shard).await {
            Ok(epoch) => {
                self.holding = Holding::Epoch(epoch);
                Ok(())
            }
            Err(error) if is_read_only(&error) => Err(explained(&shown, &error)),
            Err(error) => return Err(explained(&shown, &error)),
        };
        let restored = tokio::time::timeout(RESTORE_MAX, restore::restore(&mut client, self.database.shard)).await;
        let restored = restored.map_err(|_| too_slow(&shown))?.map_err(|error| explained(&shown, &error))?;
        self.begins_anew = false;
        self.database.set_restored(restored);
        if let Some(documents) = sweep::documents_soon(&client).await {
            self.database.documents.store(documents, Ordering::Relaxed);
        }
        held?;
        self.prepare(client).await
    }

    /// A connection to a database with the schema of this version.
    async fn connect(&self) -> Result<Client, StoreError> {
        let connector: &Connector = &self.database.connector;
        let mut client = connector.connect().await?;
        let shown = connector.shown();
        let migrated = tokio::time::timeout(WRITE_MAX, migrate(&mut client)).await;
        match migrated.map_err(|_| too_slow(&shown))? {
            Ok(()) => Ok(client),
            Err(SchemaError::Query(error)) => Err(explained(&shown, &error)),
            Err(SchemaError::TooNew(why)) => Err(failed(&shown, why, "upgrade it, or give it another database")),
        }
    }

    async fn prepare(&mut self, client: Client) -> Result<(), StoreError> {
        let statements = Statements::prepare(&client).await;
        let shown = self.database.connector.shown();
        self.connection = Some((client, statements.map_err(|error| explained(&shown, &error))?));
        Ok(())
    }

    /// Writes a batch; an empty one shows that this exporter lives.
    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (database, shard) = (Arc::clone(&self.database), self.database.shard);
        if self.connection.as_ref().is_none_or(|(client, _)| client.is_closed()) {
            let client = self.connect().await?;
            self.prepare(client).await?;
        }
        let Some((client, statements)) = &mut self.connection else { return Ok(()) };
        let shown = database.connector.shown();
        let explain = |error: tokio_postgres::Error| explained(&shown, &error);
        let epoch = match self.holding {
            Holding::Epoch(epoch) => epoch,
            Holding::Never => hold(client, shard).await.map_err(explain)?,
            Holding::Lost => hold_again(client, shard).await.map_err(explain)?.ok_or_else(|| taken(&shown, shard))?,
        };
        self.holding = Holding::Epoch(epoch);
        let mut conflicts = 0;
        loop {
            let written = Written { shard, epoch, claimant: database.claimant(), batch, begins_anew: self.begins_anew };
            match write(client, statements, &written).await {
                Ok(()) => {
                    self.begins_anew = false;
                    return Ok(());
                }
                Err(NotWritten::Failed(error)) if is_conflict(&error) && conflicts < CONFLICTS_MAX => conflicts += 1,
                Err(NotWritten::Failed(error)) => return Err(explain(error)),
                Err(NotWritten::Lost) => {
                    self.holding = Holding::Lost;
                    return Err(taken(&shown, shard));
                }
            }
        }
    }

    /// Sweeps the database beside the writes, over a connection of its own.
    fn sweep(&mut self, runtime: &Runtime, in_use: HashSet<Digest>) {
        let age = self.started_at.elapsed();
        let is_due = self.swept_at.map_or(age >= SWEEP_FIRST, |at| at.elapsed() >= SWEEP_INTERVAL);
        if !is_due || self.is_sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        self.swept_at = Some(Instant::now());
        let (connector, documents) = (Arc::clone(&self.database.connector), Arc::clone(&self.database.documents));
        let (is_sweeping, last_error) = (Arc::clone(&self.is_sweeping), Arc::clone(&self.sweep_error));
        runtime.spawn(async move {
            let sweep = async {
                let client = connector.connect().await?;
                let swept = sweep::sweep(&client, &in_use, age >= REMOVE_FIRST).await;
                swept.map_err(|error| explained(&connector.shown(), &error))
            };
            let swept = tokio::time::timeout(SWEEP_MAX, sweep).await;
            let error = match swept.unwrap_or_else(|_| Err(too_slow(&connector.shown()))) {
                Ok(counted) => {
                    documents.store(counted, Ordering::Relaxed);
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            let mut last_error = last_error.lock();
            if let Some(error) = error.as_ref().filter(|error| last_error.as_ref() != Some(*error)) {
                warn!(error, "cannot sweep the database, which grows: trying again every 6 hours");
            }
            *last_error = error;
            is_sweeping.store(false, Ordering::Relaxed);
        });
    }
}

fn taken(shown: &str, shard: Shard) -> StoreError {
    failed(
        shown,
        format!("another exporter that was started later has shard {shard}"),
        "end one of them, or give this one its own database",
    )
}

/// Writes batches until told to stop, and once more then. `runtime` has the connections, and ends with the writer.
pub(in crate::store) fn run(mut writer: Writer, runtime: Runtime, error: Option<String>) {
    let database = Arc::clone(&writer.database);
    let queue = &database.queue;
    let mut last_error = error;
    let mut pause = if last_error.is_some() { PAUSE * 2 } else { PAUSE };
    let mut not_before = Instant::now();
    let mut last_sweep = None;
    loop {
        // While nothing can be written, the database is tried all the same.
        let idle_until = if last_error.is_some() { not_before } else { Instant::now() + HEARTBEAT };
        let Turn { batch, flushes, stop } = queue.next(not_before, Some(idle_until));
        // Once for each sweep, however often it is put back.
        if let Some(sweep) = batch.sweep.as_ref().filter(|sweep| last_sweep != Some(sweep.now)) {
            last_sweep = Some(sweep.now);
            database.known.lock().sweep(&sweep.in_use);
        }
        let written = runtime.block_on(async {
            let time = if batch.is_empty() { HEARTBEAT_MAX } else { WRITE_MAX };
            let written = tokio::time::timeout(time, writer.write(&batch)).await;
            written.unwrap_or_else(|_| Err(too_slow(&database.connector.shown())))
        });
        match written {
            Ok(()) => {
                if let Some(sweep) = &batch.sweep {
                    writer.sweep(&runtime, sweep.in_use.clone());
                }
                // Before the queue lets go of it, so that readers always find it.
                database.documents.fetch_add(batch.documents.len() as u64, Ordering::Relaxed);
                database.known.lock().take(Batch::clone(&batch));
                queue.set_persistent(true);
                queue.written();
                if last_error.take().is_some() {
                    info!(database = database.connector.shown(), "the database can be written again");
                }
                pause = PAUSE;
            }
            Err(error) => {
                queue.set_persistent(false);
                let error = error.to_string();
                if last_error.as_ref() != Some(&error) {
                    warn!(error, "cannot write the database: continuing in memory, retrying at least every minute");
                }
                last_error = Some(error);
                // What a cut connection or a timeout left of a transaction goes with it.
                if writer.holding != Holding::Lost {
                    writer.connection = None;
                }
                queue.put_back(batch);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        not_before = Instant::now() + pause;
        Turn::end(flushes);
        if stop {
            runtime.shutdown_background();
            return;
        }
    }
}
