//! The program's own metrics: what it asked of registries, how its scans went, what it costs. They are the tail of
//! every answer to a scrape; what is published of images is rendered elsewhere, in `exposition`.
//!
//! Everything known beforehand starts at 0 (a registry's counters, for every operation and reason), and what goes
//! from the configuration goes from here: no series lingers.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::clock::unix_now;
use crate::image::Timestamp;
use crate::oci::{Operation, Reason, Registry};
use crate::target::{Target, TargetName};

use super::format::{self, Format};
use super::process;

/// What this program was built from: `--version` and the `build_info` metric.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    branch: env!("BUILD_BRANCH"),
    rust_version: env!("BUILD_RUST"),
};

/// Upper bounds of the buckets of request durations, in seconds: from a registry next door to the default timeout.
const REQUEST_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What a program was built from; `unknown` where the build could not tell.
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

/// The program's own metrics. Shared by all that have something to count.
#[derive(Debug)]
pub struct Telemetry {
    inner: Arc<Inner>,
    /// Encodes `inner` and nothing else.
    registry: prometheus_client::registry::Registry,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) started: Timestamp,
    /// Held for a few additions, or while the tail is written; never across an await.
    pub(crate) state: Mutex<State>,
    pub(crate) process: process::Recent,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) registries: BTreeMap<Registry, Counts>,
    /// Whether `registries` are all that count: those of targets. Before targets are set, whoever asks counts any.
    pub(crate) closed: bool,
    /// In the configuration's order.
    pub(crate) targets: Vec<TargetState>,
    pub(crate) reload: Option<Reload>,
    pub(crate) series: Option<u64>,
    pub(crate) render_seconds: Option<f64>,
    pub(crate) store_documents: Option<u64>,
    pub(crate) persistent: Option<Arc<AtomicBool>>,
}

/// What was counted of one registry.
#[derive(Debug)]
pub(crate) struct Counts {
    /// By operation, in the order of [`Operation::ALL`].
    pub(crate) requests: [Counter; Operation::ALL.len()],
    /// By operation and reason, in the order of [`Reason::ALL`].
    pub(crate) failures: [[Counter; Reason::ALL.len()]; Operation::ALL.len()],
    pub(crate) duration: Histogram,
    pub(crate) ratelimit: Option<RateLimit>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reload {
    pub(crate) ok: bool,
    pub(crate) last_success: Option<Timestamp>,
}

/// What a registry says of its metered pulls (`ratelimit-limit` and `ratelimit-remaining` headers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Pulls per window.
    pub limit: Option<u64>,
    /// Pulls left.
    pub remaining: Option<u64>,
    /// The window's length in seconds.
    pub window_secs: Option<u64>,
}

/// How a scan of a target ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanEnd {
    /// When.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// Whether it read everything that the target means.
    pub up: bool,
}

/// What is known of a target: a row of the landing page's table.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetState {
    /// The target's name.
    pub name: TargetName,
    /// Time between the starts of two scans.
    pub interval: Duration,
    /// Its last completed scan; none before the first ended.
    pub last: Option<ScanEnd>,
}

impl Telemetry {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let started = unix_now();
        let inner = Arc::new(Inner { started, state: Mutex::default(), process: process::Recent::default() });
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Arc::clone(&inner)));
        Self { inner, registry }
    }

    /// Publishes the registry's counters from 0 on, if they are not published yet. Once targets are set, only the
    /// registries that they are on have counters.
    pub fn add_registry(&self, registry: &Registry) {
        self.inner.state().counts(registry);
    }

    /// Counts a request that was answered, or failed, after `elapsed`.
    pub fn request(&self, registry: &Registry, operation: Operation, elapsed: Duration) {
        let mut state = self.inner.state();
        let Some(counts) = state.counts(registry) else { return };
        counts.requests[operation as usize].inc();
        counts.duration.observe(elapsed.as_secs_f64());
    }

    /// Counts the failure of a request, beside the request itself.
    pub fn request_failed(&self, registry: &Registry, operation: Operation, reason: Reason) {
        if let Some(counts) = self.inner.state().counts(registry) {
            counts.failures[operation as usize][reason as usize].inc();
        }
    }

    /// Publishes what the registry last said of its metered pulls. What it did not say this time stays.
    pub fn ratelimit(&self, registry: &Registry, ratelimit: RateLimit) {
        let mut state = self.inner.state();
        let Some(counts) = state.counts(registry) else { return };
        let known = counts.ratelimit.get_or_insert_default();
        known.limit = ratelimit.limit.or(known.limit);
        known.remaining = ratelimit.remaining.or(known.remaining);
        known.window_secs = ratelimit.window_secs.or(known.window_secs);
    }

    /// The targets of the configuration that is in use from now on. Those that stay keep their last scan; the
    /// series of others vanish, and so do the counters of registries that no target is on any more, whatever is still
    /// under way there.
    pub fn set_targets(&self, targets: &[Arc<Target>]) {
        let mut state = self.inner.state();
        state.registries.retain(|registry, _| targets.iter().any(|target| target.repositories.registry() == registry));
        for target in targets {
            // One that was dropped and comes back starts from 0, as any other.
            state.registries.entry(target.repositories.registry().clone()).or_default();
        }
        state.closed = true;
        let last: BTreeMap<_, _> = state.targets.drain(..).map(|target| (target.name, target.last)).collect();
        state.targets = targets
            .iter()
            .map(|target| TargetState {
                name: target.name.clone(),
                interval: target.interval,
                last: last.get(&target.name).copied().flatten(),
            })
            .collect();
    }

    /// A scan of a target is complete. Of a target that is not configured any more nothing is kept.
    pub fn scan_ended(&self, name: &TargetName, end: ScanEnd) {
        let mut state = self.inner.state();
        if let Some(target) = state.targets.iter_mut().find(|target| target.name == *name) {
            target.last = Some(end);
        }
    }

    /// The targets in the configuration's order, for people to read.
    pub fn target_states(&self) -> Vec<TargetState> {
        self.inner.state().targets.clone()
    }

    /// The configuration was read, at the start or again, or could not be.
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        let mut state = self.inner.state();
        let before = state.reload.and_then(|reload| reload.last_success);
        state.reload = Some(Reload { ok, last_success: if ok { Some(at) } else { before } });
    }

    /// The series of images were rendered.
    pub fn rendered(&self, elapsed: Duration, series: u64) {
        self.publish(elapsed, series, &BTreeMap::new(), || ());
    }

    /// The same, where `swap` makes the rendered bytes current and `scans` are the last ones of targets. Both change
    /// while no tail is encoded, so that bytes which are current before and after [`encode`](Self::encode) belong to what
    /// it encoded.
    pub(crate) fn publish<T>(
        &self,
        elapsed: Duration,
        series: u64,
        scans: &BTreeMap<TargetName, ScanEnd>,
        swap: impl FnOnce() -> T,
    ) -> T {
        let mut state = self.inner.state();
        state.render_seconds = Some(elapsed.as_secs_f64());
        state.series = Some(series);
        for target in &mut state.targets {
            target.last = scans.get(&target.name).copied().or(target.last);
        }
        swap()
    }

    /// How many documents the store has.
    pub fn set_store_documents(&self, documents: u64) {
        self.inner.state().store_documents = Some(documents);
    }

    /// Publishes from now on whether the state file is in use, as `persistent` has it; nothing of one that is not
    /// configured.
    pub fn watch_state(&self, persistent: Option<Arc<AtomicBool>>) {
        self.inner.state().persistent = persistent;
    }

    /// All of it and the state of the process, in the given format, without the format's end.
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
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// A panic elsewhere leaves nothing half done here: the state is usable.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// None of a registry that no target is on.
    fn counts(&mut self, registry: &Registry) -> Option<&mut Counts> {
        if !self.closed && !self.registries.contains_key(registry) {
            self.registries.insert(registry.clone(), Counts::default());
        }
        self.registries.get_mut(registry)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            failures: Default::default(),
            duration: Histogram::new(REQUEST_SECONDS),
            ratelimit: None,
        }
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
    use crate::target::{Detail, Repositories, Selection, Uncompressed};

    fn target(name: &str, interval_secs: u64) -> Arc<Target> {
        Arc::new(Target {
            name: TargetName(name.into()),
            repositories: Repositories::One("docker.io/library/alpine".parse().unwrap()),
            selection: Selection::default(),
            newest: None,
            platforms: crate::oci::PlatformFilter::all(),
            interval: Duration::from_secs(interval_secs),
            uncompressed: Uncompressed::Off,
            detail: Detail::Images,
            budget_bytes: None,
            labels: BTreeMap::new(),
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
    fn enums_index_their_counters() {
        assert!(Operation::ALL.iter().enumerate().all(|(index, operation)| *operation as usize == index));
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }

    #[test]
    fn known_counters_start_at_zero() {
        let telemetry = Telemetry::new();
        telemetry.add_registry(&"quay.io".parse().unwrap());
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
        let telemetry = Telemetry::new();
        let hub = Registry::docker_hub();
        telemetry.request(&hub, Operation::GetManifest, Duration::from_millis(40));
        telemetry.request_failed(&hub, Operation::GetManifest, Reason::Timeout);
        telemetry.ratelimit(&hub, RateLimit { limit: Some(100), remaining: Some(76), window_secs: Some(21600) });
        telemetry.ratelimit(&hub, RateLimit { remaining: Some(75), ..RateLimit::default() });
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
    fn the_series_of_a_removed_target_vanish_and_others_keep_their_last_scan() {
        let telemetry = Telemetry::new();
        telemetry.set_targets(&[target("a", 300), target("b", 60)]);
        let end = ScanEnd { at: 1.5, duration: Duration::from_secs(2), up: true };
        for name in ["a", "b", "never configured"] {
            telemetry.scan_ended(&TargetName(name.into()), end);
        }
        telemetry.set_targets(&[target("b", 30), target("c", 300)]);
        let states: Vec<_> = telemetry.target_states().into_iter().map(|t| (t.name.to_string(), t.last)).collect();
        assert_eq!(states, [("b".to_owned(), Some(end)), ("c".to_owned(), None)]);
        let about_targets: Vec<_> = lines(&telemetry, Format::Text)
            .into_iter()
            .filter(|line| line.starts_with("image_size_exporter_target_"))
            .collect();
        assert_eq!(
            about_targets,
            [
                r#"image_size_exporter_target_up{target="b"} 1"#,
                r#"image_size_exporter_target_last_scan_timestamp_seconds{target="b"} 1.5"#,
                r#"image_size_exporter_target_last_scan_duration_seconds{target="b"} 2.0"#,
                r#"image_size_exporter_target_interval_seconds{target="b"} 30.0"#,
                r#"image_size_exporter_target_interval_seconds{target="c"} 300.0"#,
            ]
        );
    }

    #[test]
    fn the_counters_of_a_registry_without_targets_vanish() {
        let telemetry = Telemetry::new();
        let (hub, quay): (_, Registry) = (Registry::docker_hub(), "quay.io".parse().unwrap());
        for registry in [&hub, &quay] {
            telemetry.request(registry, Operation::GetManifest, Duration::from_millis(40));
        }
        telemetry.set_targets(&[target("a", 300)]);
        assert!(has(
            &telemetry,
            r#"image_size_exporter_registry_requests_total{registry="docker.io",operation="get_manifest"} 1"#
        ));
        assert!(!lines(&telemetry, Format::Text).iter().any(|line| line.contains("quay.io")));
        // Nor do they come back with the end of a request that was under way.
        telemetry.request(&quay, Operation::GetManifest, Duration::from_millis(40));
        telemetry.request_failed(&quay, Operation::GetManifest, Reason::Timeout);
        telemetry.ratelimit(&quay, RateLimit::default());
        telemetry.add_registry(&quay);
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
        let telemetry = Telemetry::new();
        assert!(!lines(&telemetry, Format::Text).iter().any(|line| line.contains("reload")));
        telemetry.reloaded(true, 10.0);
        telemetry.reloaded(false, 20.0);
        assert!(has(&telemetry, "image_size_exporter_config_last_reload_successful 0"));
        assert!(has(&telemetry, "image_size_exporter_config_last_reload_success_timestamp_seconds 10.0"));
    }

    #[test]
    fn the_state_file_is_watched_where_one_is_configured() {
        let telemetry = Telemetry::new();
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
    fn a_target_may_have_any_name() {
        let telemetry = Telemetry::new();
        telemetry.set_targets(&[target("a\"b\\c\nd é", 1)]);
        assert!(has(&telemetry, r#"image_size_exporter_target_interval_seconds{target="a\"b\\c\nd é"} 1.0"#));
    }

    #[test]
    fn the_process_is_described_and_no_help_is_missing() {
        let telemetry = Telemetry::new();
        telemetry.add_registry(&Registry::docker_hub());
        let lines = lines(&telemetry, Format::Text);
        for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_start_time_seconds "] {
            assert!(lines.iter().any(|line| line.starts_with(name)), "{name}");
        }
        assert!(lines.iter().any(|line| line == "# TYPE process_cpu_seconds_total counter"));
        let help = lines.iter().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(help, lines.iter().filter(|line| line.starts_with("# TYPE")).count());
    }
}
