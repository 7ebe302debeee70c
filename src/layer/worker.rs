//! The layer worker: finds layers' uncompressed sizes beside the scans, without delaying them.
//!
//! Each layer is measured once: the result is stored under its digest and, where known, under the digest of its tar, so
//! that a tar compressed twice is read once. A broken layer is stored too. A failure of the registry is retried, less
//! and less often.

use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::budget::Budget;
use super::error::MeasureError;
use super::estimate::Estimate;
use super::measure::Measured;
use super::probe::{ProbeError, SociIndexes};
use super::results::{Remembered, Results};
use super::stream::StreamError;
use super::unpack::Wanted;
use super::waste::Waste;
use super::{estimate, probe, stream, waste};
use crate::files::{PATHS_MAX, Unknowable};
use crate::image::{LayerContent, Unpacked};
use crate::oci::{Digest, Reason, Registry};
use crate::registry::Registries;
use crate::store::Store;
use crate::tag::{LayerFound, LayerRequest, LayerRequests};
use crate::target::Uncompressed;

/// So many images are remembered that have a layer that cannot be measured.
const REPORTED_MAX: usize = 4_096;

/// Limits of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compressed bytes that `exact` may stream in an hour; `None`: unlimited.
    pub bytes_per_hour: Option<u64>,
    /// Layers that are measured at a time.
    pub concurrency: usize,
    /// Pull-through caches: a request for a few bytes would make them fetch the whole layer, so `cheap` uses only the
    /// manifest there.
    pub pull_through: BTreeSet<Registry>,
}

impl Default for Limits {
    /// 10 GiB an hour, two layers at once.
    fn default() -> Self {
        Self { bytes_per_hour: Some(10 << 30), concurrency: 2, pull_through: BTreeSet::new() }
    }
}

/// Runs until `stop`, or until the requests' channel is closed and everything is done.
///
/// Each list from `requests` replaces the one before. What is found is sent to `found`, what is stored at once. Of images
/// whose wasted bytes are wanted, one is counted at a time, once all of its layers are listed.
pub async fn run(
    mut requests: mpsc::Receiver<LayerRequests>,
    registries: Arc<Registries>,
    store: Store,
    found: mpsc::Sender<LayerFound>,
    limits: Limits,
    stop: CancellationToken,
) {
    let concurrency = limits.concurrency.max(1);
    let budget = Mutex::new(Budget::new(limits.bytes_per_hour));
    let (results, indexes, reported) = (Results::new(store.clone()), SociIndexes::default(), Reported::default());
    let context = Arc::new(Context { registries, limits, results, budget, indexes, reported });
    let mut pending = VecDeque::new();
    let mut tasks = JoinSet::new();
    let mut in_progress = InProgress::default();
    let mut open = true;
    let mut waste = Waste::default();
    let mut is_counting = false;
    loop {
        let mut wait = None;
        if !is_counting && let Some(image) = waste.next() {
            is_counting = true;
            let store = store.clone();
            tasks.spawn_blocking(move || Ended::Image(image.digest.clone(), waste::count(&store, &image)));
        }
        while tasks.len() < concurrency {
            match next(&mut pending, &context, &in_progress, &found).await {
                Next::Start(layer) => {
                    in_progress.insert(&layer);
                    let context = Arc::clone(&context);
                    tasks.spawn(async move {
                        let content = match context.results.look_up_shared(&layer).await {
                            Remembered::Found(content) => Some(content),
                            Remembered::Failed => None,
                            Remembered::Nothing => measure(&context, &layer).await,
                        };
                        Ended::Layer(layer, content)
                    });
                }
                Next::Wait(duration) => {
                    wait = Some(duration);
                    break;
                }
                Next::Nothing => break,
            }
        }
        if !open && pending.is_empty() && tasks.is_empty() {
            return;
        }
        let budget = async {
            match wait {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            list = requests.recv(), if open => match list {
                Some(list) => {
                    pending = list.layers.into();
                    for remembered in waste.set(&store, list.images).await {
                        if found.send(remembered).await.is_err() {
                            return;
                        }
                    }
                }
                None => open = false,
            },
            Some(ended) = tasks.join_next() => {
                let ended = match ended {
                    Ok(ended) => ended,
                    // A bug in this program must not be hidden: it is passed on to the task that waits for this one.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => continue,
                };
                let news = match ended {
                    Ended::Layer(layer, content) => {
                        in_progress.remove(&layer);
                        if layer.mode == Uncompressed::Files && content.is_some() {
                            waste.listed([Some(&layer.digest), layer.diff_id.as_ref()].into_iter().flatten());
                        }
                        content.map(|content| LayerFound::Content(layer.digest, content))
                    }
                    Ended::Image(image, wasted) => {
                        is_counting = false;
                        wasted.map(|bytes| LayerFound::Wasted(image, bytes))
                    }
                };
                if let Some(news) = news
                    && found.send(news).await.is_err()
                {
                    return;
                }
            }
            () = budget => {}
        }
    }
}

/// What a task has done.
enum Ended {
    Layer(Box<LayerRequest>, Option<LayerContent>),
    /// Counted the wasted bytes of an image; `None` where a listing was lost meanwhile.
    Image(Digest, Option<Result<u64, Unknowable>>),
}

struct Context {
    registries: Arc<Registries>,
    limits: Limits,
    results: Results,
    budget: Mutex<Budget>,
    indexes: SociIndexes,
    reported: Reported,
}

/// The images of which it was logged that a layer cannot be measured: an image may have hundreds of such layers.
#[derive(Default)]
struct Reported(Mutex<HashSet<Digest>>);

impl Reported {
    /// Notes the image; returns whether it is noted for the first time, as far as that is remembered.
    fn is_first(&self, image: &Digest) -> bool {
        let mut images = self.0.lock();
        if images.len() >= REPORTED_MAX {
            images.clear();
        }
        images.insert(image.clone())
    }
}

/// Digests of the blobs and tars that are being measured.
#[derive(Default)]
struct InProgress(HashSet<Digest>);

impl InProgress {
    fn insert(&mut self, layer: &LayerRequest) {
        self.0.insert(layer.digest.clone());
        self.0.extend(layer.diff_id.clone());
    }

    fn remove(&mut self, layer: &LayerRequest) {
        self.0.remove(&layer.digest);
        if let Some(diff_id) = &layer.diff_id {
            self.0.remove(diff_id);
        }
    }

    fn contains(&self, layer: &LayerRequest) -> bool {
        self.0.contains(&layer.digest) || layer.diff_id.as_ref().is_some_and(|diff_id| self.0.contains(diff_id))
    }
}

enum Next {
    Start(Box<LayerRequest>),
    /// The budget has to refill first.
    Wait(Duration),
    Nothing,
}

/// The next layer to measure. Layers with a stored result are sent or dropped before it, and layers that are no tar are
/// dropped.
///
/// While a layer waits for the budget none is streamed before it: small ones would take what a large one waits for.
async fn next(
    pending: &mut VecDeque<LayerRequest>,
    context: &Context,
    in_progress: &InProgress,
    found: &mpsc::Sender<LayerFound>,
) -> Next {
    let mut wait: Option<Duration> = None;
    let mut position = 0;
    while let Some(layer) = pending.get(position) {
        // The list may be long, and all of it remembered: other tasks get their turn in between.
        tokio::task::coop::consume_budget().await;
        if in_progress.contains(layer) {
            position += 1;
            continue;
        }
        match context.results.look_up(layer) {
            Remembered::Found(content) => {
                let digest = layer.digest.clone();
                pending.remove(position);
                let _ = found.send(LayerFound::Content(digest, content)).await;
                continue;
            }
            Remembered::Failed => {
                pending.remove(position);
                continue;
            }
            Remembered::Nothing => {}
        }
        if layer.mode.streams() {
            if !estimate::may_be_tar(layer) {
                pending.remove(position);
                continue;
            }
            let mut budget = context.budget.lock();
            wait = wait.or_else(|| budget.wait(layer.bytes));
            if wait.is_some() {
                position += 1;
                continue;
            }
            budget.spend(layer.bytes);
        }
        return pending.remove(position).map_or(Next::Nothing, |layer| Next::Start(Box::new(layer)));
    }
    wait.map_or(Next::Nothing, Next::Wait)
}

async fn measure(context: &Context, layer: &LayerRequest) -> Option<LayerContent> {
    match layer.mode {
        Uncompressed::Exact | Uncompressed::Files => stream_layer(context, layer).await,
        Uncompressed::Cheap => {
            let content = probe_layer(context, layer).await?;
            context.results.remember_estimate(&layer.digest, content);
            Some(content)
        }
        Uncompressed::Off => None,
    }
}

async fn stream_layer(context: &Context, layer: &LayerRequest) -> Option<LayerContent> {
    let LayerRequest { repository, digest, bytes, .. } = layer;
    let client = context.registries.client(repository.registry());
    let mut can_resume = context.results.has_ranges(repository);
    let mut streamed = 0;
    let listed = Wanted { paths_max: PATHS_MAX, packages: false };
    let listed = (layer.mode == Uncompressed::Files).then_some(listed);
    let outcome = stream::measure(&client, layer, listed, &mut can_resume, |bytes| streamed += bytes).await;
    context.budget.lock().settle(*bytes, streamed);
    if !can_resume {
        context.results.has_no_ranges(repository);
    }
    let (content, files, proof) = match outcome {
        Ok(Measured { content, files }) => (content, files.ok(), layer.diff_id.as_ref()),
        // The config is wrong, not the blob: its sizes and files count for every image that has it.
        Err(StreamError::Measure(ref error @ MeasureError::DiffId { content, ref files, .. })) => {
            warn!(%repository, %digest, %error, "measured a layer that docker would refuse for its config");
            (content, files.clone(), None)
        }
        Err(error) => {
            let then = if error.is_definite() {
                context.results.broken(layer, error.to_string());
                "it is not asked for again".to_owned()
            } else if error.contradicts_manifest() {
                context.results.give_up(layer);
                "it is not asked for again until a restart".to_owned()
            } else {
                let wait = context.results.retry_later(layer, error.is_transient());
                format!("asking again after {}", humantime::format_duration(wait))
            };
            if context.reported.is_first(&layer.image) {
                warn!(%repository, %digest, %error, "cannot measure a layer: {then}; more of this image are logged at debug");
            } else {
                debug!(%repository, %digest, %error, "cannot measure a layer: {then}");
            }
            return None;
        }
    };
    debug!(%repository, %digest, bytes, uncompressed_bytes = content.uncompressed_bytes, "measured a layer");
    if content.unpacked == Unpacked::Refused {
        warn!(%repository, %digest, "overlay2 cannot unpack this layer by itself: its unpacked size is left out");
    }
    let digests: Vec<&Digest> = [Some(digest), proof].into_iter().flatten().collect();
    context.results.remember_measured(&digests, content);
    if listed.is_some() {
        context.results.remember_files(&digests, files.as_deref());
    }
    Some(content)
}

async fn probe_layer(context: &Context, layer: &LayerRequest) -> Option<LayerContent> {
    let LayerRequest { repository, digest, .. } = layer;
    let (range, part) = match estimate::from_manifest(layer) {
        Estimate::Known(content) => return Some(content),
        // Not stored: another manifest may describe the same blob otherwise, and trying again costs nothing.
        Estimate::Unavailable(_) => return None,
        Estimate::Fetch(range, part) => (range, part),
    };
    let proxy = context.limits.pull_through.contains(repository.registry());
    if proxy || !context.results.has_ranges(repository) {
        return None;
    }
    let client = context.registries.client(repository.registry());
    match probe::fetch(&client, layer, range, &part, &context.indexes).await {
        Ok(content) => Some(content),
        Err(ProbeError::Inconclusive(why)) => {
            debug!(%repository, %digest, why, "cannot estimate a layer's uncompressed size");
            context.results.inconclusive(digest, why);
            None
        }
        Err(ProbeError::Registry(error)) => {
            debug!(%repository, %digest, %error, "cannot fetch a few bytes of a layer");
            if error.reason() == Reason::Unsupported {
                context.results.has_no_ranges(repository);
            } else {
                context.results.retry_later(layer, error.is_transient());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_image_one_layer_is_reported_and_memory_is_bounded() {
        let reported = Reported::default();
        let image = |number: usize| Digest::sha256_of(&number.to_be_bytes());
        assert_eq!([0, 1, 0, 1].map(|number| reported.is_first(&image(number))), [true, true, false, false]);
        for number in 2..3 * REPORTED_MAX {
            assert!(reported.is_first(&image(number)));
        }
        assert!(reported.0.lock().len() <= REPORTED_MAX);
    }
}
