//! What makes one image bigger than another: paths and directories.

use super::merge::{Content, ImageFiles};
use super::ranking::first;

/// The difference of two images' files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// Bytes of files that only the new image has.
    pub added_bytes: u64,
    /// By how much files grew.
    pub grown_bytes: u64,
    /// By how much files shrank.
    pub shrunk_bytes: u64,
    /// Bytes of files that only the old image has.
    pub gone_bytes: u64,
    /// The files that changed most, the greatest change first.
    pub files: Vec<PathChange>,
    /// The same of directories.
    pub directories: Vec<PathChange>,
}

/// One path in two images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// From the root.
    pub path: String,
    /// What happened.
    pub change: Change,
    /// Bytes in the old image, 0 where it has no such path.
    pub old_bytes: u64,
    /// Bytes in the new image, 0 where it has no such path.
    pub new_bytes: u64,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the new image has it.
    Added,
    /// It is bigger.
    Grown,
    /// It is smaller.
    Shrunk,
    /// Only the old image has it.
    Gone,
}

/// A path of either image, by node.
#[derive(Clone, Copy)]
struct Pair {
    old: Option<u32>,
    new: Option<u32>,
    old_bytes: u64,
    new_bytes: u64,
}

impl Growth {
    /// Compares two images; lists at most `count` files and directories.
    pub fn new(old: &ImageFiles<'_>, new: &ImageFiles<'_>, count: usize) -> Self {
        let counterparts = counterparts(old, new);
        let (old_totals, new_totals) = (old.totals(), new.totals());
        let mut growth = Self::default();
        let mut files = Vec::new();
        pair(
            (old, &old_totals),
            (new, &new_totals),
            &counterparts,
            |content| matches!(content, Content::File(_)),
            |pair| {
                growth.count(pair);
                files.push(pair);
            },
        );
        let mut directories = Vec::new();
        let is_directory = |content: Content| content == Content::Directory;
        pair((old, &old_totals), (new, &new_totals), &counterparts, is_directory, |pair| directories.push(pair));
        let directories = telling(old, new, directories);
        let listed = |pairs: Vec<Pair>| -> Vec<PathChange> {
            first(pairs, count, Pair::difference).into_iter().map(|pair| pair.named(old, new)).collect()
        };
        growth.files = listed(files);
        growth.directories = listed(directories);
        growth
    }

    fn count(&mut self, pair: Pair) {
        let sum = match pair.change() {
            Change::Added => &mut self.added_bytes,
            Change::Grown => &mut self.grown_bytes,
            Change::Shrunk => &mut self.shrunk_bytes,
            Change::Gone => &mut self.gone_bytes,
        };
        *sum += pair.difference();
    }
}

impl Pair {
    fn change(&self) -> Change {
        match (self.old, self.new) {
            (None, _) => Change::Added,
            (_, None) => Change::Gone,
            (Some(_), Some(_)) if self.new_bytes >= self.old_bytes => Change::Grown,
            (Some(_), Some(_)) => Change::Shrunk,
        }
    }

    fn difference(&self) -> u64 {
        self.new_bytes.abs_diff(self.old_bytes)
    }

    fn named(self, old: &ImageFiles<'_>, new: &ImageFiles<'_>) -> PathChange {
        let path = match (self.old, self.new) {
            (_, Some(node)) => new.path(node),
            (Some(node), None) => old.path(node),
            (None, None) => String::new(),
        };
        PathChange { path, change: self.change(), old_bytes: self.old_bytes, new_bytes: self.new_bytes }
    }
}

impl Change {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Grown => "grown",
            Self::Shrunk => "shrunk",
            Self::Gone => "gone",
        }
    }
}

/// By node of the new image, the old image's node at the same path.
fn counterparts(old: &ImageFiles<'_>, new: &ImageFiles<'_>) -> Vec<Option<u32>> {
    let mut counterparts: Vec<Option<u32>> = Vec::with_capacity(new.nodes().len());
    for node in new.nodes() {
        counterparts.push(if !node.remains() {
            None
        } else if node.is_root() {
            Some(old.root())
        } else {
            counterparts[node.parent as usize].and_then(|parent| old.child(parent, node.name()))
        });
    }
    counterparts
}

/// Calls `each` for the paths of a kind whose bytes differ. Of hard links only the one that stands for the content is
/// a path with bytes.
fn pair<'a>(
    (old, old_totals): (&ImageFiles<'a>, &[u64]),
    (new, new_totals): (&ImageFiles<'a>, &[u64]),
    counterparts: &[Option<u32>],
    is_wanted: impl Fn(Content) -> bool,
    mut each: impl FnMut(Pair),
) {
    let counts = |files: &ImageFiles<'_>, index: u32| {
        let node = files.nodes()[index as usize];
        let is_owner = match node.content {
            Content::File(inode) => files.owner(node.layer, inode) == index,
            Content::Directory | Content::Special => true,
        };
        node.remains() && !node.is_root() && is_wanted(node.content) && is_owner
    };
    let mut paired = vec![false; old.nodes().len()];
    for (index, counterpart) in (0..).zip(counterparts) {
        if !counts(new, index) {
            continue;
        }
        let counterpart = counterpart.filter(|counterpart| counts(old, *counterpart));
        if let Some(counterpart) = counterpart {
            paired[counterpart as usize] = true;
        }
        let old_bytes = counterpart.map_or(0, |counterpart| old_totals[counterpart as usize]);
        let pair = Pair { old: counterpart, new: Some(index), old_bytes, new_bytes: new_totals[index as usize] };
        if pair.old_bytes != pair.new_bytes {
            each(pair);
        }
    }
    for (index, paired) in (0..).zip(paired) {
        let bytes = old_totals[index as usize];
        if !paired && bytes > 0 && counts(old, index) {
            each(Pair { old: Some(index), new: None, old_bytes: bytes, new_bytes: 0 });
        }
    }
}

/// Leaves out the directories whose whole change is that of one directory in them.
fn telling(old: &ImageFiles<'_>, new: &ImageFiles<'_>, pairs: Vec<Pair>) -> Vec<Pair> {
    let key = |pair: &Pair| (pair.old, pair.new);
    let by_node: std::collections::HashMap<(bool, u32), usize> = pairs
        .iter()
        .enumerate()
        .flat_map(|(at, pair)| [pair.old.map(|node| ((false, node), at)), pair.new.map(|node| ((true, node), at))])
        .flatten()
        .collect();
    let mut left_out = vec![false; pairs.len()];
    for pair in &pairs {
        let parent = match key(pair) {
            (_, Some(node)) => (true, new.nodes()[node as usize].parent),
            (Some(node), None) => (false, old.nodes()[node as usize].parent),
            (None, None) => continue,
        };
        if let Some(&at) = by_node.get(&parent) {
            let above = &pairs[at];
            let is_same = i128::from(above.new_bytes) - i128::from(above.old_bytes)
                == i128::from(pair.new_bytes) - i128::from(pair.old_bytes);
            left_out[at] |= is_same;
        }
    }
    pairs.into_iter().zip(left_out).filter(|(_, left_out)| !left_out).map(|(pair, _)| pair).collect()
}
