//! Reads what the other shards count, over a connection of its own, and whatever changes of it.
//!
//! While the database is away, what was read last holds. So does what a shard counted that has ended: another one may take its
//! place. Only what no program keeps up to date is unknown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};
use tracing::{info, warn};

use super::blobs;
use super::connection::Connector;
use super::counts;
use super::error::{explained, too_slow};
use super::schema::{Since, encoding, shard_columns};
use crate::oci::{Digest, Registry};
use crate::store::counts::NOTHING;
use crate::store::error::StoreError;
use crate::tag::{BlobName, CountedLayer, CountsElsewhere, GoneBy, RegistryCounts, ShardCounts};
use crate::target::Shard;

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time after a failure until the next look, doubled at each further one.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// The time for one look, which may read all of several shards.
const LOOK_MAX: Duration = Duration::from_mins(5);

/// The holders of all shards of this total. A shard that has not been seen for a minute while exporters of another total were
/// seen later is of a fleet that is gone: it counted long ago.
const STATES: &str = "SELECT held.shard, held.counts, held.counts_since, held.is_settled, \
                      held.counts_epoch = held.epoch AS is_valid, \
                      held.reclaimable_epoch = held.epoch AS says_what_goes, \
                      held.seen_at > now() - interval '1 minute' OR NOT EXISTS ( \
                          SELECT 1 FROM image_size_exporter.holders AS other WHERE other.encoding = held.encoding \
                          AND other.shards <> held.shards AND other.seen_at > held.seen_at) AS is_of_now \
                      FROM image_size_exporter.holders AS held WHERE held.shards = $1 AND held.encoding = $2";

/// Reads what others count until nobody takes it.
pub(super) struct Watch {
    connector: Arc<Connector>,
    shard: Shard,
    news: mpsc::Sender<CountsElsewhere>,
    /// By shard, what was read.
    read: BTreeMap<u32, Read>,
    is_told: bool,
}

/// What was read of a shard.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Read {
    /// The last change.
    counts: i64,
    /// Whether its program says what goes by policies. One that does not leaves what another one said.
    says_what_goes: bool,
}

/// What the database says of a shard.
#[derive(Clone, Copy)]
struct State {
    read: Read,
    counts_since: i64,
    is_settled: bool,
    is_valid: bool,
    is_of_now: bool,
}

impl Watch {
    pub(super) fn new(connector: Arc<Connector>, shard: Shard, news: mpsc::Sender<CountsElsewhere>) -> Self {
        Self { connector, shard, news, read: BTreeMap::new(), is_told: false }
    }

    pub(super) async fn run(mut self) {
        let mut last_error = None;
        let mut pause = PAUSE;
        let mut connection: Option<Client> = None;
        while !self.news.is_closed() {
            let look = async {
                let mut client = match connection.take().filter(|client| !client.is_closed()) {
                    Some(client) => client,
                    None => self.connect().await?,
                };
                let looked = self.look(&mut client).await;
                looked.map_err(|error| explained(&self.connector.shown(), &error))?;
                Ok(client)
            };
            let looked = tokio::time::timeout(LOOK_MAX, look).await;
            match looked.unwrap_or_else(|_| Err(too_slow(&self.connector.shown()))) {
                Ok(client) => {
                    connection = Some(client);
                    if last_error.take().is_some() {
                        info!(database = self.connector.shown(), "what other shards count can be read again");
                    }
                    pause = PAUSE;
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => {
                    let error = error.to_string();
                    if last_error.as_ref() != Some(&error) {
                        warn!(error, "cannot read what other shards count: going on with what they counted last");
                    }
                    last_error = Some(error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        let client = self.connector.connect().await?;
        // The whole look has a deadline.
        let patient = client.batch_execute("SET statement_timeout = 0").await;
        patient.map_err(|error| explained(&self.connector.shown(), &error))?;
        Ok(client)
    }

    /// Reads what changed and tells it.
    async fn look(&mut self, client: &mut Client) -> Result<(), tokio_postgres::Error> {
        let states = self.states(client).await?;
        let is_news = |number: u32| match self.usable(&states, number) {
            Some(state) => self.read.get(&number) != Some(&state.read),
            None => self.read.contains_key(&number),
        };
        if self.is_told && !self.others().any(is_news) {
            return Ok(());
        }
        // All of one moment.
        let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = transaction.start().await?;
        let states = self.states(transaction.client()).await?;
        let mut news = CountsElsewhere::new();
        let mut read = BTreeMap::new();
        for number in self.others() {
            let before = self.read.get(&number).copied();
            let Some(state) = self.usable(&states, number) else {
                news.extend(before.map(|_| (number, None)));
                continue;
            };
            if before != Some(state.read) {
                news.push((number, Some(self.counts(&transaction, number, state).await?)));
            }
            read.insert(number, state.read);
        }
        transaction.commit().await?;
        // Who takes it may be busy, and may have ended.
        if self.news.send(news).await.is_ok() {
            (self.read, self.is_told) = (read, true);
        }
        Ok(())
    }

    /// The numbers of the other shards.
    fn others(&self) -> impl Iterator<Item = u32> + use<> {
        let own = self.shard;
        (0..own.total()).filter(move |&number| number != own.number())
    }

    /// What the database says of a shard, if that can be counted on. What was once of now stays so.
    fn usable(&self, states: &HashMap<u32, State>, number: u32) -> Option<State> {
        let state = states.get(&number).copied().filter(|state| state.is_valid)?;
        (state.is_of_now || self.read.contains_key(&number)).then_some(state)
    }

    async fn states(&self, client: &Client) -> Result<HashMap<u32, State>, tokio_postgres::Error> {
        let [shards, _] = shard_columns(self.shard);
        let rows = client.query(STATES, &[&shards, &encoding()]).await?;
        let state = |row: &Row| {
            let state = State {
                read: Read { counts: row.get("counts"), says_what_goes: row.get("says_what_goes") },
                counts_since: row.get("counts_since"),
                is_settled: row.get("is_settled"),
                is_valid: row.get("is_valid"),
                is_of_now: row.get("is_of_now"),
            };
            Some((u32::try_from(row.get::<_, i32>("shard")).ok()?, state))
        };
        Ok(rows.iter().filter_map(state).collect())
    }

    /// What a shard counts: what changed of it, or all of it where changes were missed.
    async fn counts(
        &self,
        transaction: &Transaction<'_>,
        number: u32,
        state: State,
    ) -> Result<ShardCounts, tokio_postgres::Error> {
        let Ok(shard) = Shard::new(number, self.shard.total()) else { return Ok(ShardCounts::default()) };
        let before = self.read.get(&number).map(|read| read.counts);
        let before = before.filter(|&before| state.counts_since <= before && before <= state.read.counts);
        let since = Since { shard, change: before.unwrap_or(0), with_unlisted: before.is_some() };
        let mut layers: HashMap<Registry, Vec<(Digest, CountedLayer)>> = HashMap::new();
        let take = |registry, digest, count| layers.entry(registry).or_default().push((digest, count));
        counts::layers(transaction.client(), since, take).await?;
        let mut blobs: HashMap<Registry, Vec<(BlobName, Option<GoneBy>)>> = HashMap::new();
        let take = |registry, name, gone| blobs.entry(registry).or_default().push((name, gone));
        blobs::read(transaction.client(), since, take).await?;
        let is_all = before.is_none();
        let registries =
            counts::registries(transaction.client(), shard).await?.into_iter().map(|(registry, mut summary)| {
                if !state.read.says_what_goes {
                    summary.reclaimable = None;
                }
                let layers = layers.remove(&registry).unwrap_or_default();
                let blobs = blobs.remove(&registry).unwrap_or_default();
                let summary = Some(summary).filter(|summary| *summary != NOTHING);
                let counts = RegistryCounts { summary, is_all, layers, are_all_blobs: is_all, blobs };
                (registry, counts)
            });
        Ok(ShardCounts { is_all, is_settled: state.is_settled, registries: registries.collect() })
    }
}
