//! What a shard knew before a restart: its tags and scans, and the facts that its tags need. All of it, or nothing: with a
//! part of the tags, sums over all of them would be wrong.

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Statement};

use super::counts;
use super::facts::Kind;
use super::reader::{SELECT_FACTS, digests_max, select};
use super::schema::{encoding, shard_columns};
use crate::oci::digest::TEXT_BYTES_MAX;
use crate::oci::{Digest, Repository, Tag};
use crate::store::batch::Batch;
use crate::store::encoding::{parse_digest_key, tag_key, unseal};
use crate::store::stored::{FactsOf, Stored};
use crate::store::sweep::{blobs_needed, documents_needed};
use crate::tag::TagRecord;
use crate::target::Shard;

/// What was restored.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) tags: Vec<(Repository, Tag, TagRecord)>,
    /// The facts that the tags need, and the scans.
    pub(super) known: Batch,
}

pub(super) async fn restore(client: &mut Client, shard: Shard) -> Result<Restored, tokio_postgres::Error> {
    let mut restored = tags_and_scans(client, shard).await?;
    let statement = client.prepare(SELECT_FACTS).await?;
    let documents = restored.tags.iter().flat_map(|(.., record)| documents_needed(record)).cloned().collect();
    load(client, &statement, documents, Kind::of(FactsOf::Documents), &mut restored.known).await?;
    let mut configs = HashSet::new();
    let mut layers = HashSet::new();
    for stored in restored.known.documents.values() {
        let Stored::Image(image) = stored else { continue };
        layers.extend(blobs_needed(image).cloned());
        if let Some(config) = &image.image_id {
            layers.remove(config);
            configs.insert(config.clone());
        }
    }
    load(client, &statement, configs, &[Kind::Commands], &mut restored.known).await?;
    load(client, &statement, layers, Kind::of(FactsOf::Layers), &mut restored.known).await?;
    if !shard.is_only() {
        restored.known.counts = counts::read(client, shard).await?;
    }
    Ok(restored)
}

async fn scans(client: &Client, shard: Shard) -> Result<Batch, tokio_postgres::Error> {
    const SELECT: &str = "SELECT scan, ended_at FROM image_size_exporter.scans \
                          WHERE shards = $1 AND shard = $2 AND encoding = $3";
    let [shards, shard] = shard_columns(shard);
    let mut known = Batch::default();
    for row in client.query(SELECT, &[&shards, &shard, &encoding()]).await? {
        if let Some(key) = parse_digest_key(row.get(0)) {
            known.scans.insert(key, row.get(1));
        }
    }
    Ok(known)
}

/// Reads both at one moment.
async fn tags_and_scans(client: &mut Client, shard: Shard) -> Result<Restored, tokio_postgres::Error> {
    const SELECT: &str = "SELECT registry, repository, tag, value FROM image_size_exporter.tags \
                          WHERE shards = $1 AND shard = $2 AND encoding = $3";
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = transaction.start().await?;
    // There may be hundreds of thousands. The caller has a deadline for all of it.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let known = scans(transaction.client(), shard).await?;
    let [shards, shard] = shard_columns(shard);
    let encoding = encoding();
    let parameters: [&(dyn ToSql + Sync); 3] = [&shards, &shard, &encoding];
    let rows = transaction.query_raw(SELECT, parameters);
    let mut rows = std::pin::pin!(rows.await?);
    let mut tags = Vec::new();
    while let Some(row) = rows.try_next().await? {
        tags.extend(tag(&row));
    }
    transaction.commit().await?;
    Ok(Restored { tags, known })
}

/// A tag, if its record can be read.
fn tag(row: &tokio_postgres::Row) -> Option<(Repository, Tag, TagRecord)> {
    let repository = Repository::new(row.get::<_, &str>(0).parse().ok()?, row.get::<_, &str>(1)).ok()?;
    let tag = Tag::or_digest(row.get::<_, &str>(2))?;
    let record: TagRecord = unseal(&tag_key(&repository, &tag), row.get(3))?;
    let is_short = record.known.header.as_ref().is_none_or(|header| header.len() <= TEXT_BYTES_MAX);
    is_short.then_some((repository, tag, record))
}

async fn load(
    client: &Client,
    statement: &Statement,
    digests: HashSet<Digest>,
    kinds: &[Kind],
    into: &mut Batch,
) -> Result<(), tokio_postgres::Error> {
    let digests: Vec<Digest> = digests.into_iter().collect();
    for digests in digests.chunks(digests_max(kinds)) {
        select(client, statement, digests, kinds, into).await?;
    }
    Ok(())
}
