//! The one task that writes: it folds what workers tell into the inventory and publishes snapshots of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::layers::Lane;
use super::messages::{Assignment, EVENTS_WAITING_MAX, Event, Handles};
use super::workers::Workers;
use crate::clock::unix_now;
use crate::config::Config;
use crate::image::LayerContent;
use crate::inventory::Inventory;
use crate::metrics::own::ScanEnd;
use crate::metrics::{Family, Publisher};
use crate::oci::Digest;
use crate::scan;
use crate::store::Stored;
use crate::tag::{Completeness, TagChange};
use crate::target::{Target, TargetName};

/// While things change all the time, this long passes between two publications, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// And at least so many times what the last rendering took.
const PAUSE_RENDERINGS: u32 = 10;

/// How often old things are looked for and dropped, at least and at most.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_mins(10);
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A new configuration, already validated; the answer tells whether it holds now.
pub(crate) struct ReloadRequest {
    /// The configuration.
    pub(crate) config: Config,
    /// Where the answer goes: an error is for the operator.
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

/// The inventory, and whatever is needed to change and to publish it.
pub(crate) struct StateLoop {
    handles: Handles,
    config: Config,
    omit: Arc<BTreeSet<Family>>,
    inventory: Inventory,
    workers: Workers,
    lane: Lane,
    events: mpsc::Receiver<Event>,
    /// Away while it renders.
    publisher: Option<Publisher>,
    publishing: Option<JoinHandle<(Publisher, Duration)>>,
    changed: bool,
    not_before: Instant,
    /// By target, its last scan; `up` where the lists were read.
    scans: BTreeMap<TargetName, ScanEnd>,
    /// The targets whose first scan has not ended.
    awaited: BTreeSet<TargetName>,
    /// Whether everything is known for the first time: nobody should wait for the sums.
    at_once: bool,
}

impl StateLoop {
    /// Restores what the store knows, publishes it, and starts the workers.
    pub(crate) async fn start(handles: Handles, config: Config, mut publisher: Publisher) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut inventory = Inventory::new(&config.targets, config.scan.keep);
        keep_passes(&handles, &config);
        let restored = restore(&mut inventory, &handles);
        handles.telemetry.set_targets(&config.targets);
        let omit = Arc::new(config.omit.clone());
        publisher.publish(inventory.snapshot(), omit.clone()).await;
        let names = config.targets.iter().map(|target| target.name.clone());
        let awaited = names.filter(|name| !restored.contains(name)).collect();
        let mut workers = Workers::new(handles.clone(), sender);
        workers.set(&config.targets, |target| restored.contains(&target.name));
        let lane = Lane::start(&handles, &config);
        Self {
            handles,
            config,
            omit,
            inventory,
            workers,
            lane,
            events,
            publisher: Some(publisher),
            publishing: None,
            changed: false,
            not_before: Instant::now(),
            scans: BTreeMap::new(),
            awaited,
            at_once: false,
        }
    }

    /// Folds until `stop`, then brings what is known to the store. An error means that a task panicked: the process
    /// must end rather than go on without it.
    pub(crate) async fn run(
        mut self,
        mut reloads: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) -> Result<(), JoinError> {
        let mut sweep_at = Instant::now();
        let mut batch = Vec::new();
        loop {
            let may_publish = self.changed && self.publisher.is_some();
            tokio::select! {
                () = stop.cancelled() => break,
                ended = self.workers.ended() => ended?,
                _ = self.events.recv_many(&mut batch, EVENTS_WAITING_MAX) => self.apply(&mut batch),
                found = self.lane.found() => self.learn(found?),
                published = finished(&mut self.publishing) => self.published(published?),
                () = tokio::time::sleep_until(self.not_before), if may_publish => self.publish(),
                Some(request) = reloads.recv() => self.reload(request),
                () = tokio::time::sleep_until(sweep_at) => {
                    self.sweep();
                    sweep_at = Instant::now() + sweep_interval(self.config.scan.keep);
                }
            }
        }
        self.handles.store.flush().await;
        Ok(())
    }

    fn apply(&mut self, batch: &mut Vec<Event>) {
        let mut changes = Vec::new();
        let mut passes = Vec::new();
        for event in batch.drain(..) {
            self.changed = true;
            match event {
                Event::Discovered { target, found, reply } if self.workers.include(&target) => {
                    changes.extend(self.inventory.select(&target.name, found));
                    let _ = reply.send(Assignment { to_read: self.inventory.assign(&target.name) });
                }
                Event::Observed(observation) => changes.extend(self.inventory.record(&observation)),
                Event::ScanEnded(target, end) if self.workers.include(&target) => {
                    self.scans.insert(target.name.clone(), end);
                    self.inventory.scan_ended(&target.name);
                    passes.push(target.clone());
                    if self.awaited.remove(&target.name) && self.awaited.is_empty() {
                        self.at_once = true;
                        self.not_before = Instant::now();
                    }
                }
                // From before a reload.
                Event::Discovered { .. } | Event::ScanEnded(..) => {}
            }
        }
        for warning in self.inventory.warnings() {
            tracing::warn!("{warning}");
        }
        self.keep(changes);
        // After what they read, so that no kill leaves the one without the other.
        for target in passes {
            self.remember_pass(&target);
        }
    }

    /// What was never read is not in the store: after a restart only another scan finds it.
    fn remember_pass(&self, target: &Target) {
        for pass in [Completeness::Settled, Completeness::Whole] {
            let key = pass_key(target, pass);
            if self.inventory.is_scanned(&target.name, pass) {
                self.handles.store.remember_pass(&key, unix_now());
            } else if self.handles.store.has_passed(&key) {
                let others = pass_keys(&self.config).filter(|other| *other != key);
                self.handles.store.keep_passes(&others.collect());
            }
        }
    }

    fn learn(&mut self, found: Vec<(Digest, LayerContent)>) {
        self.changed |= self.inventory.learn_layers(found);
    }

    /// Takes a snapshot and has it rendered elsewhere, while events go on being folded.
    fn publish(&mut self) {
        let Some(mut publisher) = self.publisher.take() else { return };
        self.changed = false;
        self.at_once = false;
        let (snapshot, omit) = (self.inventory.snapshot(), self.omit.clone());
        // A target is up in the same scrape as its tags are.
        let down = self.inventory.targets_down();
        let scan = |(name, end): (&TargetName, &ScanEnd)| {
            (name.clone(), ScanEnd { up: end.up && !down.contains(name), ..*end })
        };
        let scans = self.scans.iter().map(scan).collect();
        self.publishing = Some(tokio::spawn(async move {
            let took = publisher.publish_with_scans(snapshot, omit, scans).await;
            (publisher, took)
        }));
    }

    fn published(&mut self, (publisher, took): (Publisher, Duration)) {
        self.publishing = None;
        self.publisher = Some(publisher);
        let pause = if self.at_once { Duration::ZERO } else { PAUSE.max(took * PAUSE_RENDERINGS) };
        self.not_before = Instant::now() + pause;
        self.handles.telemetry.set_store_documents(self.handles.store.documents());
        // Only now: sizes come first.
        self.lane.offer(|| self.inventory.layer_requests());
    }

    fn reload(&mut self, request: ReloadRequest) {
        let ReloadRequest { config, reply } = request;
        let registries = self.handles.registries.load();
        let renewed = match registries.renewed(config.registries.clone(), config.registry_defaults.clone()) {
            Ok(renewed) => renewed,
            Err(error) => {
                let _ = reply.send(Err(error.to_string()));
                return;
            }
        };
        let speaks_otherwise = renewed.is_some();
        if let Some(renewed) = renewed {
            self.handles.registries.store(Arc::new(renewed));
        }
        // Whoever reloads may have put right what no file of ours shows.
        self.handles.registries.load().forgive_passwords();
        if config.state != self.config.state || config.web != self.config.web {
            tracing::warn!("`[state]` and `[web]` are read at start only: what changed there counts after a restart");
        }
        keep_passes(&self.handles, &config);
        let changes = self.inventory.reconfigure(&config.targets, config.scan.keep);
        self.keep(changes);
        self.handles.telemetry.set_targets(&config.targets);
        self.workers.set(&config.targets, |_| false);
        self.scans.retain(|name, _| config.targets.iter().any(|target| target.name == *name));
        self.awaited.retain(|name| config.targets.iter().any(|target| target.name == *name));
        self.omit = Arc::new(config.omit.clone());
        if speaks_otherwise {
            self.lane = Lane::start(&self.handles, &config);
        }
        self.config = config;
        self.changed = true;
        let _ = reply.send(Ok(()));
    }

    fn sweep(&mut self) {
        let changes = self.inventory.expire(unix_now());
        self.changed |= !changes.is_empty();
        self.keep(changes);
        self.handles.store.sweep(&self.inventory.digests_in_use(), unix_now());
    }

    fn keep(&self, changes: Vec<TagChange>) {
        if !changes.is_empty() {
            self.handles.store.keep(changes);
        }
    }
}

/// What is kept for a short time is looked for often.
fn sweep_interval(keep: Duration) -> Duration {
    (keep / 10).clamp(SWEEP_INTERVAL_MIN, SWEEP_INTERVAL_MAX)
}

/// Brings the store's tags into the inventory; the targets whose first scan can wait for its place.
fn restore(inventory: &mut Inventory, handles: &Handles) -> BTreeSet<TargetName> {
    let image_of = |digest: &Digest| match handles.store.document(digest) {
        Some(Stored::Image(image)) => Some(image),
        _ => None,
    };
    let mut forgotten = Vec::new();
    for (repository, tag, mut kept) in handles.store.tags() {
        // The header says that the tag is unchanged: without it the first scan reads what is missing.
        if kept.known.index_bytes > 0
            && let Some(Stored::Index(index)) = handles.store.document(&kept.known.digest)
            && !scan::has_all_entries(&kept.known, &index)
        {
            Arc::make_mut(&mut kept.known).header = None;
        }
        forgotten.extend(inventory.restore(&repository, &tag, &kept, image_of));
    }
    if !forgotten.is_empty() {
        handles.store.keep(forgotten);
    }
    inventory.restored(|target, pass| handles.store.has_passed(&pass_key(target, pass))).into_iter().collect()
}

/// Lets the store forget that targets were scanned which are none any more. Before their tags go: if they came back
/// and were read only in part, the old pass would vouch for the half of them.
fn keep_passes(handles: &Handles, config: &Config) {
    handles.store.keep_passes(&pass_keys(config).collect());
}

fn pass_keys(config: &Config) -> impl Iterator<Item = Digest> {
    config
        .targets
        .iter()
        .flat_map(|target| [Completeness::Settled, Completeness::Whole].map(|pass| pass_key(target, pass)))
}

/// The key under which the store remembers that a scan of this target was this complete.
fn pass_key(target: &Target, completeness: Completeness) -> Digest {
    Digest::sha256_of(format!("{}\n{}", completeness.as_str(), target.scan_identity()).as_bytes())
}

async fn finished(
    publishing: &mut Option<JoinHandle<(Publisher, Duration)>>,
) -> Result<(Publisher, Duration), JoinError> {
    match publishing {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    }
}
