//! What a shard's tags have and which of it goes by policies, in the database: rows beside those of layers, since what tags
//! have is more than what series list, and only those who have policies pay for them.
//!
//! A blob that no tag has any more stays as a row without `gone` for some hours, so that others learn of it.

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::schema::{Since, encoding, saturated, shard_columns};
use crate::oci::{Digest, Registry};
use crate::store::encoding::{digest_key, parse_digest_key};
use crate::tag::{BlobName, GoneBy, PolicySet};
use crate::target::Shard;

/// The statement of [`put`].
pub(super) const PUT: &str = "INSERT INTO image_size_exporter.blobs \
                              (shards, shard, encoding, change, registry, kind, digest, bytes, gone) \
                              SELECT $1::integer, $2::integer, $3::smallint, $4::bigint, * \
                              FROM unnest($5::text[], $6::smallint[], $7::bytea[], $8::bigint[], $9::bigint[]) \
                              ON CONFLICT (shards, shard, encoding, registry, kind, digest) \
                              DO UPDATE SET bytes = excluded.bytes, gone = excluded.gone, change = excluded.change";

/// Writes blobs under the number of a change.
pub(super) async fn put(
    client: &Client,
    statement: &Statement,
    (shard, change): (Shard, i64),
    blobs: &[(Registry, BlobName, Option<GoneBy>)],
) -> Result<(), tokio_postgres::Error> {
    let [shards, shard] = shard_columns(shard);
    let registries: Vec<&str> = blobs.iter().map(|(registry, ..)| registry.as_str()).collect();
    let (kinds, digests): (Vec<i16>, Vec<Vec<u8>>) = blobs.iter().map(|(_, name, _)| columns(name)).unzip();
    let bytes: Vec<i64> = blobs.iter().map(|(.., gone)| gone.map_or(0, |gone| saturated(gone.bytes))).collect();
    let gone: Vec<Option<i64>> =
        blobs.iter().map(|(.., gone)| gone.map(|gone| gone.policies.bits().cast_signed())).collect();
    let parameters: [&(dyn ToSql + Sync); 9] =
        [&shards, &shard, &encoding(), &change, &registries, &kinds, &digests, &bytes, &gone];
    client.execute(statement, &parameters).await.map(drop)
}

/// Reads blobs of a shard.
pub(super) async fn read(
    client: &Client,
    Since { shard, change, with_unlisted }: Since,
    mut take: impl FnMut(Registry, BlobName, Option<GoneBy>),
) -> Result<(), tokio_postgres::Error> {
    const SELECT: &str = "SELECT registry, kind, digest, bytes, gone FROM image_size_exporter.blobs \
                          WHERE shards = $1 AND shard = $2 AND encoding = $3 AND change > $4 \
                          AND (gone IS NOT NULL OR $5)";
    let [shards, shard] = shard_columns(shard);
    let parameters: [&(dyn ToSql + Sync); 5] = [&shards, &shard, &encoding(), &change, &with_unlisted];
    let rows = client.query_raw(SELECT, parameters);
    let mut rows = std::pin::pin!(rows.await?);
    // Most rows are of the registry of the row before.
    let mut last: Option<Registry> = None;
    while let Some(row) = rows.try_next().await? {
        let name: &str = row.get(0);
        if last.as_ref().is_none_or(|last| last.as_str() != name) {
            last = name.parse().ok();
        }
        let bytes = u64::try_from(row.get::<_, i64>(3)).unwrap_or_default();
        let policies = row.get::<_, Option<i64>>(4).map(|bits| PolicySet::from_bits(bits.cast_unsigned()));
        let gone = policies.map(|policies| GoneBy { policies, bytes });
        if let (Some(registry), Some(blob)) = (&last, name_of(row.get(1), row.get(2))) {
            take(registry.clone(), blob, gone);
        }
    }
    Ok(())
}

fn columns(name: &BlobName) -> (i16, Vec<u8>) {
    match name {
        BlobName::Layer(digest) => (1, digest_key(digest)),
        BlobName::Document(digest) => (2, digest_key(digest)),
    }
}

fn name_of(kind: i16, digest: &[u8]) -> Option<BlobName> {
    let digest: Digest = parse_digest_key(digest)?;
    match kind {
        1 => Some(BlobName::Layer(digest)),
        2 => Some(BlobName::Document(digest)),
        _ => None,
    }
}
