//! What is to be looked at: bounded, and each thing once however often it was named.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::{Action, Event};
use crate::oci::{Digest, Registry, Tag};

/// How many changes may wait, and of how many repositories pulls.
pub(crate) const WAITING_MAX: usize = 10_000;

/// From a change until it is looked at: events of one push come in a burst, some before the registry shows its content.
const DELAY: Duration = Duration::from_millis(50);

/// The shortest time between two looks at the same thing, however often it is named.
const PAUSE: Duration = Duration::from_millis(500);

/// The first wait after a failed look; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(5);

/// The longest wait after a failed look.
const RETRY_MAX: Duration = Duration::from_mins(5);

/// Failed looks after which the next scan has to find it.
const ATTEMPTS_MAX: u32 = 10;

/// Where to look. Equal ones are merged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// As in the event.
    pub registry: Option<Registry>,
    /// As in the event.
    pub repository: Arc<str>,
    /// What to look at.
    pub target: ChangeTarget,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeTarget {
    /// This tag, which may be new.
    Pushed(Tag),
    /// This tag, if it is known.
    Deleted(Tag),
    /// The known tags that point at it.
    DeletedDigest(Digest),
    /// All known tags of the repository.
    DeletedRepository,
}

/// A change that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where to look.
    pub change: Change,
    /// How often that failed before.
    attempt: u32,
}

/// How a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// Everything that it asked for was read.
    Read,
    /// Something could not be read for now.
    Failed,
    /// Another task reads what it has to wait for.
    Postponed,
}

/// Pulls of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// As in the events.
    pub registry: Option<Registry>,
    /// As in the events.
    pub repository: Arc<str>,
    /// Images and artifacts.
    pub images: u64,
    /// Bytes of manifests and blobs.
    pub bytes: u64,
}

/// The queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The queue between the endpoint and the daemon.
#[derive(Default)]
pub struct Queue {
    /// Never held across an await.
    state: Mutex<QueueState>,
    /// Something was added or became free.
    changed: Notify,
}

#[derive(Default)]
struct QueueState {
    waiting: HashMap<Change, Waiting>,
    /// The same changes by the time at which they are due.
    order: BTreeSet<(Instant, Change)>,
    /// Looked at right now: the same change waits until that ends.
    under_way: HashSet<Change>,
    /// When things were last looked at, within the pause.
    last: HashMap<Change, Instant>,
    /// When `last` was freed of older ones.
    tidied: Option<Instant>,
    pulls: HashMap<(Option<Registry>, Arc<str>), (u64, u64)>,
    pulls_due: Option<Instant>,
}

struct Waiting {
    due: Instant,
    attempt: u32,
}

impl Change {
    /// Where an event says to look; `None` where it names nothing that has a tag.
    fn new(event: &Event) -> Option<Self> {
        let target = match (event.action, &event.tag, &event.digest) {
            (Action::Push, Some(tag), _) => ChangeTarget::Pushed(tag.clone()),
            (Action::Delete, Some(tag), _) => ChangeTarget::Deleted(tag.clone()),
            (Action::Delete, None, Some(digest)) => ChangeTarget::DeletedDigest(digest.clone()),
            (Action::Delete, None, None) => ChangeTarget::DeletedRepository,
            (Action::Push, None, _) | (Action::Pull { .. }, ..) => return None,
        };
        Some(Self { registry: event.registry.clone(), repository: event.repository.clone(), target })
    }
}

impl Queue {
    /// Adds the events of one notification. If there is no room for all of them, those that were added stay: the registry
    /// sends the notification again, and they are merged.
    pub fn add(&self, events: &[Event]) -> Result<(), Full> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let all = events.iter().try_for_each(|event| match event.action {
            Action::Pull { images, bytes } => state.pulled(event, images, bytes, now),
            _ => Change::new(event).map_or(Ok(()), |change| state.add(change, now)),
        });
        drop(state);
        self.changed.notify_one();
        all
    }

    /// Looks at a change once more, as after an event.
    pub(crate) fn again(&self, change: Change) {
        // Without room the next scan finds it.
        let _ = self.state.lock().add(change, Instant::now());
        self.changed.notify_one();
    }

    /// Waits until something is due; at most `tasks_max` changes of it, each until [`Queue::done`].
    pub async fn due(&self, tasks_max: usize) -> (Vec<Task>, Vec<Pulled>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let now = Instant::now();
                let due = (state.take(tasks_max, now), state.take_pulls(now));
                if !(due.0.is_empty() && due.1.is_empty()) {
                    return due;
                }
                state.next(tasks_max)
            };
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// A task has ended. One that failed is looked at again after a while, a bounded number of times.
    pub fn done(&self, task: Task, end: TaskEnd) {
        let mut state = self.state.lock();
        state.under_way.remove(&task.change);
        let again = match end {
            TaskEnd::Read => None,
            TaskEnd::Postponed => Some((PAUSE, task.attempt)),
            TaskEnd::Failed => (task.attempt < ATTEMPTS_MAX).then(|| {
                let wait = RETRY_FIRST.saturating_mul(1 << task.attempt.min(16));
                (wait.min(RETRY_MAX), task.attempt + 1)
            }),
        };
        if let Some((wait, attempt)) = again.filter(|_| !state.waiting.contains_key(&task.change)) {
            state.wait(task.change, Waiting { due: Instant::now() + wait, attempt });
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Drops everything that waits.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.waiting.clear();
        state.order.clear();
        state.pulls.clear();
        state.pulls_due = None;
    }
}

impl QueueState {
    fn add(&mut self, change: Change, now: Instant) -> Result<(), Full> {
        let earliest = self.last.get(&change).map_or(now, |last| *last + PAUSE);
        let due = earliest.max(now + DELAY);
        match self.waiting.get(&change) {
            Some(waiting) => {
                // It may wait after a failure.
                let waiting = Waiting { due: waiting.due.min(due), attempt: waiting.attempt };
                self.wait(change, waiting);
            }
            None if self.waiting.len() >= WAITING_MAX => return Err(Full),
            None => self.wait(change, Waiting { due, attempt: 0 }),
        }
        Ok(())
    }

    fn wait(&mut self, change: Change, waiting: Waiting) {
        self.order.insert((waiting.due, change.clone()));
        let due = waiting.due;
        if let Some(before) = self.waiting.insert(change.clone(), waiting).filter(|before| before.due != due) {
            self.order.remove(&(before.due, change));
        }
    }

    fn pulled(&mut self, event: &Event, images: u64, bytes: u64, now: Instant) -> Result<(), Full> {
        let key = (event.registry.clone(), event.repository.clone());
        if self.pulls.len() >= WAITING_MAX && !self.pulls.contains_key(&key) {
            return Err(Full);
        }
        let counts = self.pulls.entry(key).or_default();
        *counts = (counts.0.saturating_add(images), counts.1.saturating_add(bytes));
        self.pulls_due.get_or_insert(now + DELAY);
        Ok(())
    }

    fn take(&mut self, tasks_max: usize, now: Instant) -> Vec<Task> {
        let due = self.order.iter().take_while(|(due, _)| *due <= now);
        let due: Vec<(Instant, Change)> =
            due.filter(|(_, change)| !self.under_way.contains(change)).take(tasks_max).cloned().collect();
        if self.tidied.is_none_or(|tidied| tidied + PAUSE <= now) {
            self.tidied = Some(now);
            self.last.retain(|_, last| *last + PAUSE > now);
        }
        due.into_iter()
            .filter_map(|entry| {
                self.order.remove(&entry);
                let (_, change) = entry;
                let Waiting { attempt, .. } = self.waiting.remove(&change)?;
                self.under_way.insert(change.clone());
                self.last.insert(change.clone(), now);
                Some(Task { change, attempt })
            })
            .collect()
    }

    fn take_pulls(&mut self, now: Instant) -> Vec<Pulled> {
        if self.pulls_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.pulls_due = None;
        let pulled = |((registry, repository), (images, bytes))| Pulled { registry, repository, images, bytes };
        self.pulls.drain().map(pulled).collect()
    }

    fn next(&self, tasks_max: usize) -> Option<Instant> {
        let free = self.order.iter().find(|(_, change)| tasks_max > 0 && !self.under_way.contains(change));
        free.map(|(due, _)| *due).into_iter().chain(self.pulls_due).min()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn push(tag: &str) -> Event {
        Event::new(None, "acme/app", Some(tag), None, Action::Push).unwrap()
    }

    fn pull(images: u64, bytes: u64) -> Event {
        Event::new(None, "acme/app", None, None, Action::Pull { images, bytes }).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_events_for_one_tag_are_one_task() {
        let queue = Queue::default();
        for _ in 0..10 {
            queue.add(&vec![push("v1"); 1000]).unwrap();
        }
        let (tasks, _) = queue.due(100).await;
        assert_eq!(tasks.len(), 1);
        queue.done(tasks[0].clone(), TaskEnd::Read);
        assert!(queue.due(100).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_during_a_look_is_looked_at_after_it_and_not_before_the_pause() {
        let queue = Queue::default();
        queue.add(&[push("v1")]).unwrap();
        let (tasks, _) = queue.due(100).await;
        let started = Instant::now();
        queue.add(&[push("v1"), push("v2")]).unwrap();
        let (others, _) = queue.due(100).await;
        assert_eq!(others[0].change.target, ChangeTarget::Pushed("v2".parse().unwrap()));
        assert_eq!(others.len(), 1);
        tokio::time::advance(PAUSE * 3).await;
        assert!(queue.due(100).now_or_never().is_none(), "the first look has not ended");
        queue.done(tasks[0].clone(), TaskEnd::Read);
        assert_eq!(queue.due(100).await.0.len(), 1);
        assert!(started.elapsed() >= PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_look_is_repeated_with_growing_pauses_and_not_for_ever() {
        let queue = Queue::default();
        queue.add(&[push("v1")]).unwrap();
        let mut waits = Vec::new();
        loop {
            let before = Instant::now();
            let due = tokio::time::timeout(Duration::from_hours(1), queue.due(1)).await;
            let Ok((mut tasks, _)) = due else { break };
            waits.push(before.elapsed().as_secs());
            queue.done(tasks.remove(0), TaskEnd::Failed);
        }
        assert_eq!(waits, [0, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_for_what_failed_is_looked_at_at_once() {
        let queue = Queue::default();
        queue.add(&[push("v1")]).unwrap();
        let (tasks, _) = queue.due(1).await;
        queue.done(tasks[0].clone(), TaskEnd::Failed);
        let failed = Instant::now();
        queue.add(&[push("v1")]).unwrap();
        let (tasks, _) = queue.due(1).await;
        assert!(failed.elapsed() <= PAUSE, "{:?}", failed.elapsed());
        queue.done(tasks[0].clone(), TaskEnd::Read);
        assert!(queue.due(1).now_or_never().is_none(), "the wait after the failure is over");
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(queue.due(1).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_postponed_look_is_no_failed_one() {
        let queue = Queue::default();
        queue.add(&[push("v1")]).unwrap();
        let (mut tasks, _) = queue.due(1).await;
        for _ in 0..100 {
            queue.done(tasks.remove(0), TaskEnd::Postponed);
            (tasks, _) = queue.due(1).await;
        }
        assert_eq!(tasks[0].attempt, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_new_changes_and_merges_known_ones() {
        let queue = Queue::default();
        let all: Vec<Event> = (0..=WAITING_MAX).map(|number| push(&format!("v{number}"))).collect();
        assert_eq!(queue.add(&all), Err(Full));
        assert_eq!(queue.add(&all[..WAITING_MAX]), Ok(()));
        let (tasks, _) = queue.due(usize::MAX).await;
        assert_eq!(tasks.len(), WAITING_MAX);
        assert_eq!(queue.add(&all[WAITING_MAX..]), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_are_summed_and_no_change() {
        let queue = Queue::default();
        queue.add(&[pull(1, 10), pull(0, 90), pull(1, 10)]).unwrap();
        let (tasks, pulls) = queue.due(100).await;
        let expected = Pulled { registry: None, repository: "acme/app".into(), images: 2, bytes: 110 };
        assert_eq!((tasks, pulls), (vec![], vec![expected]));
    }

    #[test]
    fn a_push_without_a_tag_is_no_change() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let event = |tag, digest, action| Event::new(None, "acme/app", tag, digest, action).unwrap();
        let target = |event: &Event| Change::new(event).map(|change| change.target);
        assert_eq!(target(&event(None, Some(&digest), Action::Push)), None);
        let deleted = target(&event(None, Some(&digest), Action::Delete));
        assert_eq!(deleted, Some(ChangeTarget::DeletedDigest(digest.parse().unwrap())));
        assert_eq!(target(&event(None, None, Action::Delete)), Some(ChangeTarget::DeletedRepository));
    }
}
