//! Removes from the state file what no tag has needed for long.

use std::collections::{HashMap, HashSet};

use redb::{ReadableTable as _, WriteTransaction};

use super::definitions::{BY_DIGEST, DOCUMENTS, TAGS, UNUSED};
use crate::image::Timestamp;
use crate::store::batch::Sweep;
use crate::store::encoding::{digest_key, seal, unseal};
use crate::store::stored::Stored;
use crate::store::sweep::{SECONDS_UNUSED_MAX, blobs_needed, documents_needed, surplus};
use crate::tag::TagRecord;

/// Notes unused entries and removes those unused for too long. Entries that a tag's record needs are in use.
pub(super) fn sweep_unused(transaction: &WriteTransaction, sweep: &Sweep) -> Result<(), redb::Error> {
    let mut in_use: HashSet<Vec<u8>> = sweep.in_use.iter().map(digest_key).collect();
    needed_by_tags(transaction, &mut in_use)?;
    let mut unused = transaction.open_table(UNUSED)?;
    let mut since: HashMap<Vec<u8>, Timestamp> = HashMap::new();
    for entry in unused.iter()? {
        let (key, value) = entry?;
        since.insert(key.value().to_vec(), unseal(key.value(), value.value()).unwrap_or(sweep.now));
    }
    let mut noted = HashSet::new();
    for table in BY_DIGEST {
        let mut table = transaction.open_table(table)?;
        for entry in table.extract_if(|key, _| {
            !in_use.contains(key) && since.get(key).is_some_and(|since| sweep.now - since >= SECONDS_UNUSED_MAX)
        })? {
            entry?;
        }
        for entry in table.iter()? {
            let key = entry?.0.value().to_vec();
            if !in_use.contains(&key) {
                noted.insert(key);
            }
        }
    }
    for key in surplus(&noted, &since, in_use.len()) {
        for table in BY_DIGEST {
            transaction.open_table(table)?.remove(&*key)?;
        }
        noted.remove(&key);
    }
    unused.retain(|key, _| noted.contains(key))?;
    for key in noted.iter().filter(|key| !since.contains_key(*key)) {
        unused.insert(&**key, &*seal(key, &sweep.now))?;
    }
    Ok(())
}

/// Adds the digests that the tags' records need. Records that cannot be read are removed.
fn needed_by_tags(transaction: &WriteTransaction, in_use: &mut HashSet<Vec<u8>>) -> Result<(), redb::Error> {
    let documents = transaction.open_table(DOCUMENTS)?;
    let mut tags = transaction.open_table(TAGS)?;
    let mut unreadable = Vec::new();
    for entry in tags.iter()? {
        let (key, value) = entry?;
        let Some(record) = unseal::<TagRecord>(key.value(), value.value()) else {
            unreadable.push(key.value().to_vec());
            continue;
        };
        for digest in documents_needed(&record) {
            let key = digest_key(digest);
            let document = documents.get(&*key)?.and_then(|document| unseal(&key, document.value()));
            if let Some(Stored::Image(image)) = document {
                in_use.extend(blobs_needed(&image).map(digest_key));
            }
            in_use.insert(key);
        }
    }
    for key in unreadable {
        tags.remove(&*key)?;
    }
    Ok(())
}
