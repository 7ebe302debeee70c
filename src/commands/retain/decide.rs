//! From what was read to what is kept and what goes. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::read::{Content, ReadRegistry, ReadRepository, ReadTag};
use super::retain_report::{
    DeletedDigest, DeletedFor, Fate, FateReason, RegistryRetention, RepositoryRetention, TagFate,
};
use crate::image::Timestamp;
use crate::oci::{Digest, Tag};
use crate::retention::{JudgedTag, RetentionPolicy, TaggedContent, Verdict, documents_held, freed, judge};
use crate::tag::Running;

/// What a policy says of a registry; `None` where it is about no tag there.
pub(super) fn decide(
    policy: &RetentionPolicy,
    read: &ReadRegistry,
    running: &[Running],
    now: Timestamp,
) -> Option<RegistryRetention> {
    let fates: Vec<BTreeMap<&Tag, FateReason>> =
        read.repositories.iter().map(|repository| fates(policy, repository, running, now)).collect();
    let is_gone = |reason: Option<&FateReason>| reason.is_some_and(|reason| reason.goes());
    let is_whole = !read.is_partial && read.repositories.iter().all(|repository| !repository.is_partial);
    let freed = is_whole.then(|| {
        let tags = read.repositories.iter().zip(&fates).enumerate().flat_map(|(number, (repository, fates))| {
            repository.tags.iter().filter_map(move |(name, tag)| {
                let documents = &tag.content.as_ref()?.documents;
                Some(TaggedContent { repository: number, is_gone: is_gone(fates.get(name)), documents })
            })
        });
        freed(tags, read.repositories.len())
    });
    let repositories: Vec<RepositoryRetention> = read
        .repositories
        .iter()
        .zip(&fates)
        .enumerate()
        .filter(|(_, (_, fates))| !fates.is_empty())
        .map(|(number, (repository, fates))| {
            let freed_bytes = freed.as_ref().map(|freed| freed.repositories[number]);
            of_repository(repository, fates, freed_bytes)
        })
        .collect();
    let count = |fate| {
        let tags = repositories.iter().flat_map(|repository| &repository.tags);
        tags.filter(|tag| tag.fate == fate).count()
    };
    let (tags_kept, tags_gone, tags_held) = (count(Fate::Kept), count(Fate::Gone), count(Fate::Held));
    (!repositories.is_empty()).then(|| RegistryRetention {
        registry: read.registry.to_string(),
        freed_bytes: freed.map(|freed| freed.bytes),
        tags_kept,
        tags_gone,
        tags_held,
        repositories,
    })
}

/// Why each tag that the policy is about, or that belongs to such a one, is kept or goes.
fn fates<'a>(
    policy: &RetentionPolicy,
    repository: &'a ReadRepository,
    running: &[Running],
    now: Timestamp,
) -> BTreeMap<&'a Tag, FateReason> {
    let is_judged = |tag: &ReadTag| tag.targets.iter().any(|target| policy.judges(target));
    let judged: Vec<JudgedTag> = repository
        .tags
        .iter()
        .filter(|(_, tag)| is_judged(tag))
        .map(|(name, tag)| {
            let digest = tag.content.as_ref().map(Content::digest);
            let documents = tag.content.iter().flat_map(|content| &content.documents);
            let digests: Vec<_> = documents.map(|document| &document.digest).collect();
            JudgedTag {
                tag: name,
                digest,
                created: tag.content.as_ref().and_then(|content| content.created),
                runs: running.iter().any(|running| running.runs(&repository.repository, name, &digests)),
            }
        })
        .collect();
    let verdicts = judge(policy, &judged, now).verdicts;
    let mut fates: BTreeMap<&Tag, FateReason> = judged
        .iter()
        .zip(verdicts)
        .map(|(tag, verdict)| {
            let reason = match verdict {
                Verdict::Kept(by) => by.into(),
                // A tag that is unread may hold the manifests of any other.
                Verdict::Gone if repository.is_partial => FateReason::Partial,
                Verdict::Gone => FateReason::NoRule,
            };
            (tag.tag, reason)
        })
        .collect();
    referrers(repository, &mut fates);
    fates
}

/// Tags of signatures and other referrers go when what they belong to goes. A signature may have signatures.
fn referrers<'a>(repository: &'a ReadRepository, fates: &mut BTreeMap<&'a Tag, FateReason>) {
    let of_subjects: Vec<(&Tag, Digest)> = repository
        .tags
        .iter()
        .filter(|(_, tag)| tag.targets.is_empty())
        .filter_map(|(name, _)| Some((name, name.subject()?)))
        .collect();
    if fates.is_empty() {
        return;
    }
    let mut going: BTreeSet<&Tag> = BTreeSet::new();
    loop {
        let (held, gone) = (documents(repository, fates, false), documents(repository, fates, true));
        let goes = |subject| gone.contains(subject) && !held.contains(subject);
        let more: Vec<&Tag> = of_subjects
            .iter()
            .filter(|(name, subject)| !going.contains(name) && goes(subject))
            .map(|(name, _)| *name)
            .collect();
        if more.is_empty() {
            break;
        }
        going.extend(&more);
        fates.extend(more.into_iter().map(|name| (name, FateReason::SubjectGone)));
    }
    let stay = of_subjects.iter().filter(|(name, _)| !going.contains(name));
    fates.extend(stay.map(|(name, _)| (*name, FateReason::SubjectStays)));
}

/// The manifests of the tags that go, or of those that do not.
fn documents<'a>(
    repository: &'a ReadRepository,
    fates: &BTreeMap<&Tag, FateReason>,
    going: bool,
) -> HashSet<&'a Digest> {
    let goes = |name: &Tag| fates.get(name).is_some_and(|reason| reason.goes());
    let tags = repository.tags.iter().filter(|(name, _)| goes(name) == going);
    let contents = tags.filter_map(|(_, tag)| tag.content.as_ref());
    documents_held(contents.map(|content| content.documents.as_slice()))
}

fn of_repository(
    repository: &ReadRepository,
    fates: &BTreeMap<&Tag, FateReason>,
    freed_bytes: Option<u64>,
) -> RepositoryRetention {
    let goes = |name: &Tag| fates.get(name).is_some_and(|reason| reason.goes());
    // What each document that stays is held by: the first tag by name.
    let mut holders: HashMap<&Digest, &Tag> = HashMap::new();
    let mut deleted: BTreeMap<&Digest, DeletedDigest> = BTreeMap::new();
    for (name, tag) in repository.tags.iter().filter(|(name, _)| !goes(name)) {
        for document in tag.content.iter().flat_map(|content| &content.documents) {
            holders.entry(&document.digest).or_insert(name);
        }
    }
    // Indexes before what they name, so that no index that is served lacks a manifest.
    let mut order = Vec::new();
    for (name, tag) in repository.tags.iter().filter(|(name, _)| goes(name)) {
        for (at, document) in tag.content.iter().flat_map(|content| content.documents.iter().enumerate()) {
            if holders.contains_key(&document.digest) {
                continue;
            }
            let one = deleted.entry(&document.digest).or_insert_with(|| {
                order.push(&document.digest);
                DeletedDigest { digest: document.digest.clone(), reason: DeletedFor::Index, tags: Vec::new() }
            });
            if at == 0 {
                one.reason = DeletedFor::Tag;
            }
            one.tags.push(name.to_string());
        }
    }
    let mut digests: Vec<DeletedDigest> = order.into_iter().filter_map(|digest| deleted.remove(digest)).collect();
    digests.sort_by_key(|digest| digest.reason);
    let tags = fates.iter().map(|(name, reason)| {
        let content = repository.tags.get(*name).and_then(|tag| tag.content.as_ref());
        let held_by = content.filter(|_| reason.goes()).and_then(|content| holders.get(content.digest()));
        let fate = match (reason.goes(), held_by) {
            (false, _) => Fate::Kept,
            (true, None) => Fate::Gone,
            (true, Some(_)) => Fate::Held,
        };
        TagFate {
            tag: name.to_string(),
            digest: content.map(|content| content.digest().clone()),
            created: content.and_then(|content| content.created),
            fate,
            reason: *reason,
            held_by: held_by.map(ToString::to_string),
        }
    });
    RepositoryRetention {
        repository: repository.repository.name().to_owned(),
        is_partial: repository.is_partial,
        freed_bytes,
        tags: tags.collect(),
        digests,
    }
}
