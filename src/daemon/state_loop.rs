//! The one task that writes: applies workers' messages to the inventory and the store, and publishes snapshots.

mod completed;
mod lookups;
mod notifications;
mod others;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::notifications::Looks;
use self::others::Others;
use super::first_scans::FirstScans;
use super::layers::LayerWorker;
use super::messages::{EVENTS_WAITING_MAX, Event, Handles, ReloadRequest};
use super::workers::Workers;
use crate::clock::unix_now;
use crate::config::Config;
use crate::inventory::Inventory;
use crate::metrics::own::ScanEnd;
use crate::metrics::{Family, Publisher};
use crate::oci::Digest;
use crate::scan;
use crate::store::{Store, Stored};
use crate::tag::{LayerFound, TagChange};
use crate::target::TargetName;

/// The shortest time between two publications while changes keep coming.
const PAUSE: Duration = Duration::from_secs(1);

/// The same while what comes is read because of notifications.
const PAUSE_NOTIFIED: Duration = Duration::from_millis(250);

/// Both in durations of the last publication, its snapshot and its rendering: whichever is longer counts. What scans find
/// takes a tenth of the time at most. A push does not wait that long, and one that changed little takes little.
const PAUSE_FACTORS: [u32; 2] = [10, 2];

/// Bounds of the time between two sweeps for what has expired.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_mins(10);
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The inventory, and everything needed to change and publish it.
pub(crate) struct StateLoop {
    handles: Handles,
    config: Config,
    omit: Arc<BTreeSet<Family>>,
    inventory: Inventory,
    workers: Workers,
    layers: LayerWorker,
    /// Whether the layer worker has to be sent the list of requested layers.
    layers_due: bool,
    events: mpsc::Receiver<Event>,
    /// `None` while it renders.
    publisher: Option<Publisher>,
    publishing: Option<JoinHandle<(Publisher, Duration)>>,
    news: News,
    /// When what scans find may be published, and what is read because of notifications.
    not_before: [Instant; 2],
    /// By target, its last scan; `up` where the lists were read.
    scans: BTreeMap<TargetName, ScanEnd>,
    first_scans: FirstScans,
    /// Every target was scanned for the first time: publish the sums without a pause.
    publish_now: bool,
    looks: Looks,
    others: Others,
}

/// What is not published yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    None,
    Found,
    /// Also what was read because of a notification, which is published after a shorter pause.
    Notified,
}

impl StateLoop {
    /// Restores the store's tags, publishes them, and starts the workers.
    pub(crate) async fn start(handles: Handles, config: Config, mut publisher: Publisher) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let targets = config.all_targets();
        let mut inventory = Inventory::new(&targets, config.scan.keep);
        inventory.set_policies(&config.policies);
        lookups::set(&mut inventory, &handles.store);
        let mut others = Others::of(&handles.store, &mut inventory);
        inventory.set_time(unix_now());
        completed::take_over(&handles.store, &config);
        let restored = restore(&mut inventory, &handles);
        sources::announce(&handles.telemetry, &config);
        handles.telemetry.watch_also(inventory.registries());
        let omit = Arc::new(config.omit.clone());
        others.first(&mut inventory, &handles.store).await;
        let snapshot = inventory.snapshot();
        keep_found(&mut inventory, &handles.store);
        publisher.publish(snapshot, handles.telemetry.target_states(), omit.clone()).await;
        let first_scans = FirstScans::new(&targets, &restored);
        let mut workers = Workers::new(handles.clone(), sender);
        workers.set(&config, |target| restored.contains(&target.name));
        workers.start_notified();
        let layers = LayerWorker::start(&handles, &config);
        Self {
            handles,
            config,
            omit,
            inventory,
            workers,
            layers,
            layers_due: false,
            events,
            publisher: Some(publisher),
            publishing: None,
            news: News::None,
            not_before: [Instant::now(); 2],
            scans: BTreeMap::new(),
            first_scans,
            publish_now: false,
            looks: Looks::default(),
            others,
        }
    }

    /// Runs until `stop`, then closes the store. An error means that a task panicked: the process must end rather
    /// than go on without it.
    pub(crate) async fn run(
        mut self,
        mut reloads: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) -> Result<(), JoinError> {
        let mut sweep_at = Instant::now();
        let mut batch = Vec::new();
        loop {
            let may_publish = self.news > News::None && self.publisher.is_some();
            let publish_at = self.not_before[usize::from(self.news == News::Notified)];
            tokio::select! {
                () = stop.cancelled() => break,
                ended = self.workers.ended() => ended?,
                _ = self.events.recv_many(&mut batch, EVENTS_WAITING_MAX) => self.apply(&mut batch),
                permit = self.layers.ready(), if self.layers_due => {
                    self.layers_due = false;
                    permit.send(self.inventory.content_requests());
                }
                found = self.layers.found() => self.learn(found?),
                news = self.others.news() => self.heard(news),
                published = rendered(&mut self.publishing) => self.published(published?),
                () = tokio::time::sleep_until(publish_at), if may_publish => self.publish(),
                Some(request) = reloads.recv() => self.reload(request),
                () = tokio::time::sleep_until(sweep_at) => {
                    self.sweep();
                    sweep_at = Instant::now() + sweep_interval(self.config.scan.keep);
                }
            }
        }
        let store = self.handles.store.clone();
        store.flush().await;
        // Stops the workers, which still have clones of the store until they next wait for something.
        drop(self);
        // Without this the next start would have to repair the file.
        tokio::task::spawn_blocking(move || store.close()).await
    }

    fn apply(&mut self, batch: &mut Vec<Event>) {
        let mut changes = Vec::new();
        let mut scanned = Vec::new();
        for event in batch.drain(..) {
            self.news = self.news.max(match event {
                // What a notification names is published once it is read.
                Event::Notified { .. } | Event::Listed { .. } | Event::Pulled(_) => News::None,
                Event::ObservedNow(_) | Event::Seen { .. } => News::Notified,
                _ => News::Found,
            });
            match event {
                Event::Discovered { target, found, reply } if self.workers.include(&target) => {
                    changes.extend(self.inventory.select(&target.name, found));
                    self.look_for_lost(&target);
                    let _ = reply.send(self.inventory.assign(&target.name));
                    // Even if this scan is never finished, a restart must not take a part of a list for all of it.
                    self.forget_untrue_scans(&target);
                }
                Event::Notified { change, reply } => {
                    let _ = reply.send(self.notified(&change));
                }
                Event::Listed { target, found, change, reply } if self.workers.include(&target) => {
                    let _ = reply.send(self.listed(&target, found, &change, &mut changes));
                }
                Event::Seen { target, running, reply } if self.workers.include(&target) => {
                    let _ = reply.send(self.seen(&target, running, &mut changes));
                }
                Event::Pulled(pulls) => self.pulled(pulls),
                Event::Observed(observation) => {
                    self.look_again(&observation);
                    changes.extend(self.inventory.record(&observation));
                }
                Event::ObservedNow(observation) => {
                    self.note_look(&observation);
                    changes.extend(self.inventory.record_notified(&observation));
                }
                Event::ScanEnded { target, end } if self.workers.include(&target) => {
                    self.scans.insert(target.name.clone(), end);
                    self.inventory.scan_ended(&target.name);
                    scanned.push(target.clone());
                    if self.first_scans.ended(&target.name) {
                        self.publish_now = true;
                        self.not_before = [Instant::now(); 2];
                    }
                }
                // The event was sent before a reload changed or removed the target.
                Event::Discovered { .. } | Event::ScanEnded { .. } | Event::Listed { .. } | Event::Seen { .. } => {}
            }
        }
        for warning in self.inventory.warnings() {
            tracing::warn!("{warning}");
        }
        self.keep(changes);
        // After the tags, so that a kill in between leaves no completed scan without its tags.
        for target in scanned {
            self.remember_scan(&target);
        }
    }

    fn learn(&mut self, found: Vec<LayerFound>) {
        if self.inventory.learn(found) {
            self.news = self.news.max(News::Found);
        }
    }

    /// Takes a snapshot and has it rendered in another task, while this one goes on.
    fn publish(&mut self) {
        let Some(mut publisher) = self.publisher.take() else { return };
        let started = Instant::now();
        self.news = News::None;
        self.publish_now = false;
        self.inventory.set_time(unix_now());
        let (snapshot, omit) = (self.inventory.snapshot(), self.omit.clone());
        keep_found(&mut self.inventory, &self.handles.store);
        self.others.say_missing(&self.inventory);
        // A target is up in the same scrape as its tags are.
        let down = self.inventory.targets_down();
        for (name, end) in &self.scans {
            let up = end.up && !down.contains(name);
            self.handles.telemetry.scan_ended(name, ScanEnd { up, ..*end });
        }
        self.first_scans.log_end(&self.scans, &down);
        self.handles.telemetry.set_selected(&self.inventory.targets_selected());
        let targets = self.handles.telemetry.target_states();
        let counted = started.elapsed();
        self.publishing = Some(tokio::spawn(async move {
            let took = publisher.publish(snapshot, targets, omit).await;
            (publisher, counted + took)
        }));
    }

    fn published(&mut self, (publisher, took): (Publisher, Duration)) {
        self.publishing = None;
        self.publisher = Some(publisher);
        let now = Instant::now();
        let pause =
            |shortest: Duration, factor| if self.publish_now { Duration::ZERO } else { shortest.max(took * factor) };
        self.not_before = [now + pause(PAUSE, PAUSE_FACTORS[0]), now + pause(PAUSE_NOTIFIED, PAUSE_FACTORS[1])];
        self.handles.telemetry.set_store_documents(self.handles.store.documents());
        // Only now: sizes are published first.
        self.layers_due = true;
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
        let clients_changed = renewed.is_some();
        if let Some(renewed) = renewed {
            self.handles.registries.store(Arc::new(renewed));
        }
        // The operator may have fixed what the configuration does not show, such as a locked account.
        self.handles.registries.load().reset_lockouts();
        if config.state != self.config.state || config.web != self.config.web {
            tracing::warn!("`[state]` and `[web]` are read at start only: changes there take effect after a restart");
        }
        completed::forget_others(&self.handles.store, &config);
        let targets = config.all_targets();
        let changes = self.inventory.reconfigure(&targets, config.scan.keep);
        self.inventory.set_policies(&config.policies);
        self.keep(changes);
        sources::announce(&self.handles.telemetry, &config);
        self.handles.telemetry.watch_also(self.inventory.registries());
        self.workers.set(&config, |_| false);
        self.scans.retain(|name, _| targets.iter().any(|target| target.name == *name));
        self.first_scans.retain(&targets);
        self.handles.notifications.set_source(config.notifications.clone());
        self.handles.telemetry.watch_notifications(config.notifications.is_some());
        self.handles.telemetry.retain_pulls(|repository| self.inventory.is_watched(repository));
        self.omit = Arc::new(config.omit.clone());
        if clients_changed {
            self.layers = LayerWorker::start(&self.handles, &config);
        }
        self.config = config;
        self.news = self.news.max(News::Found);
        let _ = reply.send(Ok(()));
    }

    fn sweep(&mut self) {
        let changes = self.inventory.expire(unix_now());
        if !changes.is_empty() {
            self.news = self.news.max(News::Found);
        }
        self.keep(changes);
        self.handles.store.sweep(&self.inventory.digests_in_use(), unix_now());
    }

    fn keep(&self, changes: Vec<TagChange>) {
        if !changes.is_empty() {
            self.handles.store.keep(changes);
        }
    }
}

/// Keeps what a snapshot found out: bases, and what this shard counts.
fn keep_found(inventory: &mut Inventory, store: &Store) {
    store.remember_bases(inventory.bases_found());
    if let Some(counts) = inventory.own_counts() {
        store.tell(counts);
    }
}

/// A tenth of the time for which unreadable tags are kept, within bounds.
fn sweep_interval(keep: Duration) -> Duration {
    (keep / 10).clamp(SWEEP_INTERVAL_MIN, SWEEP_INTERVAL_MAX)
}

/// Restores the store's tags into the inventory. Returns the targets whose first scan can wait for its scheduled time,
/// since their values are complete.
fn restore(inventory: &mut Inventory, handles: &Handles) -> BTreeSet<TargetName> {
    let mut forgotten = Vec::new();
    handles.store.restore(|mut restored| {
        let known = &restored.record.known;
        // Without the header the first scan does not find the tag unchanged, and reads what is missing.
        if known.index_bytes > 0
            && let Some(Stored::Index(index)) = restored.document(&known.digest)
            && !scan::has_all_entries(known, index)
        {
            Arc::make_mut(&mut restored.record.known).header = None;
        }
        let image_of = |digest: &Digest| match restored.document(digest) {
            Some(Stored::Image(image)) => Some(Arc::clone(image)),
            _ => None,
        };
        forgotten.extend(inventory.restore(&restored.repository, &restored.tag, &restored.record, image_of));
    });
    if !forgotten.is_empty() {
        handles.store.keep(forgotten);
    }
    inventory
        .restored(|target, completeness| handles.store.has_scanned(&completed::scan_key(target, completeness)))
        .into_iter()
        .collect()
}

/// The rendering under way; pending while there is none.
async fn rendered(
    publishing: &mut Option<JoinHandle<(Publisher, Duration)>>,
) -> Result<(Publisher, Duration), JoinError> {
    match publishing {
        Some(handle) => handle.await,
        None => std::future::pending().await,
    }
}
