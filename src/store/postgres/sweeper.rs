//! When the database is swept: beside the writes, over a connection of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tracing::warn;

use super::counts;
use super::database::Database;
use super::error::{explained, too_slow};
use super::sweep::sweep;
use crate::oci::Digest;

/// The time between two sweeps of the database: marks are days.
const INTERVAL: Duration = Duration::from_hours(6);

/// The first sweep is not among the work of a start, and removes nothing: after a pause of weeks the other shards have yet to
/// start, and to mark what they use.
const FIRST: Duration = Duration::from_mins(5);
const REMOVE_FIRST: Duration = Duration::from_hours(1);

/// The time for a sweep. Each of its statements has the server's.
const SWEEP_MAX: Duration = Duration::from_hours(1);

/// Sweeps now and then, one sweep at a time.
pub(super) struct Sweeper {
    started_at: Instant,
    swept_at: Option<Instant>,
    is_sweeping: Arc<AtomicBool>,
    /// Why the last sweep failed.
    last_error: Arc<Mutex<Option<String>>>,
}

impl Sweeper {
    pub(super) fn new() -> Self {
        Self { started_at: Instant::now(), swept_at: None, is_sweeping: Arc::default(), last_error: Arc::default() }
    }

    /// Sweeps if that is due. `in_use` are the digests that this exporter uses.
    pub(super) fn sweep(&mut self, runtime: &Runtime, database: &Database, in_use: HashSet<Digest>) {
        let age = self.started_at.elapsed();
        let is_due = self.swept_at.map_or(age >= FIRST, |at| at.elapsed() >= INTERVAL);
        if !is_due || self.is_sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        self.swept_at = Some(Instant::now());
        let (connector, documents) = (Arc::clone(&database.connector), Arc::clone(&database.documents));
        let (is_sweeping, last_error) = (Arc::clone(&self.is_sweeping), Arc::clone(&self.last_error));
        let shard = database.shard;
        runtime.spawn(async move {
            let all = async {
                let client = connector.connect().await?;
                let swept = async {
                    let removed = counts::remove_unlisted(&client, shard).await;
                    let documents = sweep(&client, &in_use, age >= REMOVE_FIRST).await?;
                    removed.map(|()| documents)
                };
                swept.await.map_err(|error| explained(&connector.shown(), &error))
            };
            let swept = tokio::time::timeout(SWEEP_MAX, all).await;
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
