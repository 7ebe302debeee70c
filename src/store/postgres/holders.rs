//! Who has a shard: a number that grows with each taking, so that who lost it notices that at its next write.
//!
//! What a shard counts holds as long as `counts_epoch` grows with it. A program that does not count leaves it behind, and with it
//! what was counted before. So it is with `reclaimable_epoch` and programs that do not tell what goes by policies.

use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::counts;
use super::error::is_conflict;
use super::schema::{deletion, encoding, shard_columns};
use crate::target::Shard;

/// How long a shard's holder may be silent before an exporter that lost the shard takes it back, in seconds.
const SILENT_MAX_SECONDS: f64 = 60.0;

/// Takes the shard. What was told stays valid only if the holder before kept it up to date.
const HOLD: &str = "INSERT INTO image_size_exporter.holders AS held (shards, shard, encoding, epoch) \
                    VALUES ($1, $2, $3, 1) ON CONFLICT (shards, shard, encoding) \
                    DO UPDATE SET epoch = held.epoch + 1, seen_at = now(), \
                    counts_epoch = held.counts_epoch + (held.counts_epoch = held.epoch)::integer, \
                    reclaimable_epoch = held.reclaimable_epoch + (held.reclaimable_epoch = held.epoch)::integer";

/// Takes the shard over from its holder: the exporter that started last has it. Returns the number of this holding.
pub(super) async fn hold(client: &Client, shard: Shard) -> Result<i64, tokio_postgres::Error> {
    let [shards, shard] = shard_columns(shard);
    Ok(client.query_one(&*format!("{HOLD} RETURNING epoch"), &[&shards, &shard, &encoding()]).await?.get(0))
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
    counts::forget(transaction, [shards, shard]).await
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
    const IF_SILENT: &str = "WHERE held.seen_at < now() - $4::double precision * interval '1 second' OR held.epoch = $5 \
                             RETURNING epoch";
    let [shards, shard] = shard_columns(shard);
    let row = client
        .query_opt(&*format!("{HOLD} {IF_SILENT}"), &[&shards, &shard, &encoding(), &SILENT_MAX_SECONDS, &seen])
        .await?;
    Ok(row.map(|row| row.get(0)))
}
