//! What differs between what was published and what is to be published, found at the cost of what differs: whatever two
//! snapshots share is not looked into.

use std::cmp::Ordering;
use std::sync::Arc;

use super::metric::{Metric, Metrics, Subject};
use super::own::TargetState;
use super::rows::Rows;
use super::sink::Sink;
use super::units::{self, Positions, Units, count};
use crate::inventory::Snapshot;
use crate::inventory::snapshot::{RegistryView, RepositoryView, SourceView, TagView};

/// Consecutive units of what is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) units: u32,
    /// The number of the first unit in what was published, where the units were consecutive too, with the same names and
    /// weights. `None`: they are new.
    pub(crate) before: Option<u32>,
    /// The metrics of which they have other samples than before.
    pub(crate) changed: Metrics,
}

/// All units of what is to be published, by subject.
#[derive(Default)]
pub(crate) struct Changes([Vec<Stretch>; Subject::ALL.len()]);

impl Changes {
    /// The stretches of one subject, in the order of its units.
    pub(crate) fn of(&self, subject: Subject) -> &[Stretch] {
        &self.0[subject as usize]
    }

    fn push(&mut self, subject: Subject, next: Stretch) {
        if next.units == 0 {
            return;
        }
        let stretches = &mut self.0[subject as usize];
        match stretches.last_mut() {
            Some(last) if follows(last, &next) => last.units += next.units,
            _ => stretches.push(next),
        }
    }
}

/// Whether they are one stretch.
fn follows(last: &Stretch, next: &Stretch) -> bool {
    last.changed == next.changed && last.before.map(|first| first + last.units) == next.before
}

/// Compares what was published with what is to be: the latter's positions, and what changed.
pub(crate) fn compare<'a>(
    before: Units<'a>,
    snapshot: &'a Snapshot,
    targets: &'a [TargetState],
    metrics: &'a [Metric],
) -> (Positions, Changes) {
    let positions = Positions { targets: count(targets.len()), ..Positions::default() };

    let mut comparison =
        Comparison { before, metrics, positions, changes: Changes::default(), samples: Default::default() };
    comparison.registries(snapshot);
    comparison.sources(snapshot);
    comparison.targets(targets);
    (comparison.positions, comparison.changes)
}

struct Comparison<'a> {
    before: Units<'a>,
    metrics: &'a [Metric],
    positions: Positions,
    changes: Changes,
    /// Of one unit, before and now.
    samples: [(Rows<'a>, Sink); 2],
}

impl<'a> Comparison<'a> {
    fn registries(&mut self, snapshot: &'a Snapshot) {
        let before = self.before.snapshot;
        let mut pairs = Pairs::new(&before.registries, |a, b| shared(a, b, |a, b| a.registry.cmp(&b.registry)));
        for now in &snapshot.registries {
            if let Some(number) = pairs.find(now) {
                self.registry(number, now);
            } else {
                self.changes.push(Subject::Registry, new(1));
                now.repositories.iter().for_each(|view| self.new_repository(view));
            }
            self.positions.repositories.push(count(self.positions.tags.len() - 1));
        }
    }

    fn registry(&mut self, number: usize, now: &'a Arc<RegistryView>) {
        let before: &'a Arc<RegistryView> = &self.before.snapshot.registries[number];
        let first = self.before.positions.repositories[number];
        if Arc::ptr_eq(before, now) {
            self.changes.push(Subject::Registry, same(count(number), 1));
            self.same_repositories(first, count(now.repositories.len()));
            return;
        }
        let is_as_heavy = units::registry(before) == units::registry(now);
        let changed = if is_as_heavy {
            self.differing(Subject::Registry, |rows| rows.registry(before), |rows| rows.registry(now))
        } else {
            Metrics::default()
        };
        self.changes
            .push(Subject::Registry, Stretch { units: 1, before: is_as_heavy.then_some(count(number)), changed });
        let mut pairs = Pairs::new(&before.repositories, |a, b| shared(a, b, |a, b| a.repository.cmp(&b.repository)));
        // Repositories that did not change, and that are not noted yet.
        let mut same = 0..0;
        for now in &now.repositories {
            let found = pairs.find(now);
            if let Some(number) = found
                && Arc::ptr_eq(&before.repositories[number], now)
            {
                if same.end == number && !same.is_empty() {
                    same.end += 1;
                } else {
                    self.same_repositories(first + count(same.start), count(same.len()));
                    same = number..number + 1;
                }
                continue;
            }
            self.same_repositories(first + count(same.start), count(same.len()));
            same = 0..0;
            match found {
                Some(number) => self.repository(first + count(number), &before.repositories[number], now),
                None => self.new_repository(now),
            }
        }
        self.same_repositories(first + count(same.start), count(same.len()));
    }

    /// So many repositories, from that number on, are as they were.
    fn same_repositories(&mut self, first: u32, units: u32) {
        if units == 0 {
            return;
        }
        self.changes.push(Subject::Repository, same(first, units));
        let tags = &self.before.positions.tags[first as usize..=(first + units) as usize];
        let (first_tag, end) = (tags[0], tags[tags.len() - 1]);
        for subject in [Subject::Images, Subject::Tag] {
            self.changes.push(subject, same(first_tag, end - first_tag));
        }
        let first_now = self.positions.units(Subject::Tag);
        self.positions.tags.extend(tags[1..].iter().map(|tag| first_now + (tag - first_tag)));
    }

    fn new_repository(&mut self, view: &RepositoryView) {
        self.changes.push(Subject::Repository, new(1));
        for subject in [Subject::Images, Subject::Tag] {
            self.changes.push(subject, new(count(view.tags.len())));
        }
        self.end_repository(view);
    }

    fn end_repository(&mut self, view: &RepositoryView) {
        let first = self.positions.units(Subject::Tag);
        self.positions.tags.push(first + count(view.tags.len()));
    }

    fn repository(&mut self, number: u32, before: &'a RepositoryView, now: &'a RepositoryView) {
        let stretch = if units::repository(before) == units::repository(now) {
            let changed =
                self.differing(Subject::Repository, |rows| rows.repository(before), |rows| rows.repository(now));
            Stretch { units: 1, before: Some(number), changed }
        } else {
            new(1)
        };
        self.changes.push(Subject::Repository, stretch);
        let first_tag = self.before.positions.tags[number as usize];
        let mut pairs = Pairs::new(&before.tags, |a, b| a.tag.cmp(&b.tag));
        for tag in &now.tags {
            if let Some(place) = pairs.find(tag) {
                let (number, before_tag) = (first_tag + count(place), &before.tags[place]);
                self.tag(number, (before, before_tag), (now, tag));
            } else {
                self.changes.push(Subject::Images, new(1));
                self.changes.push(Subject::Tag, new(1));
            }
        }
        self.end_repository(now);
    }

    fn tag(&mut self, number: u32, before: (&'a RepositoryView, &'a TagView), now: (&'a RepositoryView, &'a TagView)) {
        if before.1 == now.1 {
            self.changes.push(Subject::Images, same(number, 1));
            self.changes.push(Subject::Tag, same(number, 1));
            return;
        }
        let stretch = if before.1.images == now.1.images {
            same(number, 1)
        } else if units::images(before.1) == units::images(now.1) {
            let changed = self.differing(
                Subject::Images,
                |rows| rows.images(before.0, before.1),
                |rows| rows.images(now.0, now.1),
            );
            Stretch { units: 1, before: Some(number), changed }
        } else {
            new(1)
        };
        self.changes.push(Subject::Images, stretch);
        let changed = self.differing(Subject::Tag, |rows| rows.tag(before.0, before.1), |rows| rows.tag(now.0, now.1));
        self.changes.push(Subject::Tag, Stretch { units: 1, before: Some(number), changed });
    }

    fn sources(&mut self, snapshot: &'a Snapshot) {
        let before = self.before.snapshot;
        let mut pairs = Pairs::new(&before.sources, |a, b| shared(a, b, |a, b| a.source.cmp(&b.source)));
        for now in &snapshot.sources {
            match pairs.find(now) {
                Some(number) => self.source(number, now),
                None => self.changes.push(Subject::Running, new(count(now.images.len()))),
            }
            let first = self.positions.units(Subject::Running);
            self.positions.running.push(first + count(now.images.len()));
        }
    }

    fn source(&mut self, number: usize, now: &'a Arc<SourceView>) {
        let before: &'a Arc<SourceView> = &self.before.snapshot.sources[number];
        let first = self.before.positions.running[number];
        if Arc::ptr_eq(before, now) {
            self.changes.push(Subject::Running, same(first, count(now.images.len())));
            return;
        }
        let mut pairs = Pairs::new(&before.images, |a, b| {
            (&a.image.repository, &a.image.tag).cmp(&(&b.image.repository, &b.image.tag))
        });
        for view in &now.images {
            let Some(place) = pairs.find(view) else {
                self.changes.push(Subject::Running, new(1));
                continue;
            };
            let (number, before_view) = (first + count(place), &before.images[place]);
            let is_same = Arc::ptr_eq(&before_view.image, &view.image) && before_view.outdated == view.outdated;
            let stretch = if is_same {
                same(number, 1)
            } else if units::running(before_view) == units::running(view) {
                let (fill_before, fill) = (
                    |rows: &mut Rows<'a>| rows.running(before, before_view),
                    |rows: &mut Rows<'a>| rows.running(now, view),
                );
                Stretch { units: 1, before: Some(number), changed: self.differing(Subject::Running, fill_before, fill) }
            } else {
                new(1)
            };
            self.changes.push(Subject::Running, stretch);
        }
    }

    fn targets(&mut self, targets: &'a [TargetState]) {
        let before = self.before.targets;
        let mut pairs = Pairs::new(before, |a, b| a.name.cmp(&b.name));
        for target in targets {
            let stretch = match pairs.find(target) {
                Some(number) => {
                    let changed = self.differing(
                        Subject::Target,
                        |rows| rows.target(&before[number]),
                        |rows| rows.target(target),
                    );
                    Stretch { units: 1, before: Some(count(number)), changed }
                }
                None => new(1),
            };
            self.changes.push(Subject::Target, stretch);
        }
    }

    /// The metrics of which one unit has other samples than before.
    fn differing(
        &mut self,
        subject: Subject,
        before: impl FnOnce(&mut Rows<'a>),
        now: impl FnOnce(&mut Rows<'a>),
    ) -> Metrics {
        let [(rows_before, _), (rows, _)] = &mut self.samples;
        before(rows_before);
        now(rows);
        let mut changed = Metrics::default();
        for metric in self.metrics.iter().copied().filter(|metric| metric.subject() == subject) {
            for (rows, sink) in &mut self.samples {
                sink.clear();
                rows.write(metric, sink);
            }
            if self.samples[0].1.text != self.samples[1].1.text {
                changed.insert(metric);
            }
        }
        self.samples.iter_mut().for_each(|(rows, _)| rows.clear());
        changed
    }
}

fn new(units: u32) -> Stretch {
    Stretch { units, before: None, changed: Metrics::default() }
}

fn same(before: u32, units: u32) -> Stretch {
    Stretch { units, before: Some(before), changed: Metrics::default() }
}

/// The order of two that may be shared, and then need not be looked into.
fn shared<View>(a: &Arc<View>, b: &Arc<View>, order: fn(&View, &View) -> Ordering) -> Ordering {
    if Arc::ptr_eq(a, b) { Ordering::Equal } else { order(a, b) }
}

/// Finds what has the same name in two sorted lists. In lists that are not sorted it may find less.
struct Pairs<'a, Item> {
    before: &'a [Item],
    next: usize,
    order: fn(&Item, &Item) -> Ordering,
}

impl<'a, Item> Pairs<'a, Item> {
    fn new(before: &'a [Item], order: fn(&Item, &Item) -> Ordering) -> Self {
        Self { before, next: 0, order }
    }

    /// The place that the next item had before.
    fn find(&mut self, now: &Item) -> Option<usize> {
        while let Some(before) = self.before.get(self.next) {
            match (self.order)(before, now) {
                Ordering::Less => self.next += 1,
                Ordering::Equal => {
                    self.next += 1;
                    return Some(self.next - 1);
                }
                Ordering::Greater => return None,
            }
        }
        None
    }
}
