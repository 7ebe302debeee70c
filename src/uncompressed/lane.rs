//! The lane: finds out what layers are after decompression, beside the scans and in nobody's way.
//!
//! Each layer is looked into once in its life: what came of it is remembered by its digest and, where it has one, by
//! the digest of its tar, so that the same files compressed twice are read once. A layer that is broken is
//! remembered too. What a registry would not give just now is asked again after a while.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::budget::Budget;
use super::cheap::{self, Plan};
use super::measure::MeasureError;
use super::stream::{self, StreamError};
use crate::image::LayerContent;
use crate::inventory::work::LayerWork;
use crate::oci::{Algorithm, Digest, Registry, Repository};
use crate::reason::Reason;
use crate::registry::{Client, Registries};
use crate::store::{LayerRecord, Store};
use crate::target::Uncompressed;

/// Before a layer that could not be had is asked for again.
const RETRY: Duration = Duration::from_mins(30);

/// How a remembered failure begins that only `cheap` has: `exact` may still find out.
const CANNOT_TELL: &str = "cannot be told from a few bytes: ";

/// What the lane may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compressed bytes that `exact` may stream in an hour; without a number as many as come.
    pub bytes_per_hour: Option<u64>,
    /// Layers that are looked into at once.
    pub concurrency: usize,
    /// Registries that fetch from another one when they are asked: to ask them for a few bytes of a layer makes them
    /// fetch all of it, so that `cheap` only uses what the manifest says.
    pub pull_through: BTreeSet<Registry>,
}

impl Default for Limits {
    /// 10 GiB an hour, two layers at once.
    fn default() -> Self {
        Self { bytes_per_hour: Some(10 << 30), concurrency: 2, pull_through: BTreeSet::new() }
    }
}

/// Runs until `stop`, or until nobody sends work any more and all of it is done.
///
/// Each list that `work` gives is all that is wanted now: what a former one had and it has not is dropped. Layers come
/// out of `found` under the blob's digest, remembered ones at once.
pub async fn run(
    mut work: mpsc::Receiver<Vec<LayerWork>>,
    registries: Arc<Registries>,
    store: Store,
    found: mpsc::Sender<(Digest, LayerContent)>,
    limits: Limits,
    stop: CancellationToken,
) {
    let budget = Mutex::new(Budget::new(limits.bytes_per_hour));
    let learnt = Arc::new(Learnt { budget, ..Learnt::default() });
    let concurrency = limits.concurrency.max(1);
    let context = Arc::new(Context { registries, store, limits, learnt });
    let mut pending = Vec::new();
    let mut tasks = JoinSet::new();
    let mut busy = Busy::default();
    let mut open = true;
    loop {
        let mut wait = None;
        while tasks.len() < concurrency {
            match next(&mut pending, &context, &busy, &found).await {
                Next::Start(layer) => {
                    busy.insert(&layer);
                    let context = Arc::clone(&context);
                    tasks.spawn(async move {
                        let content = look_into(&context, &layer).await;
                        (layer, content)
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
        let timer = tokio::time::sleep(wait.unwrap_or(RETRY));
        tokio::select! {
            () = stop.cancelled() => return,
            list = work.recv(), if open => match list {
                Some(list) => pending = list,
                None => open = false,
            },
            Some(ended) = tasks.join_next() => {
                let (layer, content) = match ended {
                    Ok(ended) => ended,
                    // A mistake in this program is not to be hidden: whoever waits for this task hears of it.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => continue,
                };
                busy.remove(&layer);
                if let Some(content) = content
                    && found.send((layer.digest, content)).await.is_err()
                {
                    return;
                }
            }
            () = timer => {}
        }
    }
}

/// Looks into one layer now, without a budget and remembering nothing, for one who waits for it. `progress` hears of
/// the compressed bytes that come. An error says, for people, why nothing can be told.
pub async fn look_up(client: &Client, layer: &LayerWork, progress: impl FnMut(u64)) -> Result<LayerContent, String> {
    if layer.mode == Uncompressed::Exact {
        return stream::measure(client, layer, &mut true, progress).await.map_err(|error| error.to_string());
    }
    match cheap::plan(layer) {
        Plan::Known(content) => Ok(content),
        Plan::No(why) => Err(why.to_owned()),
        Plan::Fetch(range, part) => {
            let fetched = client.get_blob_range(&layer.repository, &layer.digest, range, layer.bytes).await;
            let fetched = fetched.map_err(|error| error.to_string())?;
            cheap::read(&part, &fetched, layer.bytes).map_err(str::to_owned)
        }
    }
}

struct Context {
    registries: Arc<Registries>,
    store: Store,
    limits: Limits,
    learnt: Arc<Learnt>,
}

/// What is known for as long as the process runs.
struct Learnt {
    budget: Mutex<Budget>,
    /// Repositories that send whole blobs only.
    no_ranges: Mutex<HashSet<Repository>>,
    /// Layers that could not be had, and when to ask again.
    later: Mutex<HashMap<Digest, Instant>>,
    /// Layers that were streamed and that overlay2 refuses: they have no unpacked size to wait for.
    refused: Mutex<HashSet<Digest>>,
    /// Of which a registry sends more bytes than so many, which a manifest says. Another manifest may be right.
    too_long: Mutex<HashSet<(Repository, Digest, u64)>>,
}

impl Default for Learnt {
    fn default() -> Self {
        Self {
            budget: Mutex::new(Budget::new(None)),
            no_ranges: Mutex::default(),
            later: Mutex::default(),
            refused: Mutex::default(),
            too_long: Mutex::default(),
        }
    }
}

/// Digests, of blobs and of tars, that are being looked into.
#[derive(Default)]
struct Busy(HashSet<Digest>);

impl Busy {
    fn insert(&mut self, layer: &LayerWork) {
        self.0.insert(layer.digest.clone());
        self.0.extend(layer.diff_id.clone());
    }

    fn remove(&mut self, layer: &LayerWork) {
        self.0.remove(&layer.digest);
        if let Some(diff_id) = &layer.diff_id {
            self.0.remove(diff_id);
        }
    }

    fn contains(&self, layer: &LayerWork) -> bool {
        self.0.contains(&layer.digest) || layer.diff_id.as_ref().is_some_and(|diff_id| self.0.contains(diff_id))
    }
}

enum Next {
    Start(Box<LayerWork>),
    /// The budget has to recover first.
    Wait(Duration),
    Nothing,
}

/// The next layer to look into. What is remembered is sent or dropped on the way.
async fn next(
    pending: &mut Vec<LayerWork>,
    context: &Context,
    busy: &Busy,
    found: &mpsc::Sender<(Digest, LayerContent)>,
) -> Next {
    let mut wait: Option<Duration> = None;
    let mut position = 0;
    while position < pending.len() {
        let layer = &pending[position];
        if busy.contains(layer) {
            position += 1;
            continue;
        }
        match context.remembered(layer) {
            Remembered::Found(content) => {
                let layer = pending.swap_remove(position);
                let _ = found.send((layer.digest, content)).await;
                continue;
            }
            Remembered::Failed => {
                pending.swap_remove(position);
                continue;
            }
            Remembered::Nothing => {}
        }
        if layer.mode == Uncompressed::Exact {
            let bytes = layer.bytes;
            let mut budget = locked(&context.learnt.budget);
            if let Some(duration) = budget.wait(bytes) {
                wait = Some(wait.map_or(duration, |shortest| shortest.min(duration)));
                position += 1;
                continue;
            }
            budget.spend(bytes);
        }
        return Next::Start(Box::new(pending.swap_remove(position)));
    }
    wait.map_or(Next::Nothing, Next::Wait)
}

enum Remembered {
    Found(LayerContent),
    Failed,
    Nothing,
}

impl Context {
    fn remembered(&self, layer: &LayerWork) -> Remembered {
        let learnt = &self.learnt;
        if locked(&learnt.later).get(&layer.digest).is_some_and(|until| *until > Instant::now()) {
            return Remembered::Failed;
        }
        let exact = layer.mode == Uncompressed::Exact;
        let claim = (layer.repository.clone(), layer.digest.clone(), layer.bytes);
        if exact && locked(&learnt.too_long).contains(&claim) {
            return Remembered::Failed;
        }
        match self.store.layer(&layer.digest) {
            Some(LayerRecord::Known(content)) if !exact || self.is_proved(&layer.digest, content) => {
                return Remembered::Found(content);
            }
            Some(LayerRecord::Failed { reason, .. }) if !exact || !reason.starts_with(CANNOT_TELL) => {
                return Remembered::Failed;
            }
            _ => {}
        }
        // Of another blob with the same tar only what was proved counts: the rest is what somebody said of that blob.
        if let Some(diff_id) = &layer.diff_id
            && let Some(LayerRecord::Known(content)) = self.store.layer(diff_id)
            && self.is_proved(diff_id, content)
        {
            return Remembered::Found(content);
        }
        Remembered::Nothing
    }

    /// Whether what is remembered under this digest was streamed, and not told from a few bytes.
    fn is_proved(&self, digest: &Digest, content: LayerContent) -> bool {
        content.unpacked_bytes.is_some() || locked(&self.learnt.refused).contains(digest)
    }

    /// Remembers what was streamed, by all the digests that it was proved by.
    fn remember_measured(&self, digests: &[&Digest], content: LayerContent) {
        for &digest in digests.iter().filter(|digest| digest.algorithm() != Algorithm::Other) {
            if content.unpacked_bytes.is_none() {
                locked(&self.learnt.refused).insert(digest.clone());
            }
            self.store.remember_layer(digest, LayerRecord::Known(content));
        }
    }

    fn remember_failure(&self, layer: &LayerWork, reason: String) {
        self.store.remember_layer(&layer.digest, LayerRecord::Failed { reason, at: now() });
    }

    fn ask_later(&self, layer: &LayerWork) {
        let mut later = locked(&self.learnt.later);
        later.retain(|_, until| *until > Instant::now());
        later.insert(layer.digest.clone(), Instant::now() + RETRY);
    }
}

async fn look_into(context: &Context, layer: &LayerWork) -> Option<LayerContent> {
    match layer.mode {
        Uncompressed::Exact => exact(context, layer).await,
        Uncompressed::Cheap => {
            let content = cheaply(context, layer).await?;
            context.store.remember_layer(&layer.digest, LayerRecord::Known(content));
            Some(content)
        }
        Uncompressed::Off => None,
    }
}

async fn exact(context: &Context, layer: &LayerWork) -> Option<LayerContent> {
    let LayerWork { repository, digest, bytes, .. } = layer;
    let client = context.registries.client(repository.registry());
    let mut can_resume = !locked(&context.learnt.no_ranges).contains(repository);
    let mut streamed = 0;
    let outcome = stream::measure(&client, layer, &mut can_resume, |bytes| streamed += bytes).await;
    locked(&context.learnt.budget).spend(streamed.saturating_sub(*bytes));
    if !can_resume {
        locked(&context.learnt.no_ranges).insert(repository.clone());
    }
    let (content, proof) = match outcome {
        Ok(content) => (content, layer.diff_id.as_ref()),
        // The config's mistake, or its author's lie: what the blob is holds for every image that has it.
        Err(StreamError::Measure(error @ MeasureError::DiffId { content, .. })) => {
            warn!(%repository, %digest, %error, "measured a layer that docker would refuse for its config");
            (content, None)
        }
        Err(error) => {
            warn!(%repository, %digest, %error, "cannot measure a layer");
            if error.is_definite() && digest.algorithm() != Algorithm::Other {
                context.remember_failure(layer, error.to_string());
            } else if matches!(error, StreamError::TooLong(_)) {
                locked(&context.learnt.too_long).insert((repository.clone(), digest.clone(), *bytes));
            } else {
                context.ask_later(layer);
            }
            return None;
        }
    };
    debug!(%repository, %digest, bytes, uncompressed_bytes = content.uncompressed_bytes, "measured a layer");
    if content.unpacked_bytes.is_none() {
        warn!(%repository, %digest, "docker would refuse to unpack this layer: its unpacked size is left out");
    }
    let digests: Vec<&Digest> = [Some(digest), proof].into_iter().flatten().collect();
    context.remember_measured(&digests, content);
    Some(content)
}

async fn cheaply(context: &Context, layer: &LayerWork) -> Option<LayerContent> {
    let LayerWork { repository, digest, bytes, .. } = layer;
    let (range, part) = match cheap::plan(layer) {
        Plan::Known(content) => return Some(content),
        // Not remembered: another manifest may say otherwise of the same blob, and to ask again costs nothing.
        Plan::No(_) => return None,
        Plan::Fetch(range, part) => (range, part),
    };
    let proxy = context.limits.pull_through.contains(repository.registry());
    if proxy || locked(&context.learnt.no_ranges).contains(repository) {
        return None;
    }
    let client = context.registries.client(repository.registry());
    match client.get_blob_range(repository, digest, range, *bytes).await {
        Ok(fetched) => match cheap::read(&part, &fetched, *bytes) {
            Ok(content) => Some(content),
            Err(why) => {
                debug!(%repository, %digest, why, "a layer's uncompressed size cannot be told from a few bytes");
                context.remember_failure(layer, format!("{CANNOT_TELL}{why}"));
                None
            }
        },
        Err(error) => {
            debug!(%repository, %digest, %error, "cannot fetch a few bytes of a layer");
            if error.reason() == Reason::Unsupported {
                locked(&context.learnt.no_ranges).insert(repository.clone());
            } else {
                context.ask_later(layer);
            }
            None
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// None is held across an await, and nothing panics halfway through a change.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
