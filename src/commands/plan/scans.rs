//! The scans of a plan: the daemon's own, or one `HEAD` for each tag where pulls are metered.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::image::{Image, Layer};
use crate::inventory::Inventory;
use crate::oci::{At, Digest, Location, MediaType, Platform, Reason, Registry};
use crate::registry::{Client, Head, Registries, RegistryError};
use crate::scan;
use crate::scan::NoPlatform;
use crate::store::Store;
use crate::tag::{Observation, Outcome, Reading, TagRequest};
use crate::target::Target;

use super::figures::{Pulls, Requests};

/// How many tags are read at a time. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 32;

/// The scans of all targets, over one state.
pub(super) struct Scans<'a> {
    registries: &'a Registries,
    inventory: &'a mut Inventory,
    store: Store,
    /// The pulls of the first scans together.
    pub(super) pulls: BTreeMap<Registry, Pulls>,
    /// The documents that these pulls would fetch. The inventory has placeholders for them: images with one layer.
    pub(super) unread: HashSet<(Registry, Digest)>,
    pub(super) tags_read: usize,
}

/// The results of one target's scans.
#[derive(Default)]
pub(super) struct Scanned {
    /// How many tags its scans read.
    pub(super) tags: usize,
    pub(super) first: Requests,
    pub(super) later: Requests,
    pub(super) is_metered: bool,
    pub(super) failures: Vec<(Reason, String)>,
    pub(super) no_platform: Vec<NoPlatform>,
}

impl<'a> Scans<'a> {
    pub(super) fn new(registries: &'a Registries, inventory: &'a mut Inventory) -> Self {
        let (pulls, unread) = (BTreeMap::new(), HashSet::new());
        Self { registries, inventory, store: Store::memory(), pulls, unread, tags_read: 0 }
    }

    /// Scans a target twice: with nothing known, and with everything known.
    pub(super) async fn scan(&mut self, target: &Target) -> Scanned {
        let mut scanned = Scanned::default();
        let mut unmetered = BTreeSet::new();
        for (registry, requests) in self.assigned(target) {
            let client = self.registries.client(&registry);
            // The first answer shows whether the registry meters pulls, and whether it supports HEAD. The daemon learns
            // this once, so the request counts for neither scan.
            if let Some(first) = requests.first().filter(|_| !client.meters_pulls()) {
                let _ = client.head_manifest(&first.repository, At::Tag(&first.tag)).await;
            }
            scanned.tags += requests.len();
            if client.meters_pulls() {
                scanned.is_metered = true;
                self.head_all(&client, (target, &registry), requests, &mut scanned).await;
            } else {
                let first = self.read_all(&client, (target, &registry), requests, Some(&mut scanned)).await;
                scanned.first = scanned.first + first;
                unmetered.insert(registry);
            }
        }
        self.inventory.scan_ended(&target.name);
        for (registry, requests) in self.assigned(target) {
            if unmetered.contains(&registry) {
                let client = self.registries.client(&registry);
                let later = self.read_all(&client, (target, &registry), requests, None).await;
                scanned.later = scanned.later + later;
            }
        }
        scanned
    }

    /// The tags that a scan reads, by registry: what runs may be on several.
    fn assigned(&mut self, target: &Target) -> BTreeMap<Registry, Vec<TagRequest>> {
        let mut assigned: BTreeMap<Registry, Vec<TagRequest>> = BTreeMap::new();
        for request in self.inventory.assign(&target.name) {
            assigned.entry(request.repository.registry().clone()).or_default().push(request);
        }
        assigned
    }

    /// Reads tags as the daemon does, and counts the requests. Notes what the first scan finds.
    async fn read_all(
        &mut self,
        client: &Client,
        (target, registry): (&Target, &Registry),
        requests: Vec<TagRequest>,
        mut scanned: Option<&mut Scanned>,
    ) -> Requests {
        let before = Requests::so_far(self.registries, registry);
        let store = &self.store;
        let mut reads = stream::iter(requests)
            .map(|request| async move {
                let reported = scan::read_tag(client, store, &request).await;
                (request, reported)
            })
            .buffered(TAGS_UNDER_WAY);
        while let Some((request, reported)) = reads.next().await {
            if let Some(scanned) = scanned.as_deref_mut() {
                self.tags_read += usize::from(matches!(reported.outcome, Outcome::Read(_)));
                scanned.no_platform.extend(NoPlatform::check(store, &request, &reported.outcome).await);
                if reported.outcome != Outcome::Gone || target.expects(&request.repository, &request.tag) {
                    let failures = reported.errors.iter().map(|error| (error.reason(), error.to_string()));
                    scanned.failures.extend(failures);
                }
            }
            self.inventory.record(&observation(&request, reported.outcome));
        }
        Requests::so_far(self.registries, registry).since(before)
    }

    /// Sends one `HEAD` for each tag. The lower bound of the first scan is one `GET` for each new digest.
    async fn head_all(
        &mut self,
        client: &Client,
        (target, registry): (&Target, &Registry),
        requests: Vec<TagRequest>,
        scanned: &mut Scanned,
    ) {
        let heads = requests.len() as u64;
        let pulls = self.pulls.entry(registry.clone()).or_default();
        let mut replies = stream::iter(requests)
            .map(|request| async move {
                let head = client.head_manifest(&request.repository, At::Tag(&request.tag)).await;
                (request, head)
            })
            .buffered(TAGS_UNDER_WAY);
        while let Some((request, head)) = replies.next().await {
            let outcome = match head.map(|head| (digest_of(&head), head)) {
                Ok((Some(digest), head)) => {
                    self.tags_read += 1;
                    if self.unread.insert((registry.clone(), digest.clone())) {
                        pulls.at_least += 1;
                        pulls.indexes += u64::from(head.media_type.is_index());
                        scanned.first.manifests += 1;
                    }
                    Outcome::Read(Arc::new(reading(&request, digest, head)))
                }
                Ok((None, head)) => {
                    let text = head.digest_header.unwrap_or_default();
                    let location = Location::tag(&request.repository, &request.tag);
                    let message = format!("{location}: the digest header `{text}` is not a digest");
                    scanned.failures.push((Reason::Invalid, message));
                    Outcome::Failed(Reason::Invalid)
                }
                Err(error) => failed(target, &request, &error, &mut scanned.failures),
            };
            self.inventory.record(&observation(&request, outcome));
        }
        scanned.first.heads += heads;
        scanned.later.heads += heads;
    }
}

fn failed(
    target: &Target,
    request: &TagRequest,
    error: &RegistryError,
    failures: &mut Vec<(Reason, String)>,
) -> Outcome {
    let reason = error.reason();
    let is_gone = reason == Reason::NotFound;
    if !is_gone || target.expects(&request.repository, &request.tag) {
        failures.push((reason, error.to_string()));
    }
    if is_gone { Outcome::Gone } else { Outcome::Failed(reason) }
}

fn digest_of(head: &Head) -> Option<Digest> {
    head.digest_header.as_deref()?.parse().ok()
}

fn observation(request: &TagRequest, outcome: Outcome) -> Observation {
    Observation { repository: request.repository.clone(), tag: request.tag.clone(), at: 1.0, outcome }
}

/// A placeholder reading for a tag of which only the digest is known: one image of the first selected platform.
fn reading(request: &TagRequest, digest: Digest, head: Head) -> Reading {
    let platform = request.platforms.platforms().first().cloned();
    let layer = Layer {
        digest: digest.clone(),
        bytes: Some(1),
        foreign: false,
        diff_id: None,
        media_type: MediaType::default(),
        hint: None,
    };
    let image = Image {
        digest: digest.clone(),
        image_id: Some(digest.clone()),
        media_type: head.media_type.clone(),
        artifact_type: "".into(),
        platform: platform.unwrap_or_else(|| Platform::from_parts("linux", "amd64", "", "")),
        created: Some(1.0),
        config_bytes: 1,
        manifest_bytes: 1,
        layers: [layer].into(),
    };
    Reading {
        digest,
        header: head.digest_header,
        media_type: head.media_type,
        index_bytes: 1,
        images: vec![Arc::new(image)],
        attestations: 0,
        failed: Vec::new(),
        platforms: request.platforms.clone(),
    }
}
