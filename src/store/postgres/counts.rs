//! What a shard counts, in the database: rows by layer, of which each change has a number, so that others read what is new.
//! Rows of blobs are in `blobs`.
//!
//! A layer that nobody lists any more stays as a row of no series for some hours, so that others learn of it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement, Transaction};

use super::blobs;
use super::connection::SESSION;
use super::schema::{Since, deletion, encoding, saturated, shard_columns};
use crate::image::accounting::{ImageMark, LayerCount};
use crate::oci::{Digest, Registry};
use crate::store::counts::{CountRows, Counts};
use crate::store::encoding::{digest_key, parse_digest_key};
use crate::tag::{
    BlobName, CountedLayer, GoneBy, GroupSeries, GroupSet, PolicySet, ReclaimableSummary, RegistryExtent,
    RegistrySummary,
};
use crate::target::Shard;

/// More changed rows of layers, or of blobs, are not written together with tags: for as long as that takes, others take what the
/// shard counts for unknown, or only what goes by policies.
pub(super) const ROWS_TOGETHER_MAX: usize = 50_000;

/// The most rows of one statement.
const ROWS_MAX: usize = 2_000;

/// The tables of what shards count.
const TABLES: [&str; 3] = ["registries", "layers", "blobs"];

/// Of those with a row for each layer or blob, when a row only tells that the shard has it no longer.
const UNLISTED: [(&str, &str); 2] = [("layers", "series = 0"), ("blobs", "gone IS NULL")];

/// The statements of a connection.
pub(super) struct CountStatements {
    /// Numbers a change, while the shard is held.
    pub(super) change: Statement,
    put_registries: Statement,
    put_layers: Statement,
    put_blobs: Statement,
}

fn change() -> String {
    // As the first number of a shard: none that was used before the database was put back.
    let new = "greatest(counts + 1, (extract(epoch FROM now()) * 1000000)::bigint)";
    format!(
        "UPDATE image_size_exporter.holders SET seen_at = now(), \
         is_settled = CASE WHEN $6 THEN $5 ELSE is_settled END, \
         counts_epoch = CASE WHEN $6 THEN epoch WHEN NOT $6 THEN 0 ELSE counts_epoch END, \
         reclaimable_epoch = CASE WHEN $7 THEN epoch ELSE 0 END, \
         counts = CASE WHEN $8 THEN {new} ELSE counts + 1 END, \
         counts_since = CASE WHEN $8 THEN {new} ELSE counts_since END \
         WHERE shards = $1 AND shard = $2 AND encoding = $3 AND epoch = $4 RETURNING counts"
    )
}

impl CountStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            change: client.prepare(&change()).await?,
            put_registries: client
                .prepare(
                    "INSERT INTO image_size_exporter.registries \
                     (shards, shard, encoding, registry, extent, series, repositories, selection, policies, about, is_shown) \
                     SELECT $1::integer, $2::integer, $3::smallint, * \
                     FROM unnest($4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], \
                     $10::bigint[], $11::boolean[]) \
                     ON CONFLICT (shards, shard, encoding, registry) \
                     DO UPDATE SET extent = excluded.extent, series = excluded.series, \
                     repositories = excluded.repositories, selection = excluded.selection, \
                     policies = excluded.policies, about = excluded.about, is_shown = excluded.is_shown",
                )
                .await?,
            put_layers: client
                .prepare(
                    "INSERT INTO image_size_exporter.layers \
                     (shards, shard, encoding, change, registry, digest, bytes, series, image, groups) \
                     SELECT $1::integer, $2::integer, $3::smallint, $4::bigint, * \
                     FROM unnest($5::text[], $6::bytea[], $7::bigint[], $8::integer[], $9::bigint[], $10::text[]) \
                     ON CONFLICT (shards, shard, encoding, registry, digest) \
                     DO UPDATE SET bytes = excluded.bytes, series = excluded.series, image = excluded.image, \
                     groups = excluded.groups, change = excluded.change",
                )
                .await?,
            put_blobs: client.prepare(blobs::PUT).await?,
        })
    }
}

/// Writes the registries.
pub(super) async fn put_registries(
    client: &Client,
    statements: &CountStatements,
    shard: Shard,
    registries: &[(Registry, RegistrySummary)],
) -> Result<(), tokio_postgres::Error> {
    let [shards, shard] = shard_columns(shard);
    let names: Vec<&str> = registries.iter().map(|(registry, _)| registry.as_str()).collect();
    let extents: Vec<i16> = registries.iter().map(|(_, summary)| extent_column(summary.extent)).collect();
    let series: Vec<i64> = registries.iter().map(|(_, summary)| saturated(summary.series)).collect();
    let repositories: Vec<i64> = registries.iter().map(|(_, summary)| saturated(summary.repositories)).collect();
    let selections: Vec<i64> = registries.iter().map(|(_, summary)| summary.selection.cast_signed()).collect();
    let reclaimable = || registries.iter().map(|(_, summary)| summary.reclaimable);
    let policies: Vec<Option<i64>> = reclaimable().map(|of| Some(of?.identity.cast_signed())).collect();
    let about: Vec<Option<i64>> = reclaimable().map(|of| Some(of?.about.bits().cast_signed())).collect();
    let shown: Vec<Option<bool>> = reclaimable().map(|of| Some(of?.is_shown)).collect();
    let parameters: [&(dyn ToSql + Sync); 11] = [
        &shards,
        &shard,
        &encoding(),
        &names,
        &extents,
        &series,
        &repositories,
        &selections,
        &policies,
        &about,
        &shown,
    ];
    client.execute(&statements.put_registries, &parameters).await.map(drop)
}

async fn put_layers(
    client: &Client,
    statements: &CountStatements,
    (shard, change): (Shard, i64),
    layers: &[(Registry, Digest, CountedLayer)],
) -> Result<(), tokio_postgres::Error> {
    let [shards, shard] = shard_columns(shard);
    let registries: Vec<&str> = layers.iter().map(|(registry, ..)| registry.as_str()).collect();
    let digests: Vec<Vec<u8>> = layers.iter().map(|(_, digest, _)| digest_key(digest)).collect();
    let bytes: Vec<i64> = layers.iter().map(|(.., count)| saturated(count.count.bytes)).collect();
    let series = |count: &CountedLayer| i32::try_from(count.count.series).unwrap_or(i32::MAX);
    let series: Vec<i32> = layers.iter().map(|(.., count)| series(count)).collect();
    let images: Vec<Option<i64>> =
        layers.iter().map(|(.., count)| count.count.image.map(|mark| mark.get().cast_signed())).collect();
    let groups: Vec<Option<String>> = layers.iter().map(|(.., count)| groups_column(&count.groups)).collect();
    let parameters: [&(dyn ToSql + Sync); 10] =
        [&shards, &shard, &encoding(), &change, &registries, &digests, &bytes, &series, &images, &groups];
    client.execute(&statements.put_layers, &parameters).await.map(drop)
}

/// Reads what a shard counts. That may be millions of rows: the caller has a deadline for all of it.
pub(super) async fn read(client: &Client, shard: Shard) -> Result<Counts, tokio_postgres::Error> {
    client.batch_execute("SET statement_timeout = 0").await?;
    let mut counts = Counts::default();
    for (registry, summary) in registries(client, shard).await? {
        counts.read_registry(registry, summary);
    }
    let parameters = Since { shard, change: 0, with_unlisted: false };
    layers(client, parameters, |registry, digest, count| counts.read_layer(registry, digest, count)).await?;
    blobs::read(client, parameters, |registry, name, gone| counts.read_blob(registry, name, gone)).await?;
    client.batch_execute(SESSION).await?;
    Ok(counts)
}

/// The registries of a shard.
pub(super) async fn registries(
    client: &Client,
    shard: Shard,
) -> Result<Vec<(Registry, RegistrySummary)>, tokio_postgres::Error> {
    const SELECT: &str = "SELECT registry, extent, series, repositories, selection, policies, about, is_shown \
                          FROM image_size_exporter.registries \
                          WHERE shards = $1 AND shard = $2 AND encoding = $3";
    let [shards, shard] = shard_columns(shard);
    let rows = client.query(SELECT, &[&shards, &shard, &encoding()]).await?;
    let registry = |row: &Row| {
        let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
        let summary = RegistrySummary {
            extent: extent_of(row.get(1)),
            series: number(2),
            repositories: number(3),
            selection: row.get::<_, i64>(4).cast_unsigned(),
            reclaimable: reclaimable(row),
        };
        Some((row.get::<_, &str>(0).parse().ok()?, summary))
    };
    Ok(rows.iter().filter_map(registry).collect())
}

fn reclaimable(row: &Row) -> Option<ReclaimableSummary> {
    let number = |column| Some(row.get::<_, Option<i64>>(column)?.cast_unsigned());
    let is_shown = row.get::<_, Option<bool>>(7)?;
    Some(ReclaimableSummary { identity: number(5)?, about: PolicySet::from_bits(number(6)?), is_shown })
}

/// Reads layers of a shard.
pub(super) async fn layers(
    client: &Client,
    Since { shard, change, with_unlisted }: Since,
    mut take: impl FnMut(Registry, Digest, CountedLayer),
) -> Result<(), tokio_postgres::Error> {
    const SELECT: &str = "SELECT registry, digest, bytes, series, image, groups FROM image_size_exporter.layers \
                          WHERE shards = $1 AND shard = $2 AND encoding = $3 AND change > $4 AND (series > 0 OR $5)";
    let [shards, shard] = shard_columns(shard);
    let parameters: [&(dyn ToSql + Sync); 5] = [&shards, &shard, &encoding(), &change, &with_unlisted];
    let rows = client.query_raw(SELECT, parameters);
    let mut rows = std::pin::pin!(rows.await?);
    // Most rows are of the registry of the row before, and their series in the groups of others.
    let mut last: Option<Registry> = None;
    let mut groups: HashMap<String, GroupSeries> = HashMap::new();
    while let Some(row) = rows.try_next().await? {
        let name: &str = row.get(0);
        if last.as_ref().is_none_or(|last| last.as_str() != name) {
            last = name.parse().ok();
        }
        if let (Some(registry), Some(digest)) = (&last, parse_digest_key(row.get(1))) {
            let groups = row.get::<_, Option<&str>>(5).and_then(|column| match groups.get(column) {
                Some(known) => known.clone(),
                None => groups.entry(column.to_owned()).or_insert_with(|| groups_of(column)).clone(),
            });
            take(registry.clone(), digest, CountedLayer { count: count(&row), groups });
        }
    }
    Ok(())
}

fn count(row: &Row) -> LayerCount {
    let mark = |mark: i64| ImageMark::new(mark.cast_unsigned());
    LayerCount {
        bytes: u64::try_from(row.get::<_, i64>(2)).unwrap_or_default(),
        series: u32::try_from(row.get::<_, i32>(3)).unwrap_or_default(),
        image: row.get::<_, Option<i64>>(4).and_then(mark),
    }
}

/// As JSON, for people: `[[["data","web"],2]]` are two series that are in both groups.
fn groups_column(groups: &GroupSeries) -> Option<String> {
    let sets: Vec<(Vec<&str>, u32)> =
        groups.as_ref()?.iter().map(|(set, series)| (set.iter().map(|group| &**group).collect(), *series)).collect();
    serde_json::to_string(&sets).ok()
}

fn groups_of(column: &str) -> GroupSeries {
    let sets: Vec<(Vec<String>, u32)> = serde_json::from_str(column).ok()?;
    let set = |groups: Vec<String>| -> GroupSet { groups.into_iter().map(Arc::from).collect() };
    Some(sets.into_iter().map(|(groups, series)| (set(groups), series)).collect())
}

/// Removes what was counted by shards that have no holder, in pieces.
pub(super) async fn remove_abandoned(client: &Client) -> Result<(), tokio_postgres::Error> {
    for table in TABLES {
        let remove = format!(
            "DELETE FROM image_size_exporter.{table} WHERE ctid = ANY (ARRAY ( \
             SELECT counted.ctid FROM image_size_exporter.{table} AS counted WHERE NOT EXISTS ( \
             SELECT 1 FROM image_size_exporter.holders AS held WHERE held.shards = counted.shards \
             AND held.shard = counted.shard AND held.encoding = counted.encoding) LIMIT 5000))"
        );
        while client.execute(&remove, &[]).await? > 0 {}
    }
    Ok(())
}

/// Removes what a shard counted, so that nobody takes it for what it counts now.
pub(super) async fn forget(
    transaction: &Transaction<'_>,
    [shards, shard]: [i32; 2],
) -> Result<(), tokio_postgres::Error> {
    const INVALID: &str = "UPDATE image_size_exporter.holders \
                           SET counts = counts + 1, counts_since = counts + 1, counts_epoch = 0, reclaimable_epoch = 0, \
                           is_settled = false \
                           WHERE shards = $1 AND shard = $2 AND encoding = $3";
    let encoding = encoding();
    transaction.execute(INVALID, &[&shards, &shard, &encoding]).await?;
    for table in TABLES {
        transaction.execute(&deletion(table), &[&shards, &shard, &encoding]).await?;
    }
    Ok(())
}

/// Removes a shard's layers that nobody lists, and blobs that no tag has, since before the last time. Who has read less than that
/// reads all of them again.
pub(super) async fn remove_unlisted(client: &Client, shard: Shard) -> Result<(), tokio_postgres::Error> {
    // It is committed before anything is removed, and locks the row for no longer: writes go on.
    const SINCE: &str = "UPDATE image_size_exporter.holders \
                         SET counts_since = greatest(counts_since, counts_swept), counts_swept = counts \
                         WHERE shards = $1 AND shard = $2 AND encoding = $3 RETURNING counts_since";
    let [shards, shard] = shard_columns(shard);
    let Some(row) = client.query_opt(SINCE, &[&shards, &shard, &encoding()]).await? else { return Ok(()) };
    let since: i64 = row.get(0);
    for (table, is_unlisted) in UNLISTED {
        let remove = format!(
            "DELETE FROM image_size_exporter.{table} WHERE ctid = ANY (ARRAY ( \
             SELECT ctid FROM image_size_exporter.{table} WHERE shards = $1 AND shard = $2 AND encoding = $3 \
             AND {is_unlisted} AND change <= $4 LIMIT 5000)) AND {is_unlisted}"
        );
        while client.execute(&remove, &[&shards, &shard, &encoding(), &since]).await? > 0 {}
    }
    Ok(())
}

/// What one statement writes.
pub(super) enum Piece<'a> {
    Layers(&'a [(Registry, Digest, CountedLayer)]),
    Blobs(&'a [(Registry, BlobName, Option<GoneBy>)]),
}

/// Layers and blobs, in pieces of [`ROWS_MAX`].
#[derive(Default)]
pub(super) struct Pieces<'a> {
    /// Those that are too many to be written together.
    pub(super) apart: Vec<Piece<'a>>,
    pub(super) together: Vec<Piece<'a>>,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(rows: &'a CountRows) -> Self {
        let mut pieces = Self::default();
        let layers = rows.layers.chunks(ROWS_MAX).map(Piece::Layers);
        pieces.place(rows.layers.len()).extend(layers);
        let blobs = rows.blobs.chunks(ROWS_MAX).map(Piece::Blobs);
        pieces.place(rows.blobs.len()).extend(blobs);
        pieces
    }

    fn place(&mut self, rows: usize) -> &mut Vec<Piece<'a>> {
        if rows > ROWS_TOGETHER_MAX { &mut self.apart } else { &mut self.together }
    }
}

impl Piece<'_> {
    pub(super) fn is_of_blobs(&self) -> bool {
        matches!(self, Self::Blobs(_))
    }

    /// Writes it, under the number of a change.
    pub(super) async fn put(
        &self,
        client: &Client,
        statements: &CountStatements,
        change: (Shard, i64),
    ) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Layers(layers) => put_layers(client, statements, change, layers).await,
            Self::Blobs(blobs) => blobs::put(client, &statements.put_blobs, change, blobs).await,
        }
    }
}

fn extent_column(extent: RegistryExtent) -> i16 {
    match extent {
        RegistryExtent::Unknown => 0,
        RegistryExtent::PartOfLists => 1,
        RegistryExtent::Whole => 2,
    }
}

fn extent_of(column: i16) -> RegistryExtent {
    match column {
        2 => RegistryExtent::Whole,
        1 => RegistryExtent::PartOfLists,
        _ => RegistryExtent::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_written_apart_and_nothing_is_left_out() {
        let registry: Registry = "r.io".parse().unwrap();
        let digest = Digest::sha256_of(b"any");
        for (layers, blobs) in [(0, 0), (3, ROWS_TOGETHER_MAX + 1), (ROWS_TOGETHER_MAX + 1, 3), (ROWS_MAX + 1, 1)] {
            let rows = CountRows {
                layers: vec![(registry.clone(), digest.clone(), CountedLayer::default()); layers],
                blobs: vec![(registry.clone(), BlobName::Layer(digest.clone()), None); blobs],
                ..CountRows::default()
            };
            let Pieces { apart, together } = Pieces::of(&rows);
            let count = |pieces: &[Piece<'_>], of_blobs| -> usize {
                let rows = pieces.iter().filter(|piece| piece.is_of_blobs() == of_blobs).map(|piece| match piece {
                    Piece::Layers(layers) => layers.len(),
                    Piece::Blobs(blobs) => blobs.len(),
                });
                rows.sum()
            };
            for (rows, of_blobs) in [(layers, false), (blobs, true)] {
                let expected = if rows > ROWS_TOGETHER_MAX { (rows, 0) } else { (0, rows) };
                assert_eq!((count(&apart, of_blobs), count(&together, of_blobs)), expected);
            }
        }
    }
}
