//! A batch in one transaction, if this exporter still holds its shard.

use std::cell::Cell;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::counts::{self, CountStatements, Piece, Pieces};
use super::facts::{self, Fact};
use super::schema::{deletion, encoding, shard_columns};
use crate::store::batch::Batch;
use crate::store::counts::CountRows;
use crate::store::encoding::{digest_key, seal, tag_key};
use crate::target::Shard;

/// The most rows and bytes of one statement.
const ROWS_MAX: usize = 2_000;
const BYTES_MAX: usize = 4 << 20;

/// Why a batch was not written.
pub(super) enum NotWritten {
    Failed(tokio_postgres::Error),
    /// A statement was not answered in time.
    Slow,
    /// Another exporter has taken the shard.
    Lost,
    /// The database was restored from a backup while this exporter ran.
    PutBack,
}

impl From<tokio_postgres::Error> for NotWritten {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
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
    counts: CountStatements,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            // It locks the row: nobody takes the shard before this transaction ends.
            still_holds: client
                .prepare(
                    "UPDATE image_size_exporter.holders SET seen_at = now() \
                     WHERE shards = $1 AND shard = $2 AND encoding = $3 AND epoch = $4 RETURNING counts",
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
            counts: CountStatements::prepare(client).await?,
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
    /// What changes in the rows of what the shard counts; `None` for nothing.
    pub(super) counts: Option<&'a CountRows>,
    /// The number of the last change of what the shard counts, if that is known, and after the write that of its own.
    pub(super) change: &'a Cell<Option<i64>>,
    /// The greatest number that was seen: it never becomes less.
    pub(super) seen: i64,
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
    let Written { shard: of, claimant, batch, counts, replaces, each_max, .. } = written;
    let [shards, shard] = shard_columns(*of);
    let encoding = encoding();
    let facts = facts::rows(batch);
    for (number, rows) in chunks(&facts, |fact| fact.value.len()).into_iter().enumerate() {
        // Many take long: nobody takes the shard meanwhile because its holder seems to be silent.
        if number > 0 {
            still_holds(client, statements, written).await?;
        }
        in_time(*each_max, put_facts(client, &statements.put_facts, rows)).await?;
    }
    let pieces = counts.map(Pieces::of).unwrap_or_default();
    if let Some(rows) = counts {
        write_apart(client, statements, written, rows, &pieces.apart).await?;
    }
    let transaction = in_time(*each_max, client.transaction()).await?;
    let execute = async |statement: &Statement, parameters: &[&(dyn ToSql + Sync)]| {
        in_time(*each_max, transaction.execute(statement, parameters)).await
    };
    still_holds(transaction.client(), statements, written).await?;
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
    if let Some(rows) = counts {
        let whole = Whole { layers: Some(true), blobs: true };
        let change = number_change(transaction.client(), statements, written, rows, whole).await?;
        in_time(*each_max, counts::put_registries(transaction.client(), &statements.counts, *of, &rows.registries))
            .await?;
        for piece in &pieces.together {
            in_time(*each_max, piece.put(transaction.client(), &statements.counts, (*of, change))).await?;
        }
    }
    in_time(*each_max, transaction.commit()).await
}

/// Writes pieces of many layers or blobs, which take too long for one transaction with tags. Until the last of them is there,
/// others must not count any; while only blobs are written, they go on with the layers of before.
async fn write_apart(
    client: &mut Client,
    statements: &Statements,
    written: &Written<'_>,
    rows: &CountRows,
    pieces: &[Piece<'_>],
) -> Result<(), NotWritten> {
    for piece in pieces {
        let transaction = in_time(written.each_max, client.transaction()).await?;
        let leaves_layers = piece.is_of_blobs() && written.replaces == Replaces::Nothing;
        let whole = Whole { layers: (!leaves_layers).then_some(false), blobs: false };
        let change = number_change(transaction.client(), statements, written, rows, whole).await?;
        let put = piece.put(transaction.client(), &statements.counts, (written.shard, change));
        in_time(written.each_max, put).await?;
        in_time(written.each_max, transaction.commit()).await?;
    }
    Ok(())
}

/// Notes that the shard is still held, and that what it counts is what this exporter wrote last.
async fn still_holds(client: &Client, statements: &Statements, written: &Written<'_>) -> Result<(), NotWritten> {
    let [shards, shard] = shard_columns(written.shard);
    let encoding = encoding();
    let holder: [&(dyn ToSql + Sync); 4] = [&shards, &shard, &encoding, &written.epoch];
    let row = in_time(written.each_max, client.query_opt(&statements.still_holds, &holder)).await?;
    let number: i64 = row.ok_or(NotWritten::Lost)?.get(0);
    // A write of which no answer came may have raised it.
    if number < written.seen || written.change.get().is_some_and(|last| last != number) {
        return Err(NotWritten::PutBack);
    }
    written.change.set(Some(number));
    Ok(())
}

/// Whether what others read after a change is all that the shard counts.
struct Whole {
    /// Of layers; `None`: as before.
    layers: Option<bool>,
    /// Of blobs, and what goes of them.
    blobs: bool,
}

/// The number of a change of what the shard counts. After one that replaces all, others read all: the database may have been put
/// back, and numbers that they have read may come again.
async fn number_change(
    client: &Client,
    statements: &Statements,
    written: &Written<'_>,
    rows: &CountRows,
    whole: Whole,
) -> Result<i64, NotWritten> {
    let [shards, shard] = shard_columns(written.shard);
    let (encoding, is_settled, replaces_all) = (encoding(), rows.is_settled, written.replaces == Replaces::All);
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&shards, &shard, &encoding, &written.epoch, &is_settled, &whole.layers, &whole.blobs, &replaces_all];
    let change = client.query_opt(&statements.counts.change, &parameters);
    let row = in_time(written.each_max, change).await?;
    let number: i64 = row.ok_or(NotWritten::Lost)?.get(0);
    if written.change.get().is_some_and(|last| !replaces_all && last + 1 != number) {
        return Err(NotWritten::PutBack);
    }
    written.change.set(Some(number));
    Ok(number)
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
