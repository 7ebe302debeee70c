//! The worker: finds out what layers are after decompression, beside the scans and without delaying them.
//!
//! Each layer is looked into once in its life: what came of it is remembered by its digest and, where it has one, by
//! the digest of its tar, so that the same files compressed twice are read once. A layer that is broken is
//! remembered too. What a registry would not give just now is asked again, less and less often.

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
use super::estimate::Plan;
use super::probe::{LookError, SociIndexes};
use super::results::{Memory, Recalled};
use super::stream::StreamError;
use super::{estimate, probe, stream};
use crate::image::{LayerContent, Unpacked};
use crate::oci::{Digest, Reason, Registry};
use crate::registry::Registries;
use crate::store::Store;
use crate::tag::LayerRequest;
use crate::target::Uncompressed;

/// What the worker may use.
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
    mut work: mpsc::Receiver<Vec<LayerRequest>>,
    registries: Arc<Registries>,
    store: Store,
    found: mpsc::Sender<(Digest, LayerContent)>,
    limits: Limits,
    stop: CancellationToken,
) {
    let concurrency = limits.concurrency.max(1);
    let budget = Mutex::new(Budget::new(limits.bytes_per_hour));
    let context =
        Arc::new(Context { registries, limits, memory: Memory::new(store), budget, indexes: SociIndexes::default() });
    let mut pending = VecDeque::new();
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
        let budget = async {
            match wait {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            list = work.recv(), if open => match list {
                Some(list) => pending = list.into(),
                None => open = false,
            },
            Some(ended) = tasks.join_next() => {
                let (layer, content) = match ended {
                    Ok(ended) => ended,
                    // A bug in this program must not be hidden: it is passed on to the task that waits for this one.
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
            () = budget => {}
        }
    }
}

struct Context {
    registries: Arc<Registries>,
    limits: Limits,
    memory: Memory,
    budget: Mutex<Budget>,
    indexes: SociIndexes,
}

/// Digests, of blobs and of tars, that are being looked into.
#[derive(Default)]
struct Busy(HashSet<Digest>);

impl Busy {
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
    /// The budget has to recover first.
    Wait(Duration),
    Nothing,
}

/// The next layer to look into. What is remembered is sent or dropped on the way, and what cannot be measured is dropped.
///
/// While a layer waits for the budget none is streamed before it: small ones would take what a large one waits for.
async fn next(
    pending: &mut VecDeque<LayerRequest>,
    context: &Context,
    busy: &Busy,
    found: &mpsc::Sender<(Digest, LayerContent)>,
) -> Next {
    let mut wait: Option<Duration> = None;
    let mut position = 0;
    while let Some(layer) = pending.get(position) {
        if busy.contains(layer) {
            position += 1;
            continue;
        }
        match context.memory.recall(layer) {
            Recalled::Found(content) => {
                let digest = layer.digest.clone();
                pending.remove(position);
                let _ = found.send((digest, content)).await;
                continue;
            }
            Recalled::Failed => {
                pending.remove(position);
                continue;
            }
            Recalled::Nothing => {}
        }
        if layer.mode == Uncompressed::Exact {
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

async fn look_into(context: &Context, layer: &LayerRequest) -> Option<LayerContent> {
    match layer.mode {
        Uncompressed::Exact => exact(context, layer).await,
        Uncompressed::Cheap => {
            let content = cheaply(context, layer).await?;
            context.memory.told(&layer.digest, content);
            Some(content)
        }
        Uncompressed::Off => None,
    }
}

async fn exact(context: &Context, layer: &LayerRequest) -> Option<LayerContent> {
    let LayerRequest { repository, digest, bytes, .. } = layer;
    let client = context.registries.client(repository.registry());
    let mut can_resume = context.memory.has_ranges(repository);
    let mut streamed = 0;
    let outcome = stream::measure(&client, layer, &mut can_resume, |bytes| streamed += bytes).await;
    context.budget.lock().settle(*bytes, streamed);
    if !can_resume {
        context.memory.has_no_ranges(repository);
    }
    let (content, proof) = match outcome {
        Ok(content) => (content, layer.diff_id.as_ref()),
        // The config's mistake, or its author's lie: what the blob is holds for every image that has it.
        Err(StreamError::Measure(error @ MeasureError::DiffId { content, .. })) => {
            warn!(%repository, %digest, %error, "measured a layer that docker would refuse for its config");
            (content, None)
        }
        Err(error) => {
            if error.is_definite() {
                warn!(%repository, %digest, %error, "cannot measure a layer");
                context.memory.broken(layer, error.to_string());
            } else if error.is_hopeless() {
                warn!(%repository, %digest, %error, "cannot measure a layer");
                context.memory.give_up(layer);
            } else {
                let wait = humantime::format_duration(context.memory.ask_later(layer, error.is_transient()));
                warn!(%repository, %digest, %error, "cannot measure a layer: asking again after {wait}");
            }
            return None;
        }
    };
    debug!(%repository, %digest, bytes, uncompressed_bytes = content.uncompressed_bytes, "measured a layer");
    if content.unpacked == Unpacked::Refused {
        warn!(%repository, %digest, "overlay2 cannot unpack this layer by itself: its unpacked size is left out");
    }
    let digests: Vec<&Digest> = [Some(digest), proof].into_iter().flatten().collect();
    context.memory.found(&digests, content);
    Some(content)
}

async fn cheaply(context: &Context, layer: &LayerRequest) -> Option<LayerContent> {
    let LayerRequest { repository, digest, .. } = layer;
    let (range, part) = match estimate::plan(layer) {
        Plan::Known(content) => return Some(content),
        // Not remembered: another manifest may say otherwise of the same blob, and to ask again costs nothing.
        Plan::No(_) => return None,
        Plan::Fetch(range, part) => (range, part),
    };
    let proxy = context.limits.pull_through.contains(repository.registry());
    if proxy || !context.memory.has_ranges(repository) {
        return None;
    }
    let client = context.registries.client(repository.registry());
    match probe::fetch(&client, layer, range, &part, &context.indexes).await {
        Ok(content) => Some(content),
        Err(LookError::CannotTell(why)) => {
            debug!(%repository, %digest, why, "a layer's uncompressed size cannot be told from a few bytes");
            context.memory.cannot_tell(digest, why);
            None
        }
        Err(LookError::Registry(error)) => {
            debug!(%repository, %digest, %error, "cannot fetch a few bytes of a layer");
            if error.reason() == Reason::Unsupported {
                context.memory.has_no_ranges(repository);
            } else {
                context.memory.ask_later(layer, error.is_transient());
            }
            None
        }
    }
}
