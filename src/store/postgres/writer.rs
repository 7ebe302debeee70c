//! The only writer of a shard: a thread, as for the state file. It connects, holds the shard, and writes batches.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tracing::{debug, info, warn};

use super::connection::Connector;
use super::counts;
use super::database::Database;
use super::error::{explained, failed, is_conflict, too_slow};
use super::holders::{hold, hold_again, hold_at_start, last_held};
use super::restore;
use super::schema::{SchemaError, migrate};
use super::sweep;
use super::sweeper::Sweeper;
use super::write::{NotWritten, Replaces, Statements, Written, write};
use crate::store::batch::Batch;
use crate::store::counts::CountRows;
use crate::store::error::StoreError;
use crate::store::queue::{PAUSE, PAUSE_MAX, Queue, Turn};
use crate::target::Shard;

/// While nothing changes, the holder of a shard shows as often that it lives, and notices that the database is away.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The time for one statement of a write, and for showing that this exporter lives.
const WRITE_MAX: Duration = Duration::from_secs(30);
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);

/// The time for a write that somebody waits for, and for one that is under way when somebody begins to wait. Both, and the
/// last write after them, are within the time of a shutdown.
const WAITED_FOR_MAX: Duration = Duration::from_secs(8);
const UNDER_WAY_MAX: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a start waits for a database that cannot be used yet.
const START_MAX: Duration = Duration::from_secs(10);

/// The time for taking the shard and reading everything at a start.
const RESTORE_MAX: Duration = Duration::from_mins(5);

/// How often a batch is written again at once after a conflict with another exporter's.
const CONFLICTS_MAX: u32 = 3;

/// The writer's connection, and what it holds.
pub(in crate::store) struct Writer {
    database: Arc<Database>,
    connection: Option<(Client, Statements)>,
    holding: Holding,
    there: There,
    sweeper: Sweeper,
    /// Whether the rows of what the shard counts may be others than memory has: whether a write was made is not known of one
    /// whose answer was lost, and one may have been made in part.
    are_counts_doubtful: bool,
    /// The number of their last change, if that is known.
    change: Option<i64>,
    /// The greatest number of a change that was seen.
    seen: i64,
}

/// How the shard's tags and scans in the database relate to those in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    /// They are the same, but for what waits.
    Same,
    /// Another exporter may have written some, or they were lost: the next write replaces them.
    Differ,
    /// They were not restored, so memory lacks some. They stay until a scan has read some, and count as a part until then.
    Unread,
}

/// Whether this exporter has its shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// Not yet. `seen` is the holding at the time of the restored values.
    Never { seen: Option<i64> },
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
            holding: Holding::Never { seen: None },
            there: There::Unread,
            sweeper: Sweeper::new(),
            are_counts_doubtful: false,
            change: None,
            seen: 0,
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
                Err(error) if self.there == There::Unread && started.elapsed() < START_MAX => {
                    debug!(%error, "cannot use the database yet");
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn restore(&mut self) -> Result<(), StoreError> {
        let client = self.connect().await?;
        let restored = tokio::time::timeout(RESTORE_MAX, self.restore_from(client)).await;
        restored.unwrap_or_else(|_| Err(too_slow(&self.database.connector.shown())))
    }

    async fn restore_from(&mut self, mut client: Client) -> Result<(), StoreError> {
        let (shown, shard) = (self.database.connector.shown(), self.database.shard);
        let explain = |error: tokio_postgres::Error| explained(&shown, &error);
        // Where the shard cannot be taken now, because nothing can be written or somebody has locked it, it can be read.
        let held = hold_at_start(&mut client, shard).await;
        match held {
            Ok(epoch) => self.holding = Holding::Epoch(epoch),
            Err(_) => self.holding = Holding::Never { seen: last_held(&client, shard).await.map_err(explain)? },
        }
        let restored = restore::restore(&mut client, shard).await.map_err(explain)?;
        self.database.set_restored(restored);
        // Without the shard, another one may write after this.
        self.there = if held.is_ok() { There::Same } else { There::Differ };
        if let Some(documents) = sweep::documents_soon(&client).await {
            self.database.documents.store(documents, Ordering::Relaxed);
        }
        held.map_err(explain)?;
        self.connection = Some(self.prepare(client).await?);
        Ok(())
    }

    /// A connection to a database with the schema of this version.
    async fn connect(&self) -> Result<Client, StoreError> {
        let connector: &Connector = &self.database.connector;
        let mut client = connector.connect_to_write().await?;
        let shown = connector.shown();
        let migrated = tokio::time::timeout(WRITE_MAX, migrate(&mut client)).await;
        match migrated.map_err(|_| too_slow(&shown))? {
            Ok(()) => Ok(client),
            Err(SchemaError::Query(error)) => Err(explained(&shown, &error)),
            Err(SchemaError::TooNew(why)) => Err(failed(&shown, why, "upgrade it, or give it another database")),
        }
    }

    async fn prepare(&self, client: Client) -> Result<(Client, Statements), StoreError> {
        let statements = self.answer(WRITE_MAX, Statements::prepare(&client)).await?;
        Ok((client, statements))
    }

    async fn answer<T>(
        &self,
        max: Duration,
        query: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let shown = self.database.connector.shown();
        let answer = tokio::time::timeout(max, query).await.map_err(|_| too_slow(&shown))?;
        answer.map_err(|error| explained(&shown, &error))
    }

    /// Writes a batch; an empty one shows that this exporter lives.
    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (database, shard) = (Arc::clone(&self.database), self.database.shard);
        // What ends this early ends the connection, and with it what is left of a transaction.
        let (mut client, statements) = match self.connection.take().filter(|(client, _)| !client.is_closed()) {
            Some(connection) => connection,
            None => self.prepare(self.connect().await?).await?,
        };
        let shown = database.connector.shown();
        let each_max = if batch.is_empty() { HEARTBEAT_MAX } else { WRITE_MAX };
        let before = self.holding;
        let held = match before {
            Holding::Epoch(epoch) => Some(epoch),
            Holding::Never { seen: None } => Some(self.answer(each_max, hold(&client, shard)).await?),
            Holding::Never { seen } => self.answer(each_max, hold_again(&client, shard, seen)).await?,
            Holding::Lost => self.answer(each_max, hold_again(&client, shard, None)).await?,
        };
        let Some(epoch) = held else {
            self.connection = Some((client, statements));
            return Err(self.lost());
        };
        self.holding = Holding::Epoch(epoch);
        let mut whole = None;
        let replaces = match self.there {
            There::Same => Replaces::Nothing,
            There::Unread if !self.has_read(batch) => Replaces::Scans,
            There::Unread | There::Differ => {
                // The first holding of all: the schema was lost, and the facts with it.
                let all = database.known.lock().all(epoch == 1);
                whole.insert(batch.clone()).put_back(all);
                Replaces::All
            }
        };
        let batch = whole.as_ref().unwrap_or(batch);
        let counts = self.count_rows(&client, batch, replaces).await?;
        let counts = counts.as_ref();
        // Until it is known what became of this write.
        self.are_counts_doubtful |= counts.is_some();
        let last = self.change.take().filter(|_| self.holding == before);
        let change = Cell::new(last);
        // What becomes of it if this write fails.
        let last = last.filter(|_| counts.is_none());
        self.change = last;
        let mut conflicts = 0;
        loop {
            let (claimant, seen) = (database.claimant(), self.seen);
            let written = Written { shard, epoch, claimant, batch, counts, change: &change, seen, replaces, each_max };
            match write(&mut client, &statements, &written).await {
                Ok(()) => break,
                Err(NotWritten::Failed(error)) if is_conflict(&error) && conflicts < CONFLICTS_MAX => {
                    conflicts += 1;
                    change.set(last);
                }
                Err(NotWritten::Failed(error)) => return Err(explained(&shown, &error)),
                Err(NotWritten::Slow) => return Err(too_slow(&shown)),
                Err(NotWritten::PutBack) => {
                    if self.there == There::Same {
                        self.there = There::Differ;
                    }
                    (self.change, self.seen) = (None, 0);
                    return Err(failed(
                        &shown,
                        "it was put back to an earlier state".to_owned(),
                        "all of this shard is written again",
                    ));
                }
                Err(NotWritten::Lost) => {
                    self.connection = Some((client, statements));
                    return Err(self.lost());
                }
            }
        }
        if replaces == Replaces::All {
            self.there = There::Same;
        }
        self.are_counts_doubtful &= counts.is_none();
        self.change = change.get();
        self.seen = self.change.map_or(self.seen, |change| change.max(self.seen));
        self.connection = Some((client, statements));
        Ok(())
    }

    /// What a batch changes in the rows of what the shard counts.
    async fn count_rows(
        &self,
        client: &Client,
        batch: &Batch,
        replaces: Replaces,
    ) -> Result<Option<CountRows>, StoreError> {
        let (known, shard) = (&self.database.known, self.database.shard);
        match replaces {
            Replaces::Nothing if batch.counts.is_empty() => Ok(None),
            Replaces::Nothing if !self.are_counts_doubtful => Ok(Some(batch.counts.rows(known.lock().counts()))),
            Replaces::Nothing | Replaces::All if !shard.is_only() => {
                let there = self.answer(RESTORE_MAX, counts::read(client, shard)).await?;
                let mut all = known.lock().counts().clone();
                all.apply(batch.counts.clone());
                Ok(Some(all.as_all().rows(&there)))
            }
            // What is there counts until something was read.
            _ => Ok(None),
        }
    }

    /// Whether a scan has ended that read something, or shows that there is nothing to be read. One that the registry did not
    /// answer ends as well.
    fn has_read(&self, batch: &Batch) -> bool {
        let known = self.database.known.lock();
        let has_tags = batch.tags.values().any(Option::is_some) || known.has_tags();
        if has_tags && !batch.scans.is_empty() {
            return true;
        }
        let mut counts = known.counts().clone();
        counts.apply(batch.counts.clone());
        counts.has_nothing()
    }

    /// Notes that another exporter has the shard, and writes to it.
    fn lost(&mut self) -> StoreError {
        self.holding = Holding::Lost;
        if self.there == There::Same {
            self.there = There::Differ;
        }
        taken(&self.database.connector.shown(), self.database.shard)
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
        let is_waited_for = stop || !flushes.is_empty();
        let written = runtime.block_on(async {
            tokio::select! {
                written = writer.write(&batch) => written,
                () = waited_for(queue, is_waited_for) => Err(too_slow(&database.connector.shown())),
            }
        });
        match written {
            Ok(()) => {
                if let Some(sweep) = &batch.sweep {
                    writer.sweeper.sweep(&runtime, &database, sweep.in_use.clone());
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

/// Ends when somebody has waited for a write for long enough.
async fn waited_for(queue: &Queue, from_its_begin: bool) {
    if from_its_begin {
        return tokio::time::sleep(WAITED_FOR_MAX).await;
    }
    while !queue.is_urgent() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(UNDER_WAY_MAX).await;
}
