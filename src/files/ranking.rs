//! What of an image is big, and what is wasted.

use std::cmp::Reverse;

use super::merge::{Content, ImageFiles, Standing};

/// A file or a directory by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedPath {
    /// From the root.
    pub path: String,
    /// Apparent bytes; of a directory those of all files beneath.
    pub bytes: u64,
    /// Of a file, the layer that has it, counted from the bottom.
    pub layer: Option<u32>,
}

/// A file that takes space in a layer and is not in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WastedFile {
    /// From the root.
    pub path: String,
    /// Apparent bytes.
    pub bytes: u64,
    /// The layer that has it, counted from the bottom.
    pub layer: u32,
    /// The layer that hides it.
    pub hidden_by: u32,
    /// How.
    pub cause: Cause,
}

/// Why a file is wasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The image has no file at its path.
    Removed,
    /// The image has another one.
    Replaced,
    /// The image has the same one, from a later layer: a `chmod`, a second `COPY`.
    Repeated,
}

impl ImageFiles<'_> {
    /// The biggest files of the image, the biggest first.
    pub fn biggest(&self, count: usize) -> Vec<RankedPath> {
        let remaining = self.contents().filter(|content| content.hidden_by.is_none()).collect();
        let ranked = |content: Standing| RankedPath {
            path: self.path(content.node),
            bytes: content.bytes,
            layer: Some(content.layer),
        };
        first(remaining, count, |content| content.bytes).into_iter().map(ranked).collect()
    }

    /// The biggest directories, the biggest first. One whose bytes are all in one directory of it is left out for that
    /// one, and so is the root.
    pub fn directories(&self, count: usize) -> Vec<RankedPath> {
        let totals = self.totals();
        let candidates = self.telling(&totals).map(|node| (totals[node as usize], node)).collect();
        let ranked = |(bytes, node): (u64, u32)| RankedPath { path: self.path(node), bytes, layer: None };
        first(candidates, count, |(bytes, _)| *bytes).into_iter().map(ranked).collect()
    }

    /// What is wasted most, the biggest first.
    pub fn wasted(&self, count: usize) -> Vec<WastedFile> {
        let hidden = self.contents().filter(|content| content.hidden_by.is_some()).collect();
        let heirs = self.heirs();
        let wasted = |content: Standing| WastedFile {
            path: self.path(content.node),
            bytes: content.bytes,
            layer: content.layer,
            hidden_by: content.hidden_by.unwrap_or_default(),
            cause: self.cause(content, heirs[content.node as usize]),
        };
        first(hidden, count, |content| content.bytes).into_iter().map(wasted).collect()
    }

    /// By node, the bytes of all files beneath it that remain.
    pub(super) fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0; self.nodes().len()];
        for content in self.contents().filter(|content| content.hidden_by.is_none()) {
            totals[content.node as usize] = content.bytes;
        }
        for (index, node) in self.nodes().iter().enumerate().rev() {
            if node.remains() && !node.is_root() {
                totals[node.parent as usize] += totals[index];
            }
        }
        totals
    }

    /// The directories whose bytes are not all in one directory of them, without the root.
    pub(super) fn telling(&self, totals: &[u64]) -> impl Iterator<Item = u32> {
        let mut is_telling: Vec<bool> = self
            .nodes()
            .iter()
            .zip(totals)
            .map(|(node, total)| node.remains() && !node.is_root() && node.content == Content::Directory && *total > 0)
            .collect();
        for (node, total) in self.nodes().iter().zip(totals) {
            let is_directory = node.remains() && !node.is_root() && node.content == Content::Directory;
            if is_directory && *total > 0 && *total == totals[node.parent as usize] {
                is_telling[node.parent as usize] = false;
            }
        }
        (0..).zip(is_telling).filter(|(_, telling)| *telling).map(|(node, _)| node)
    }

    /// By node, what the image has at the path of it.
    fn heirs(&self) -> Vec<Option<u32>> {
        let mut heirs: Vec<Option<u32>> = Vec::with_capacity(self.nodes().len());
        for (index, node) in (0..).zip(self.nodes()) {
            heirs.push(if node.remains() {
                Some(index)
            } else if node.is_root() {
                Some(self.root())
            } else {
                heirs[node.parent as usize].and_then(|parent| self.child(parent, node.name()))
            });
        }
        heirs
    }

    fn cause(&self, content: Standing, heir: Option<u32>) -> Cause {
        let Some(heir) = heir.map(|heir| self.nodes()[heir as usize]) else { return Cause::Removed };
        let Content::File(inode) = heir.content else { return Cause::Removed };
        let inode_of = |layer: u32, inode: u32| self.layers()[layer as usize].inodes()[inode as usize];
        if inode_of(heir.layer, inode) == inode_of(content.layer, content.inode) {
            Cause::Repeated
        } else {
            Cause::Replaced
        }
    }
}

impl Cause {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Repeated => "repeated",
        }
    }
}

/// The first of a list by bytes, the most first. Equal ones stay in their order.
pub(super) fn first<T>(mut list: Vec<T>, count: usize, bytes: impl Fn(&T) -> u64) -> Vec<T> {
    list.sort_by_key(|item| Reverse(bytes(item)));
    list.truncate(count);
    list
}
