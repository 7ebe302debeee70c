//! The program's own metrics: requests to registries, scans, the process. They are the tail of every scrape; the
//! series of images are rendered elsewhere, in `rendered`.
//!
//! Counters with known labels start at 0 (a registry's, for every operation and reason). The series of a target or
//! registry that leaves the configuration disappear.

mod failures;
mod notifications;
mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::encoding::text::encode_registry;

use crate::clock::unix_now;
use crate::image::Timestamp;
use crate::inventory::Selected;
use crate::notify::{Failure, Kind};
use crate::oci::{Registry, Repository};
use crate::registry::Counters;
use crate::target::{Shard, Target, TargetName};

use super::format::{self, Format};
use super::process;

pub use failures::{ScanFailure, ScanFailures, ScanTrouble};
pub(crate) use notifications::{NotificationCounts, PullCounts};
pub use sources::SourceState;

/// This program's build: `--version` and the `build_info` metric.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    branch: env!("BUILD_BRANCH"),
    rust_version: env!("BUILD_RUST"),
};

/// A program's build; `unknown` where it could not be determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The commit.
    pub revision: &'static str,
    /// The branch.
    pub branch: &'static str,
    /// The compiler's version.
    pub rust_version: &'static str,
}

/// The program's own metrics. Shared by every task that counts something.
#[derive(Debug)]
pub struct Telemetry {
    inner: Arc<TelemetryInner>,
    /// Encodes `inner` alone.
    registry: prometheus_client::registry::Registry,
}

#[derive(Debug)]
pub(crate) struct TelemetryInner {
    pub(crate) started: Timestamp,
    /// The counters of registries' clients.
    pub(crate) counters: Arc<Counters>,
    /// Held for a few additions, or while the tail is written; never across an await.
    pub(crate) state: Mutex<TelemetryState>,
    pub(crate) process: process::ProcessReader,
}

#[derive(Debug, Default)]
pub(crate) struct TelemetryState {
    /// In the configuration's order.
    pub(crate) targets: Vec<TargetState>,
    /// The registries of these.
    pub(crate) registries: BTreeSet<Registry>,
    /// By name.
    pub(crate) sources: Vec<SourceState>,
    pub(crate) reload: Option<LastReload>,
    pub(crate) series: Option<u64>,
    pub(crate) render_seconds: Option<f64>,
    pub(crate) store_documents: Option<u64>,
    pub(crate) persistent: Option<Arc<AtomicBool>>,
    pub(crate) shard: Shard,
    /// `None`: there is no endpoint for notifications.
    pub(crate) notifications: Option<NotificationCounts>,
}

/// The last time that the configuration was read, at the start or in a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct LastReload {
    /// When.
    pub at: Timestamp,
    /// Why it could not be used, as in the log.
    pub error: Option<String>,
    /// When it last could.
    pub last_success: Option<Timestamp>,
}

/// How a scan of a target ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanEnd {
    /// When.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// Whether it read every selected tag.
    pub up: bool,
}

/// A target and its last scan: a row of the page's table.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetState {
    /// The target's name.
    pub name: TargetName,
    /// Time between the starts of two scans.
    pub interval: Duration,
    /// Its last completed scan; none before the first ended.
    pub last: Option<ScanEnd>,
    /// What it selects; none before its lists were read to their ends.
    pub selected: Option<Selected>,
    /// What failed.
    pub trouble: ScanTrouble,
}

impl Telemetry {
    /// Publishes `counters` beside its own metrics.
    pub fn new(counters: Arc<Counters>) -> Self {
        let (started, process) = (unix_now(), process::ProcessReader::default());
        let inner = Arc::new(TelemetryInner { started, counters, state: Mutex::default(), process });
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Arc::clone(&inner)));
        Self { inner, registry }
    }

    /// Sets the configured targets. Those that stay keep their last scan; the series of others disappear, and so do the
    /// counters of registries without targets, whatever is still under way there.
    pub fn set_targets(&self, targets: &[Arc<Target>]) {
        let mut state = self.inner.state();
        state.registries = targets.iter().filter_map(|target| target.repositories.registry().cloned()).collect();
        self.inner.counters.watch(&state.registries);
        let mut last: BTreeMap<_, _> =
            state.targets.drain(..).map(|target| (target.name, (target.last, target.trouble))).collect();
        state.targets = targets
            .iter()
            .map(|target| {
                let (last, trouble) = last.remove(&target.name).unwrap_or_default();
                let (name, interval) = (target.name.clone(), target.interval);
                TargetState { name, interval, last, selected: None, trouble }
            })
            .collect();
    }

    /// Notes the end of a target's scan. Ignored when the target is no longer configured.
    pub fn scan_ended(&self, name: &TargetName, end: ScanEnd) {
        let mut state = self.inner.state();
        if let Some(target) = state.targets.iter_mut().find(|target| target.name == *name) {
            target.last = Some(end);
        }
    }

    /// Notes the failures of a target's scan, and what else the log says of it.
    pub fn scan_failed(&self, name: &TargetName, failures: Option<ScanFailures>, remarks: Vec<String>) {
        let mut state = self.inner.state();
        let Some(target) = state.targets.iter_mut().find(|target| target.name == *name) else { return };
        if let Some(failures) = failures {
            target.trouble.failures = Some(Arc::new(failures));
        }
        if *target.trouble.remarks != *remarks {
            target.trouble.remarks = remarks.into();
        }
    }

    /// What the targets select now; a target that is not among them may select more than is known.
    pub fn set_selected(&self, selected: &HashMap<TargetName, Selected>) {
        for target in &mut self.inner.state().targets {
            target.selected = selected.get(&target.name).copied();
        }
    }

    /// The targets in the configuration's order.
    pub fn target_states(&self) -> Vec<TargetState> {
        self.inner.state().targets.clone()
    }

    /// Notes whether the configuration could be read, at the start or in a reload.
    pub fn reloaded(&self, result: Result<(), &str>, at: Timestamp) {
        let mut state = self.inner.state();
        let before = state.reload.as_ref().and_then(|reload| reload.last_success);
        let last_success = if result.is_ok() { Some(at) } else { before };
        state.reload = Some(LastReload { at, error: result.err().map(str::to_owned), last_success });
    }

    /// The last time that the configuration was read.
    pub fn last_reload(&self) -> Option<LastReload> {
        self.inner.state().reload.clone()
    }

    /// Notes a rendering.
    pub fn rendered(&self, elapsed: Duration, series: u64) {
        let mut state = self.inner.state();
        state.render_seconds = Some(elapsed.as_secs_f64());
        state.series = Some(series);
    }

    /// Sets the number of documents in the store.
    pub fn set_store_documents(&self, documents: u64) {
        self.inner.state().store_documents = Some(documents);
    }

    /// Says which of several exporters this is.
    pub fn set_shard(&self, shard: Shard) {
        self.inner.state().shard = shard;
    }

    /// Which of several exporters this is.
    pub fn shard(&self) -> Shard {
        self.inner.state().shard
    }

    /// Publishes from now on whether the state file is in use. `None`: no state file is configured, and the metric is
    /// absent.
    pub fn watch_state(&self, persistent: Option<Arc<AtomicBool>>) {
        self.inner.state().persistent = persistent;
    }

    /// Counts notifications from now on, or no more. Those that are counted already keep their counts.
    pub fn watch_notifications(&self, is_open: bool) {
        let notifications = &mut self.inner.state().notifications;
        *notifications = notifications.take().filter(|_| is_open).or_else(|| is_open.then(Default::default));
    }

    /// Counts a notification, and why it was refused if it was.
    pub fn notified(&self, kind: Kind, failure: Option<Failure>) {
        if let Some(counts) = &mut self.inner.state().notifications {
            counts.notified(kind, failure, unix_now());
        }
    }

    /// Counts pulls of a selected repository: images and artifacts, and bytes of manifests and blobs.
    pub fn pulled(&self, repository: &Repository, images: u64, bytes: u64) {
        if let Some(counts) = &mut self.inner.state().notifications {
            counts.pulled(repository, images, bytes);
        }
    }

    /// Forgets the pulls of repositories that are not selected any more.
    pub fn retain_pulls(&self, is_selected: impl Fn(&Repository) -> bool) {
        if let Some(counts) = &mut self.inner.state().notifications {
            counts.pulls.retain(|repository, _| is_selected(repository));
        }
    }

    /// All metrics and those of the process, in the given format, without the format's end.
    pub fn encode(&self, format: Format) -> Vec<u8> {
        match format {
            Format::OpenMetrics => self.open_metrics().into_bytes(),
            Format::Text => format::to_text(&self.open_metrics()).into_bytes(),
        }
    }

    fn open_metrics(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        encode_registry(&mut text, &self.registry).expect("writing into a string does not fail");
        text
    }
}

impl Default for Telemetry {
    /// Without any registry.
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl TelemetryInner {
    pub(crate) fn state(&self) -> MutexGuard<'_, TelemetryState> {
        self.state.lock()
    }
}

impl std::fmt::Display for Build {
    /// As Prometheus programs answer `--version`, after their name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {} (branch: {}, revision: {})", self.version, self.branch, self.revision)?;
        write!(f, "\n  rust version:     {}", self.rust_version)?;
        write!(f, "\n  platform:         {}/{}", std::env::consts::OS, std::env::consts::ARCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Operation, Reason, Registry};
    use crate::registry::RateLimit;
    use crate::target::{Detail, Repositories, Selection, Uncompressed};

    fn target(name: &str, interval_secs: u64) -> Arc<Target> {
        Arc::new(Target {
            name: TargetName(name.into()),
            repositories: Repositories::one("docker.io/library/alpine".parse().unwrap()),
            selection: Selection::default(),
            newest: None,
            platforms: crate::oci::PlatformFilter::all(),
            interval: Duration::from_secs(interval_secs),
            uncompressed: Uncompressed::Off,
            detail: Detail::Images,
            budget_bytes: None,
            labels: BTreeMap::new(),
            grouping: None,
            tags_max: 1,
        })
    }

    fn lines(telemetry: &Telemetry, format: Format) -> Vec<String> {
        String::from_utf8(telemetry.encode(format)).unwrap().lines().map(str::to_owned).collect()
    }

    fn has(telemetry: &Telemetry, line: &str) -> bool {
        lines(telemetry, Format::OpenMetrics).iter().any(|has| has == line)
    }

    #[test]
    fn known_counters_start_at_zero() {
        let telemetry = Telemetry::default();
        telemetry.inner.counters.watch(&["quay.io".parse().unwrap()]);
        for operation in Operation::ALL {
            let labels = format!(r#"{{registry="quay.io",operation="{}""#, operation.as_str());
            assert!(has(&telemetry, &format!("image_size_exporter_registry_requests_total{labels}}} 0")));
            for reason in Reason::ALL {
                let line = format!(
                    r#"image_size_exporter_registry_request_failures_total{labels},reason="{}"}} 0"#,
                    reason.as_str()
                );
                assert!(has(&telemetry, &line), "{line}");
            }
        }
        assert!(has(
            &telemetry,
            r#"image_size_exporter_registry_request_duration_seconds_count{registry="quay.io"} 0"#
        ));
    }

    #[test]
    fn requests_failures_and_ratelimits_are_published() {
        let telemetry = Telemetry::default();
        let hub = Registry::docker_hub();
        telemetry.inner.counters.request(&hub, Operation::GetManifest, Duration::from_millis(40));
        telemetry.inner.counters.request_failed(&hub, Operation::GetManifest, Reason::Timeout);
        telemetry
            .inner
            .counters
            .ratelimit(&hub, RateLimit { limit: Some(100), remaining: Some(76), window_secs: Some(21600) });
        telemetry.inner.counters.ratelimit(&hub, RateLimit { remaining: Some(75), ..RateLimit::default() });
        for line in [
            r#"image_size_exporter_registry_requests_total{registry="docker.io",operation="get_manifest"} 1"#,
            r#"image_size_exporter_registry_request_failures_total{registry="docker.io",operation="get_manifest",reason="timeout"} 1"#,
            r#"image_size_exporter_registry_request_duration_seconds_bucket{le="0.025",registry="docker.io"} 0"#,
            r#"image_size_exporter_registry_request_duration_seconds_bucket{le="0.05",registry="docker.io"} 1"#,
            r#"image_size_exporter_registry_ratelimit_limit{registry="docker.io"} 100"#,
            r#"image_size_exporter_registry_ratelimit_remaining{registry="docker.io"} 75"#,
            r#"image_size_exporter_registry_ratelimit_window_seconds{registry="docker.io"} 21600"#,
        ] {
            assert!(has(&telemetry, line), "{line}");
        }
    }

    #[test]
    fn a_removed_target_is_forgotten_and_others_keep_their_last_scan() {
        let telemetry = Telemetry::default();
        telemetry.set_targets(&[target("a", 300), target("b", 60)]);
        let end = ScanEnd { at: 1.5, duration: Duration::from_secs(2), up: true };
        for name in ["a", "b", "never configured"] {
            telemetry.scan_ended(&TargetName(name.into()), end);
        }
        telemetry.set_targets(&[target("b", 30), target("c", 300)]);
        let states: Vec<_> = telemetry.target_states().into_iter().map(|t| (t.name.to_string(), t.last)).collect();
        assert_eq!(states, [("b".to_owned(), Some(end)), ("c".to_owned(), None)]);
    }

    #[test]
    fn the_counters_of_a_registry_without_targets_vanish() {
        let telemetry = Telemetry::default();
        let (hub, quay): (_, Registry) = (Registry::docker_hub(), "quay.io".parse().unwrap());
        for registry in [&hub, &quay] {
            telemetry.inner.counters.request(registry, Operation::GetManifest, Duration::from_millis(40));
        }
        telemetry.set_targets(&[target("a", 300)]);
        assert!(has(
            &telemetry,
            r#"image_size_exporter_registry_requests_total{registry="docker.io",operation="get_manifest"} 1"#
        ));
        assert!(!lines(&telemetry, Format::Text).iter().any(|line| line.contains("quay.io")));
        // Nor do they reappear when a request under way ends.
        telemetry.inner.counters.request(&quay, Operation::GetManifest, Duration::from_millis(40));
        telemetry.inner.counters.request_failed(&quay, Operation::GetManifest, Reason::Timeout);
        telemetry.inner.counters.ratelimit(&quay, RateLimit::default());
        assert!(!lines(&telemetry, Format::Text).iter().any(|line| line.contains("quay.io")));
        telemetry.set_targets(&[]);
        assert!(!lines(&telemetry, Format::Text).iter().any(|line| line.contains("docker.io")));
        telemetry.set_targets(&[target("a", 300)]);
        assert!(has(
            &telemetry,
            r#"image_size_exporter_registry_requests_total{registry="docker.io",operation="get_manifest"} 0"#
        ));
    }

    #[test]
    fn a_failed_reload_keeps_the_time_of_the_last_good_one() {
        let telemetry = Telemetry::default();
        assert!(!lines(&telemetry, Format::Text).iter().any(|line| line.contains("reload")));
        telemetry.reloaded(Ok(()), 10.0);
        telemetry.reloaded(Err("no"), 20.0);
        assert!(has(&telemetry, "image_size_exporter_config_last_reload_successful 0"));
        assert!(has(&telemetry, "image_size_exporter_config_last_reload_success_timestamp_seconds 10.0"));
    }

    #[test]
    fn the_state_file_is_watched_where_one_is_configured() {
        let telemetry = Telemetry::default();
        let is_there = || lines(&telemetry, Format::Text).iter().any(|line| line.contains("state_persistent"));
        assert!(!is_there());
        let persistent = Arc::new(AtomicBool::new(true));
        telemetry.watch_state(Some(Arc::clone(&persistent)));
        assert!(has(&telemetry, "image_size_exporter_state_persistent 1"));
        persistent.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(has(&telemetry, "image_size_exporter_state_persistent 0"));
        telemetry.watch_state(None);
        assert!(!is_there());
    }

    #[test]
    fn an_exporter_says_which_shard_it_is() {
        let telemetry = Telemetry::default();
        let says = |number: &str, total: &str| {
            let ordinal = format!(r#"image_size_exporter_shard_ordinal{{shard_ordinal="{number}"}} {number}"#);
            has(&telemetry, &ordinal) && has(&telemetry, &format!("image_size_exporter_total_shards {total}"))
        };
        assert!(says("0", "1"));
        telemetry.set_shard(Shard::new(2, 3).unwrap());
        assert!(says("2", "3"));
    }

    #[test]
    fn the_process_is_described_and_no_help_is_missing() {
        let telemetry = Telemetry::default();
        telemetry.inner.counters.watch(&[Registry::docker_hub()]);
        let lines = lines(&telemetry, Format::Text);
        for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_start_time_seconds "] {
            assert!(lines.iter().any(|line| line.starts_with(name)), "{name}");
        }
        assert!(lines.iter().any(|line| line == "# TYPE process_cpu_seconds_total counter"));
        let help = lines.iter().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(help, lines.iter().filter(|line| line.starts_with("# TYPE")).count());
    }
}
