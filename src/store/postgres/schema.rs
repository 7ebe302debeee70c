//! The tables, their versions, and which rows of them are whose.

use tokio_postgres::Client;

use crate::store::encoding::VERSION;
use crate::target::Shard;

/// As the columns `shards` and `shard` have it. Each shard has its own tags and scans; facts by digest are everybody's.
pub(super) fn shard_columns(shard: Shard) -> [i32; 2] {
    [shard.total(), shard.number()].map(|number| i32::try_from(number).unwrap_or(i32::MAX))
}

/// The version of the encoding, as the columns have it. Programs of two encodings do not read each other's rows.
pub(super) fn encoding() -> i16 {
    i16::try_from(VERSION).unwrap_or(i16::MAX)
}

/// The deletion of all that a shard has in a table.
pub(super) fn deletion(table: &str) -> String {
    format!("DELETE FROM image_size_exporter.{table} WHERE shards = $1 AND shard = $2 AND encoding = $3")
}

/// Which of a shard's layers, or blobs, are read.
#[derive(Clone, Copy)]
pub(super) struct Since {
    pub(super) shard: Shard,
    /// Those that changed after this one.
    pub(super) change: i64,
    pub(super) with_unlisted: bool,
}

/// A number as a column has it.
pub(super) fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A step from one version of the schema to the next. Steps that were released are never changed.
struct Migration {
    sql: &'static str,
    /// The oldest version whose programs can go on using the schema after this step.
    oldest_program: i32,
}

/// Names are written in full, so that the search path does not matter. Keys of text are compared by their bytes: another
/// order would change with the operating system's libraries.
const MIGRATIONS: &[Migration] = &[
    Migration {
        sql: r#"
CREATE TABLE image_size_exporter.facts (
    digest bytea NOT NULL,
    encoding smallint NOT NULL,
    kind smallint NOT NULL,
    value bytea NOT NULL,
    used_on date NOT NULL DEFAULT CURRENT_DATE,
    PRIMARY KEY (digest, encoding, kind)
);
CREATE TABLE image_size_exporter.holders (
    shards integer NOT NULL,
    shard integer NOT NULL,
    encoding smallint NOT NULL,
    epoch bigint NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shards, shard, encoding)
);
CREATE TABLE image_size_exporter.tags (
    shards integer NOT NULL,
    shard integer NOT NULL,
    encoding smallint NOT NULL,
    registry text COLLATE "C" NOT NULL,
    repository text COLLATE "C" NOT NULL,
    tag text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shards, shard, encoding, registry, repository, tag)
);
CREATE TABLE image_size_exporter.scans (
    shards integer NOT NULL,
    shard integer NOT NULL,
    encoding smallint NOT NULL,
    scan bytea NOT NULL,
    ended_at double precision NOT NULL,
    PRIMARY KEY (shards, shard, encoding, scan)
);
CREATE UNLOGGED TABLE image_size_exporter.claims (
    registry text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    facts smallint NOT NULL,
    claimant bigint NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (registry, digest, facts)
);
"#,
        oldest_program: 1,
    },
    Migration {
        sql: r#"
ALTER TABLE image_size_exporter.holders
    ADD COLUMN counts bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000000)::bigint,
    ADD COLUMN counts_since bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000000)::bigint,
    ADD COLUMN counts_swept bigint NOT NULL DEFAULT 0,
    ADD COLUMN counts_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN is_settled boolean NOT NULL DEFAULT false;
CREATE TABLE image_size_exporter.registries (
    shards integer NOT NULL,
    shard integer NOT NULL,
    encoding smallint NOT NULL,
    registry text COLLATE "C" NOT NULL,
    extent smallint NOT NULL,
    series bigint NOT NULL,
    repositories bigint NOT NULL,
    selection bigint NOT NULL,
    PRIMARY KEY (shards, shard, encoding, registry)
);
CREATE TABLE image_size_exporter.layers (
    shards integer NOT NULL,
    shard integer NOT NULL,
    encoding smallint NOT NULL,
    registry text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    bytes bigint NOT NULL,
    series integer NOT NULL,
    image bigint,
    groups text,
    change bigint NOT NULL,
    PRIMARY KEY (shards, shard, encoding, registry, digest)
);
CREATE INDEX layers_changes ON image_size_exporter.layers (shards, shard, encoding, change);
CREATE INDEX layers_unlisted ON image_size_exporter.layers (shards, shard, encoding, change) WHERE series = 0;
"#,
        oldest_program: 1,
    },
    // Columns that may be null, and one with a constant: no table is written anew, however many rows it has.
    Migration {
        sql: r#"
ALTER TABLE image_size_exporter.holders ADD COLUMN reclaimable_epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE image_size_exporter.registries
    ADD COLUMN policies bigint,
    ADD COLUMN about bigint,
    ADD COLUMN is_shown boolean;
CREATE TABLE image_size_exporter.blobs (
    shards integer NOT NULL,
    shard integer NOT NULL,
    encoding smallint NOT NULL,
    registry text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    digest bytea NOT NULL,
    bytes bigint NOT NULL,
    gone bigint,
    change bigint NOT NULL,
    PRIMARY KEY (shards, shard, encoding, registry, kind, digest)
);
CREATE INDEX blobs_changes ON image_size_exporter.blobs (shards, shard, encoding, change);
CREATE INDEX blobs_unlisted ON image_size_exporter.blobs (shards, shard, encoding, change) WHERE gone IS NULL;
"#,
        oldest_program: 1,
    },
];

/// Serializes migrations of exporters that start at once.
const MIGRATION_LOCK: i64 = 0x0069_6d67_7369_7a65;

/// Why the schema cannot be used.
pub(super) enum SchemaError {
    Query(tokio_postgres::Error),
    /// A newer program made it.
    TooNew(String),
}

impl From<tokio_postgres::Error> for SchemaError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Query(error)
    }
}

/// Makes the tables, or brings them to this program's version. Writes nothing where they are up to date.
pub(super) async fn migrate(client: &mut Client) -> Result<(), SchemaError> {
    let newest = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if version(client).await? >= newest {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    let has_schema = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'image_size_exporter'";
    if transaction.query_opt(has_schema, &[]).await?.is_none() {
        transaction.batch_execute("CREATE SCHEMA image_size_exporter").await?;
    }
    let versions = "CREATE TABLE IF NOT EXISTS image_size_exporter.migrations (version integer PRIMARY KEY, \
                    oldest_program integer NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";
    transaction.batch_execute(versions).await?;
    let there = version(transaction.client()).await?;
    for (migration, version) in MIGRATIONS.iter().zip(1_i32..).filter(|(_, version)| *version > there) {
        transaction.batch_execute(migration.sql).await?;
        let note = "INSERT INTO image_size_exporter.migrations (version, oldest_program) VALUES ($1, $2)";
        transaction.execute(note, &[&version, &migration.oldest_program]).await?;
    }
    Ok(transaction.commit().await?)
}

/// The version of the schema; 0 where there is none.
async fn version(client: &Client) -> Result<i32, SchemaError> {
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let has_versions = "SELECT to_regclass('image_size_exporter.migrations') IS NOT NULL";
    if !client.query_one(has_versions, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let versions =
        "SELECT coalesce(max(version), 0), coalesce(max(oldest_program), 0) FROM image_size_exporter.migrations";
    let row = client.query_one(versions, &[]).await?;
    let (version, oldest): (i32, i32) = (row.get(0), row.get(1));
    if oldest > known {
        return Err(SchemaError::TooNew(format!(
            "its schema has version {version}, and this program knows only {known} of them"
        )));
    }
    Ok(version)
}
