//! The families of the tail, in a fixed order, written with prometheus-client's encoders.
//!
//! Its `Family` is not used because it is a hash map: two scrapes of the same state would differ in order.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _, LabelSetEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::own::{BUILD, NotificationCounts, PullCounts, SourceState, TelemetryInner, TelemetryState};
use super::process::ProcessStats;
use crate::notify::{Failure, Kind};
use crate::oci::{Operation, Reason, Registry};
use crate::registry::{RateLimit, RegistryCounters};
use crate::target::Shard;

/// A sample's labels, in the order in which they are written.
struct LabelPairs<const N: usize>([(&'static str, Box<str>); N]);

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> LabelPairs<N> {
    LabelPairs(pairs.map(|(key, value)| (key, value.into())))
}

impl<const N: usize> EncodeLabelSet for LabelPairs<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), Error> {
        for (key, value) in &self.0 {
            prometheus_client::encoding::EncodeLabel::encode(&(*key, &**value), encoder.encode_label())?;
        }
        Ok(())
    }
}

impl Collector for TelemetryInner {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let state = self.state();
        build(&mut encoder)?;
        program(&mut encoder, &state)?;
        sources(&mut encoder, &state.sources)?;
        if let Some(counts) = &state.notifications {
            notifications(&mut encoder, counts)?;
        }
        drop(state);
        self.counters.read(|registries| self::registries(&mut encoder, registries))?;
        process(&mut encoder, self.process.read(), self.started)
    }
}

fn build(encoder: &mut DescriptorEncoder) -> Result<(), Error> {
    let build = labels([
        ("version", BUILD.version),
        ("revision", BUILD.revision),
        ("branch", BUILD.branch),
        ("rustversion", BUILD.rust_version),
    ]);
    gauges(
        encoder,
        "image_size_exporter_build_info",
        "1, with the program's build information as labels.",
        [(build, 1_u64)],
    )
}

fn program(encoder: &mut DescriptorEncoder, state: &TelemetryState) -> Result<(), Error> {
    let reload = state.reload.as_ref();
    gauge(
        encoder,
        "image_size_exporter_config_last_reload_successful",
        "1 when the last read of the configuration succeeded, 0 when it failed and the previous one is still in use.",
        reload.map(|reload| u64::from(reload.error.is_none())),
    )?;
    gauge(
        encoder,
        "image_size_exporter_config_last_reload_success_timestamp_seconds",
        "When the configuration in use was read.",
        reload.and_then(|reload| reload.last_success),
    )?;
    gauge(encoder, "image_size_exporter_series", "Number of series published of images.", state.series)?;
    gauge(
        encoder,
        "image_size_exporter_render_duration_seconds",
        "How long it last took to render what had changed of these series.",
        state.render_seconds,
    )?;
    gauge(
        encoder,
        "image_size_exporter_store_documents",
        "Number of manifests and configs that are stored by their digest.",
        state.store_documents,
    )?;
    gauge(
        encoder,
        "image_size_exporter_state_persistent",
        "1 while the configured state file or database is in use, 0 while what is read would be lost in a restart. Absent where none is configured.",
        state.persistent.as_ref().map(|persistent| u64::from(persistent.load(Ordering::Relaxed))),
    )?;
    shard(encoder, state.shard)
}

/// As kube-state-metrics says it, so that its users know the rules for it.
fn shard(encoder: &mut DescriptorEncoder, shard: Shard) -> Result<(), Error> {
    let number = shard.number();
    gauges(
        encoder,
        "image_size_exporter_shard_ordinal",
        "Which of the shards this exporter is, counted from 0, also as a label. 0 where it is the only one.",
        [(labels([("shard_ordinal", &*number.to_string())]), u64::from(number))],
    )?;
    gauge(
        encoder,
        "image_size_exporter_total_shards",
        "How many shards there are, according to this exporter's flags.",
        Some(u64::from(shard.total())),
    )
}

fn sources(encoder: &mut DescriptorEncoder, sources: &[SourceState]) -> Result<(), Error> {
    gauges(
        encoder,
        "image_size_exporter_source_up",
        "1 while the source answers, 0 while it does not and what it last said stays. Absent before its first answer or failure.",
        of_sources(sources, |source| source.up.map(u64::from)),
    )?;
    gauges(
        encoder,
        "image_size_exporter_source_images",
        "Distinct images of the containers that the source sees, without those that the configuration leaves out. Absent before its first answer.",
        of_sources(sources, |source| source.images),
    )?;
    gauges(
        encoder,
        "image_size_exporter_source_skipped_containers",
        "Containers that the source sees and that are not counted: their image is no reference, or they are beyond a limit. Absent before its first answer, and in shards other than the first.",
        of_sources(sources, |source| source.skipped),
    )?;
    gauges(
        encoder,
        "image_size_exporter_source_last_success_timestamp_seconds",
        "When the source last answered, or was known to be unchanged. Absent before its first answer.",
        of_sources(sources, |source| source.last_success),
    )
}

fn of_sources<V>(
    sources: &[SourceState],
    value: fn(&SourceState) -> Option<V>,
) -> impl Iterator<Item = (LabelPairs<1>, V)> {
    sources.iter().filter_map(move |source| Some((labels([("source", &*source.name.0)]), value(source)?)))
}

fn notifications(encoder: &mut DescriptorEncoder, counts: &NotificationCounts) -> Result<(), Error> {
    counters(
        encoder,
        "image_size_exporter_notifications",
        "Notifications that registries sent, refused ones included.",
        Kind::ALL.into_iter().zip(counts.received).map(|(kind, count)| (labels([("kind", kind.as_str())]), count)),
    )?;
    counters(
        encoder,
        "image_size_exporter_notification_failures",
        "Notifications that were refused.",
        Kind::ALL.into_iter().zip(counts.failures).flat_map(|(kind, failures)| {
            Failure::ALL
                .into_iter()
                .zip(failures)
                .map(move |(failure, count)| (labels([("kind", kind.as_str()), ("reason", failure.as_str())]), count))
        }),
    )?;
    gauges(
        encoder,
        "image_size_exporter_last_notification_timestamp_seconds",
        "When the last notification was accepted. Absent before the first one.",
        Kind::ALL.into_iter().zip(counts.last).filter_map(|(kind, at)| Some((labels([("kind", kind.as_str())]), at?))),
    )?;
    let pulls = |value: fn(&PullCounts) -> u64| {
        counts.pulls.iter().map(move |(repository, counts)| {
            let pairs = [("registry", repository.registry().as_str()), ("repository", repository.name())];
            (labels(pairs), value(counts))
        })
    };
    counters(
        encoder,
        "container_image_repository_pulls",
        "Pulls of images and artifacts of the repository, according to the registry's notifications since the start.",
        pulls(|counts| counts.images),
    )?;
    counters(
        encoder,
        "container_image_repository_pulled_bytes",
        "Bytes of manifests and blobs pulled from the repository, according to the registry's notifications since the start.",
        pulls(|counts| counts.bytes),
    )
}

fn registries(encoder: &mut DescriptorEncoder, registries: &BTreeMap<Registry, RegistryCounters>) -> Result<(), Error> {
    counters(
        encoder,
        "image_size_exporter_registry_requests",
        "Requests to the registry, failed ones included.",
        registries.iter().flat_map(|(registry, counts)| {
            Operation::ALL.into_iter().zip(&counts.requests).map(|(operation, count)| {
                (labels([("registry", registry.as_str()), ("operation", operation.as_str())]), count.get())
            })
        }),
    )?;
    counters(
        encoder,
        "image_size_exporter_registry_request_failures",
        "Requests to the registry that failed. A challenge to authenticate is no failure.",
        registries.iter().flat_map(|(registry, counts)| {
            let operations = Operation::ALL.into_iter().zip(&counts.failures);
            operations.flat_map(move |(operation, failures)| {
                Reason::ALL.into_iter().zip(failures).map(move |(reason, count)| {
                    let pairs = [
                        ("registry", registry.as_str()),
                        ("operation", operation.as_str()),
                        ("reason", reason.as_str()),
                    ];
                    (labels(pairs), count.get())
                })
            })
        }),
    )?;
    if !registries.is_empty() {
        let mut family = encoder.encode_descriptor(
            "image_size_exporter_registry_request_duration_seconds",
            "How long requests to the registry took.",
            None,
            MetricType::Histogram,
        )?;
        for (registry, counts) in registries {
            counts.duration.encode(family.encode_family(&labels([("registry", registry.as_str())]))?)?;
        }
    }
    let ratelimits = |value: fn(&RateLimit) -> Option<u64>| {
        registries.iter().filter_map(move |(registry, counts)| {
            Some((labels([("registry", registry.as_str())]), value(counts.ratelimit.as_ref()?)?))
        })
    };
    gauges(
        encoder,
        "image_size_exporter_registry_ratelimit_limit",
        "Metered pulls that the registry allows per window, by the last answer that had it.",
        ratelimits(|ratelimit| ratelimit.limit),
    )?;
    gauges(
        encoder,
        "image_size_exporter_registry_ratelimit_remaining",
        "Metered pulls left in the window, by the last answer that had it.",
        ratelimits(|ratelimit| ratelimit.remaining),
    )?;
    gauges(
        encoder,
        "image_size_exporter_registry_ratelimit_window_seconds",
        "Length of the window in which the registry counts metered pulls.",
        ratelimits(|ratelimit| ratelimit.window_secs),
    )?;
    gauges(
        encoder,
        "image_size_exporter_registry_requests_per_second_limit",
        "Limit on requests per second to the registry, learnt from its 429 answers. Absent before the first one.",
        registries
            .iter()
            .filter_map(|(registry, counts)| Some((labels([("registry", registry.as_str())]), counts.learnt_rate?))),
    )?;
    let expiry = |(registry, counts): (&crate::oci::Registry, &RegistryCounters)| {
        Some((labels([("registry", registry.as_str())]), counts.credential_expiry?))
    };
    gauges(
        encoder,
        "image_size_exporter_registry_credential_expiry_timestamp_seconds",
        "When the login of a cloud's identity for the registry ends. It is renewed when it is needed. Absent for other credentials.",
        registries.iter().filter_map(expiry),
    )
}

fn process(encoder: &mut DescriptorEncoder, process: ProcessStats, started: f64) -> Result<(), Error> {
    if let Some(seconds) = process.cpu_seconds {
        let help = "Total user and system CPU time spent in seconds.";
        let family = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(seconds).encode(family)?;
    }
    gauge(encoder, "process_open_fds", "Number of open file descriptors.", process.open_fds)?;
    gauge(encoder, "process_max_fds", "Maximum number of open file descriptors.", process.max_fds)?;
    gauge(encoder, "process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_bytes)?;
    gauge(
        encoder,
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        process.virtual_max_bytes,
    )?;
    gauge(encoder, "process_resident_memory_bytes", "Resident memory size in bytes.", process.resident_bytes)?;
    gauge(encoder, "process_threads", "Number of OS threads in the process.", process.threads)?;
    gauge(
        encoder,
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Some(started),
    )
}

fn gauge<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: Option<V>,
) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// A family of gauges; no HELP and TYPE either where it has no sample.
fn gauges<const N: usize, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (LabelPairs<N>, V)>,
) -> Result<(), Error> {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    samples.try_for_each(|(labels, value)| ConstGauge::new(value).encode(family.encode_family(&labels)?))
}

/// A family of counters, named without `_total`, which is appended; no HELP and TYPE either where it has no sample.
fn counters<const N: usize, V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (LabelPairs<N>, V)>,
) -> Result<(), Error> {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    samples.try_for_each(|(labels, value)| ConstCounter::new(value).encode(family.encode_family(&labels)?))
}
