//! The layers of an image, merged as overlay2 merges them.

use std::collections::HashMap;

use super::listing::{Kind, Listing, PATHS_MAX, Unlisted};
use super::path::joined;

const ROOT_BEFORE_LAYERS: u32 = 0;
const NONE: u32 = u32::MAX;

/// All paths of an image's layers: those that remain, and those that a later layer hides.
#[derive(Debug)]
pub struct ImageFiles<'a> {
    layers: Vec<&'a Listing>,
    /// A parent comes before its children. A root is its own parent; an opaque one replaces the root before it.
    nodes: Vec<Merged<'a>>,
    children: HashMap<(u32, &'a [u8]), u32>,
    root: u32,
    /// By layer and inode the node that stands for it. Of several hard links it is the first path that remains.
    owners: Vec<Vec<u32>>,
}

/// A path of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merged<'a> {
    pub(super) parent: u32,
    name: &'a [u8],
    /// The layer that has it, counted from the bottom.
    pub(super) layer: u32,
    pub(super) content: Content,
    /// The layer that hides it, [`NONE`] where it remains.
    hidden_by: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Directory,
    File(u32),
    Special,
}

/// A file's content, in the image or hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The node that stands for it.
    pub(super) node: u32,
    /// The layer that has it, counted from the bottom.
    pub layer: u32,
    /// Its position among the layer's contents.
    pub inode: u32,
    /// Apparent bytes.
    pub bytes: u64,
    /// The layer that hides its last path; `None` where it is in the image.
    pub hidden_by: Option<u32>,
}

impl<'a> ImageFiles<'a> {
    /// Merges the layers of an image, bottom first.
    ///
    /// # Errors
    /// Where they have more than [`PATHS_MAX`] paths, or sizes whose sum is no `u64`: any sum of sizes of the image is at
    /// most that one.
    pub fn merge(layers: Vec<&'a Listing>) -> Result<Self, Unlisted> {
        if layers.iter().map(|layer| layer.paths()).sum::<usize>() > PATHS_MAX {
            return Err(Unlisted::TooManyPaths);
        }
        let mut sizes = layers.iter().flat_map(|layer| layer.inodes()).map(|inode| inode.bytes);
        if sizes.try_fold(0, u64::checked_add).is_none() {
            return Err(Unlisted::TooManyBytes);
        }
        let root =
            Merged { parent: ROOT_BEFORE_LAYERS, name: b"", layer: 0, content: Content::Directory, hidden_by: NONE };
        let owners = Vec::with_capacity(layers.len());
        let mut files = Self { layers, nodes: vec![root], children: HashMap::new(), root: ROOT_BEFORE_LAYERS, owners };
        for (number, layer) in (0..).zip(files.layers.clone()) {
            files.apply(number, layer);
        }
        // A parent comes before its children, so one pass in order marks everything beneath what is hidden.
        for index in 1..files.nodes.len() {
            let hidden_by = files.nodes[files.nodes[index].parent as usize].hidden_by;
            let node = &mut files.nodes[index];
            node.hidden_by = node.hidden_by.min(hidden_by);
        }
        files.find_owners();
        Ok(files)
    }

    fn apply(&mut self, number: u32, layer: &'a Listing) {
        let mut at = Vec::with_capacity(layer.nodes().len());
        for (position, node) in layer.nodes().iter().enumerate() {
            if position == 0 {
                if node.kind == (Kind::Directory { opaque: true }) {
                    self.nodes[self.root as usize].hidden_by = number;
                    let parent = index(self.nodes.len());
                    self.root = self.push(parent, b"", number, Content::Directory);
                }
                at.push(self.root);
                continue;
            }
            let key = (at[node.parent as usize], layer.name(node));
            let existing = self.children.get(&key).copied();
            let content = match (node.kind, existing) {
                (Kind::Directory { opaque: false }, Some(there))
                    if self.nodes[there as usize].content == Content::Directory =>
                {
                    at.push(there);
                    continue;
                }
                (Kind::Directory { .. }, _) => Some(Content::Directory),
                (Kind::File(inode), _) => Some(Content::File(inode)),
                (Kind::Special, _) => Some(Content::Special),
                (Kind::Whiteout, _) => None,
            };
            if let Some(there) = existing {
                self.nodes[there as usize].hidden_by = number;
                self.children.remove(&key);
            }
            let merged = content.map_or(NONE, |content| {
                let merged = self.push(key.0, key.1, number, content);
                self.children.insert(key, merged);
                merged
            });
            at.push(merged);
        }
    }

    fn push(&mut self, parent: u32, name: &'a [u8], layer: u32, content: Content) -> u32 {
        self.nodes.push(Merged { parent, name, layer, content, hidden_by: NONE });
        index(self.nodes.len() - 1)
    }

    fn find_owners(&mut self) {
        let mut owners: Vec<Vec<u32>> = self.layers.iter().map(|layer| vec![NONE; layer.inodes().len()]).collect();
        for (node, merged) in (0..).zip(&self.nodes) {
            let Content::File(inode) = merged.content else { continue };
            let owner = &mut owners[merged.layer as usize][inode as usize];
            if *owner == NONE || self.precedes(node, *owner) {
                *owner = node;
            }
        }
        self.owners = owners;
    }

    /// Of two hard links the one that remains longer, else the first path.
    fn precedes(&self, a: u32, b: u32) -> bool {
        let [first, second] = [a, b].map(|node| self.nodes[node as usize].hidden_by);
        second.cmp(&first).then_with(|| self.path(a).cmp(&self.path(b))).is_lt()
    }

    /// Each content of each layer, once.
    pub fn contents(&self) -> impl Iterator<Item = Standing> {
        let contents = (0..).zip(&self.owners).flat_map(|(layer, owners)| (0..).zip(owners).map(move |o| (layer, o)));
        contents.filter(|(_, (_, owner))| **owner != NONE).map(|(layer, (inode, &node))| {
            let hidden_by = self.nodes[node as usize].hidden_by;
            let bytes = self.layers[layer as usize].inodes()[inode as usize].bytes;
            Standing { node, layer, inode, bytes, hidden_by: (hidden_by != NONE).then_some(hidden_by) }
        })
    }

    /// Bytes of the image's files, each content once: what `du --apparent-size` counts, without directories.
    pub fn bytes(&self) -> u64 {
        self.contents().filter(|content| content.hidden_by.is_none()).map(|content| content.bytes).sum()
    }

    /// Bytes of files that a later layer overwrites or removes. With [`Self::bytes`] they are the bytes of all layers.
    pub fn wasted_bytes(&self) -> u64 {
        self.contents().filter(|content| content.hidden_by.is_some()).map(|content| content.bytes).sum()
    }

    /// How many files the image has, hard links counted once.
    pub fn files(&self) -> u64 {
        self.contents().filter(|content| content.hidden_by.is_none()).count() as u64
    }

    /// A node's path.
    pub(super) fn path(&self, node: u32) -> String {
        let mut names = Vec::new();
        let mut at = &self.nodes[node as usize];
        while !at.name.is_empty() {
            names.push(at.name);
            at = &self.nodes[at.parent as usize];
        }
        joined(&names)
    }

    pub(super) fn layers(&self) -> &[&'a Listing] {
        &self.layers
    }

    pub(super) fn nodes(&self) -> &[Merged<'a>] {
        &self.nodes
    }

    pub(super) fn root(&self) -> u32 {
        self.root
    }

    pub(super) fn child(&self, parent: u32, name: &[u8]) -> Option<u32> {
        self.children.get(&(parent, name)).copied()
    }

    /// The node that stands for an inode.
    pub(super) fn owner(&self, layer: u32, inode: u32) -> u32 {
        self.owners[layer as usize][inode as usize]
    }
}

impl<'a> Merged<'a> {
    pub(super) fn remains(&self) -> bool {
        self.hidden_by == NONE
    }

    pub(super) fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    pub(super) fn name(&self) -> &'a [u8] {
        self.name
    }
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("the number of paths is limited far below 2^32")
}

#[cfg(test)]
mod tests;
