//! Marks the facts that this exporter uses, and removes what no exporter has used for long.
//!
//! A mark is a day, and is renewed when it is a week old: a fact in use costs one write a week. Of several exporters each
//! does this for itself. Rows that another one has locked are left for the next time.

use std::collections::HashSet;

use tokio_postgres::Client;

use super::connection::SESSION;
use super::counts;
use crate::oci::Digest;
use crate::store::encoding::digest_key;

/// The most digests, or rows, of one statement: short ones let writes pass.
const AT_ONCE: usize = 5_000;

/// Renews the marks of facts in use.
const MARK: &str = "UPDATE image_size_exporter.facts AS kept SET used_on = CURRENT_DATE \
                    FROM (SELECT digest, encoding, kind FROM image_size_exporter.facts \
                          WHERE digest = ANY ($1) AND used_on < CURRENT_DATE - 7 \
                          ORDER BY digest, encoding, kind FOR UPDATE SKIP LOCKED) AS used \
                    WHERE kept.digest = used.digest AND kept.encoding = used.encoding AND kept.kind = used.kind";

/// Facts that nobody has used for a fortnight after their mark was due.
const REMOVE_FACTS: &str = "DELETE FROM image_size_exporter.facts AS kept \
                            USING (SELECT digest, encoding, kind FROM image_size_exporter.facts \
                                   WHERE used_on < CURRENT_DATE - 21 LIMIT 5000 FOR UPDATE SKIP LOCKED) AS unused \
                            WHERE kept.digest = unused.digest AND kept.encoding = unused.encoding \
                            AND kept.kind = unused.kind";

/// Tags, scans and holders of shards that nobody has held for three weeks: of another number of shards, or of programs with
/// another encoding.
const REMOVE_SHARDS: &str = "WITH gone AS (DELETE FROM image_size_exporter.holders \
                                           WHERE seen_at < now() - interval '21 days' \
                                           RETURNING shards, shard, encoding), \
                             scans AS (DELETE FROM image_size_exporter.scans AS kept USING gone \
                                       WHERE kept.shards = gone.shards AND kept.shard = gone.shard \
                                       AND kept.encoding = gone.encoding) \
                             DELETE FROM image_size_exporter.tags AS kept USING gone \
                             WHERE kept.shards = gone.shards AND kept.shard = gone.shard \
                             AND kept.encoding = gone.encoding";

/// Claims of exporters that have died.
const REMOVE_CLAIMS: &str = "DELETE FROM image_size_exporter.claims WHERE ends_at < now() - interval '1 hour'";

/// Marks, removes if `removes`, and returns how many documents there are.
pub(super) async fn sweep(
    client: &Client,
    in_use: &HashSet<Digest>,
    removes: bool,
) -> Result<u64, tokio_postgres::Error> {
    let mark = client.prepare(MARK).await?;
    let digests: Vec<&Digest> = in_use.iter().collect();
    for digests in digests.chunks(AT_ONCE) {
        let digests: Vec<Vec<u8>> = digests.iter().map(|digest| digest_key(digest)).collect();
        client.execute(&mark, &[&digests]).await?;
    }
    if removes {
        while client.execute(REMOVE_FACTS, &[]).await? >= AT_ONCE as u64 {}
        client.execute(REMOVE_SHARDS, &[]).await?;
        counts::remove_abandoned(client).await?;
    }
    client.execute(REMOVE_CLAIMS, &[]).await?;
    documents(client).await
}

/// The number of documents, or none if counting takes long: a start does not wait for it.
pub(super) async fn documents_soon(client: &Client) -> Option<u64> {
    client.batch_execute("SET statement_timeout = '5s'").await.ok()?;
    let counted = documents(client).await;
    client.batch_execute(SESSION).await.ok()?;
    counted.ok()
}

/// The number of documents.
async fn documents(client: &Client) -> Result<u64, tokio_postgres::Error> {
    const COUNT: &str = "SELECT count(*) FROM image_size_exporter.facts WHERE kind = $1 AND encoding = $2";
    let kind = super::facts::Kind::Document.number();
    let row = client.query_one(COUNT, &[&kind, &super::schema::encoding()]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
}
