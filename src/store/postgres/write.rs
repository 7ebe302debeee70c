//! A batch in one transaction, if this exporter still holds its shard.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Statement, Transaction};

use super::error::is_conflict;
use super::facts::{self, Fact};
use super::schema::shard_columns;
use crate::store::batch::Batch;
use crate::store::encoding::{VERSION, digest_key, seal, tag_key};
use crate::target::Shard;

/// The most rows and bytes of one statement.
const ROWS_MAX: usize = 2_000;
const BYTES_MAX: usize = 4 << 20;

/// How long a shard's holder may be silent before an exporter that lost the shard takes it back, in seconds.
const SILENT_MAX_SECONDS: f64 = 60.0;

/// The version of the encoding, as the columns have it. Programs of two encodings do not read each other's rows.
pub(super) fn encoding() -> i16 {
    i16::try_from(VERSION).unwrap_or(i16::MAX)
}

/// Why a batch was not written.
pub(super) enum NotWritten {
    Failed(tokio_postgres::Error),
    /// A statement was not answered in time.
    Slow,
    /// Another exporter has taken the shard.
    Lost,
}

impl From<tokio_postgres::Error> for NotWritten {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

/// Takes the shard over from its holder: the exporter that started last has it. Returns the number of this holding.
pub(super) async fn hold(client: &Client, shard: Shard) -> Result<i64, tokio_postgres::Error> {
    const HOLD: &str = "INSERT INTO image_size_exporter.holders AS held (shards, shard, encoding, epoch) \
                        VALUES ($1, $2, $3, 1) ON CONFLICT (shards, shard, encoding) \
                        DO UPDATE SET epoch = held.epoch + 1, seen_at = now() RETURNING epoch";
    let [shards, shard] = shard_columns(shard);
    Ok(client.query_one(HOLD, &[&shards, &shard, &encoding()]).await?.get(0))
}

/// As [`hold`], at a start. A shard goes on with what an exporter of its number, or the only one, had, if that was seen later
/// than any exporter of this very shard: as a state file goes on after a change of the total. A fleet that grows loses nothing, and
/// what a shard had weeks ago does not come back. What belongs to other shards is dropped as it is restored.
pub(super) async fn hold_at_start(client: &mut Client, shard: Shard) -> Result<i64, tokio_postgres::Error> {
    let mut conflicts = 0;
    loop {
        match hold_and_inherit(client, shard).await {
            Err(error) if is_conflict(&error) && conflicts < CONFLICTS_MAX => conflicts += 1,
            held => return held,
        }
    }
}

/// How often others' writes may come in between.
const CONFLICTS_MAX: u32 = 5;

async fn hold_and_inherit(client: &mut Client, shard: Shard) -> Result<i64, tokio_postgres::Error> {
    // Tags and scans of one moment: else a scan might be taken for one of all these tags that ended after them.
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
    let before = last_seen(&transaction, shard).await?;
    let epoch = hold(transaction.client(), shard).await?;
    let own = shard_columns(shard);
    if let Some(before) = before.filter(|before| *before != own) {
        inherit(&transaction, own, before).await?;
    }
    transaction.commit().await?;
    Ok(epoch)
}

/// The shard of this number, or the only one, that was seen last; as the columns have it.
async fn last_seen(transaction: &Transaction<'_>, shard: Shard) -> Result<Option<[i32; 2]>, tokio_postgres::Error> {
    const LAST: &str = "SELECT shards, shard FROM image_size_exporter.holders \
                        WHERE encoding = $1 AND (shard = $2 OR shards = 1) ORDER BY seen_at DESC LIMIT 1";
    let [_, number] = shard_columns(shard);
    let row = transaction.query_opt(LAST, &[&encoding(), &number]).await?;
    Ok(row.map(|row| [row.get(0), row.get(1)]))
}

async fn inherit(
    transaction: &Transaction<'_>,
    [shards, shard]: [i32; 2],
    [from_shards, from_shard]: [i32; 2],
) -> Result<(), tokio_postgres::Error> {
    // There may be hundreds of thousands of rows.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    for (table, values) in [("tags", "registry, repository, tag, value"), ("scans", "scan, ended_at")] {
        transaction.execute(&deletion(table), &[&shards, &shard, &encoding()]).await?;
        let copy = format!(
            "INSERT INTO image_size_exporter.{table} (shards, shard, encoding, {values}) \
             SELECT $1, $2, encoding, {values} FROM image_size_exporter.{table} \
             WHERE shards = $3 AND shard = $4 AND encoding = $5"
        );
        transaction.execute(&copy, &[&shards, &shard, &from_shards, &from_shard, &encoding()]).await?;
    }
    Ok(())
}

/// Of all that a shard has in a table.
fn deletion(table: &str) -> String {
    format!("DELETE FROM image_size_exporter.{table} WHERE shards = $1 AND shard = $2 AND encoding = $3")
}

/// The number of the shard's last holding.
pub(super) async fn last_held(client: &Client, shard: Shard) -> Result<Option<i64>, tokio_postgres::Error> {
    const SELECT: &str = "SELECT epoch FROM image_size_exporter.holders \
                          WHERE shards = $1 AND shard = $2 AND encoding = $3";
    let [shards, shard] = shard_columns(shard);
    Ok(client.query_opt(SELECT, &[&shards, &shard, &encoding()]).await?.map(|row| row.get(0)))
}

/// Takes the shard if nobody has it, if the one that has it has been silent for a minute, or if nobody has taken it since
/// the holding `seen`.
pub(super) async fn hold_again(
    client: &Client,
    shard: Shard,
    seen: Option<i64>,
) -> Result<Option<i64>, tokio_postgres::Error> {
    const HOLD: &str = "INSERT INTO image_size_exporter.holders AS held (shards, shard, encoding, epoch) \
                        VALUES ($1, $2, $3, 1) ON CONFLICT (shards, shard, encoding) \
                        DO UPDATE SET epoch = held.epoch + 1, seen_at = now() \
                        WHERE held.seen_at < now() - $4::double precision * interval '1 second' OR held.epoch = $5 \
                        RETURNING epoch";
    let [shards, shard] = shard_columns(shard);
    let row = client.query_opt(HOLD, &[&shards, &shard, &encoding(), &SILENT_MAX_SECONDS, &seen]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The statements of a connection.
pub(super) struct Statements {
    still_holds: Statement,
    put_facts: Statement,
    put_tags: Statement,
    delete_tags: Statement,
    put_scans: Statement,
    retain_scans: Statement,
    end_claims: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            // It locks the row: nobody takes the shard before this transaction ends.
            still_holds: client
                .prepare(
                    "UPDATE image_size_exporter.holders SET seen_at = now() \
                     WHERE shards = $1 AND shard = $2 AND encoding = $3 AND epoch = $4",
                )
                .await?,
            // What is there already is not written again.
            put_facts: client
                .prepare(
                    "INSERT INTO image_size_exporter.facts AS kept (encoding, digest, kind, value) \
                     SELECT $1::smallint, * FROM unnest($2::bytea[], $3::smallint[], $4::bytea[]) \
                     ON CONFLICT (digest, encoding, kind) DO UPDATE \
                     SET value = excluded.value, used_on = CURRENT_DATE WHERE kept.value <> excluded.value",
                )
                .await?,
            put_tags: client
                .prepare(
                    "INSERT INTO image_size_exporter.tags (shards, shard, encoding, registry, repository, tag, value) \
                     SELECT $1::integer, $2::integer, $3::smallint, * FROM unnest($4::text[], $5::text[], $6::text[], $7::bytea[]) \
                     ON CONFLICT (shards, shard, encoding, registry, repository, tag) DO UPDATE SET value = excluded.value",
                )
                .await?,
            delete_tags: client
                .prepare(
                    "DELETE FROM image_size_exporter.tags AS kept \
                     USING unnest($4::text[], $5::text[], $6::text[]) AS gone (registry, repository, tag) \
                     WHERE kept.shards = $1 AND kept.shard = $2 AND kept.encoding = $3 \
                     AND kept.registry = gone.registry AND kept.repository = gone.repository AND kept.tag = gone.tag",
                )
                .await?,
            put_scans: client
                .prepare(
                    "INSERT INTO image_size_exporter.scans (shards, shard, encoding, scan, ended_at) \
                     SELECT $1::integer, $2::integer, $3::smallint, * FROM unnest($4::bytea[], $5::double precision[]) \
                     ON CONFLICT (shards, shard, encoding, scan) DO UPDATE SET ended_at = excluded.ended_at",
                )
                .await?,
            retain_scans: client
                .prepare(
                    "DELETE FROM image_size_exporter.scans \
                     WHERE shards = $1 AND shard = $2 AND encoding = $3 AND scan <> ALL ($4::bytea[])",
                )
                .await?,
            end_claims: client
                .prepare(
                    "DELETE FROM image_size_exporter.claims AS held \
                     USING unnest($2::text[], $3::bytea[], $4::smallint[]) AS done (registry, digest, facts) \
                     WHERE held.claimant = $1 AND held.registry = done.registry AND held.digest = done.digest \
                     AND held.facts = done.facts",
                )
                .await?,
        })
    }
}

/// What is written, and by whom.
pub(super) struct Written<'a> {
    pub(super) shard: Shard,
    /// The number of the holding.
    pub(super) epoch: i64,
    pub(super) claimant: i64,
    pub(super) batch: &'a Batch,
    pub(super) replaces: Replaces,
    /// The time for each statement. All of them may take longer: a backlog is written however slow the database is.
    pub(super) each_max: Duration,
}

/// What a batch takes the place of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaces {
    Nothing,
    /// The scans, and none is written: the tags must not be taken for all of the shard's.
    Scans,
    /// The tags and the scans.
    All,
}

impl Replaces {
    fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::Scans => &["scans"],
            Self::All => &["tags", "scans"],
        }
    }
}

/// Writes a batch, or only notes that this exporter lives if it is empty. Facts are written first and in pieces: they are true
/// no matter which exporter writes them, so that a backlog is written bit by bit. The rest is written as a whole or not at all.
pub(super) async fn write(
    client: &mut Client,
    statements: &Statements,
    written: &Written<'_>,
) -> Result<(), NotWritten> {
    let Written { shard, epoch, claimant, batch, replaces, each_max } = written;
    let [shards, shard] = shard_columns(*shard);
    let encoding = encoding();
    let holder: [&(dyn ToSql + Sync); 4] = [&shards, &shard, &encoding, epoch];
    let facts = facts::rows(batch);
    for (number, rows) in chunks(&facts, |fact| fact.value.len()).into_iter().enumerate() {
        // Many take long: nobody takes the shard meanwhile because its holder seems to be silent.
        if number > 0 && in_time(*each_max, client.execute(&statements.still_holds, &holder)).await? == 0 {
            return Err(NotWritten::Lost);
        }
        in_time(*each_max, put_facts(client, &statements.put_facts, rows)).await?;
    }
    let transaction = in_time(*each_max, client.transaction()).await?;
    let execute = async |statement: &Statement, parameters: &[&(dyn ToSql + Sync)]| {
        in_time(*each_max, transaction.execute(statement, parameters)).await
    };
    if execute(&statements.still_holds, &holder).await? == 0 {
        return Err(NotWritten::Lost);
    }
    for table in replaces.tables() {
        in_time(*each_max, transaction.execute(&deletion(table), &[&shards, &shard, &encoding])).await?;
    }
    let mut kept = Vec::new();
    let mut gone = Vec::new();
    for ((repository, tag), record) in &batch.tags {
        let names = [repository.registry().as_str(), repository.name(), tag.as_str()];
        match record {
            Some(record) => kept.push((names, seal(&tag_key(repository, tag), record))),
            None => gone.push(names),
        }
    }
    for rows in chunks(&kept, |(_, value)| value.len()) {
        let [registries, repositories, tags] = columns(rows.iter().map(|(names, _)| *names));
        let values: Vec<&[u8]> = rows.iter().map(|(_, value)| &**value).collect();
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&shards, &shard, &encoding, &registries, &repositories, &tags, &values];
        execute(&statements.put_tags, &parameters).await?;
    }
    for rows in gone.chunks(ROWS_MAX) {
        let [registries, repositories, tags] = columns(rows.iter().copied());
        let parameters: [&(dyn ToSql + Sync); 6] = [&shards, &shard, &encoding, &registries, &repositories, &tags];
        execute(&statements.delete_tags, &parameters).await?;
    }
    if let Some(retained) = &batch.scans_retained {
        let retained: Vec<Vec<u8>> = retained.iter().map(digest_key).collect();
        execute(&statements.retain_scans, &[&shards, &shard, &encoding, &retained]).await?;
    }
    if !batch.scans.is_empty() && *replaces != Replaces::Scans {
        let (scans, ended): (Vec<Vec<u8>>, Vec<f64>) =
            batch.scans.iter().map(|(key, at)| (digest_key(key), *at)).unzip();
        execute(&statements.put_scans, &[&shards, &shard, &encoding, &scans, &ended]).await?;
    }
    if !batch.claims_done.is_empty() {
        let registries: Vec<&str> = batch.claims_done.iter().map(|(registry, ..)| &**registry).collect();
        let digests: Vec<Vec<u8>> = batch.claims_done.iter().map(|(_, digest, _)| digest_key(digest)).collect();
        let facts: Vec<i16> = batch.claims_done.iter().map(|(.., facts)| *facts).collect();
        execute(&statements.end_claims, &[claimant, &registries, &digests, &facts]).await?;
    }
    in_time(*each_max, transaction.commit()).await
}

async fn in_time<T>(
    max: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, NotWritten> {
    Ok(tokio::time::timeout(max, answer).await.map_err(|_| NotWritten::Slow)??)
}

async fn put_facts(client: &Client, statement: &Statement, rows: &[Fact]) -> Result<(), tokio_postgres::Error> {
    let digests: Vec<&[u8]> = rows.iter().map(|fact| &*fact.digest).collect();
    let kinds: Vec<i16> = rows.iter().map(|fact| fact.kind).collect();
    let values: Vec<&[u8]> = rows.iter().map(|fact| &*fact.value).collect();
    client.execute(statement, &[&encoding(), &digests, &kinds, &values]).await.map(drop)
}

/// The names as one list for each column.
fn columns<'a>(rows: impl Iterator<Item = [&'a str; 3]>) -> [Vec<&'a str>; 3] {
    let mut columns = [const { Vec::new() }; 3];
    for row in rows {
        for (column, name) in columns.iter_mut().zip(row) {
            column.push(name);
        }
    }
    columns
}

/// Cuts rows into statements of bounded size.
fn chunks<T>(mut rows: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    while !rows.is_empty() {
        let mut total = 0;
        let fits = rows.iter().take(ROWS_MAX).take_while(|row| {
            total += bytes(row);
            total <= BYTES_MAX
        });
        let (chunk, rest) = rows.split_at(fits.count().max(1));
        chunks.push(chunk);
        rows = rest;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_bounded_and_leave_nothing_out() {
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![BYTES_MAX * 2, 1, 1], vec![1, 2]),
            (vec![1; ROWS_MAX + 1], vec![ROWS_MAX, 1]),
            (vec![BYTES_MAX / 2, BYTES_MAX / 2, 1], vec![2, 1]),
        ] {
            let cut: Vec<usize> = chunks(&sizes, |size| *size).iter().map(|chunk| chunk.len()).collect();
            assert_eq!(cut, expected);
        }
    }
}
