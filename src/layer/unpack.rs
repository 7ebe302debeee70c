//! The file tree of one layer as overlay2 unpacks it, without contents: the files that remain at the end, and their
//! size.
//!
//! The rule is Docker's: a layer is unpacked alone, into a directory of its own, as if that were the root. A later
//! entry replaces whatever has its path, with everything beneath, unless both are directories. Then the sizes of all
//! inodes except directories are added up, each inode once (moby, `directory.Size`): a symbolic link has the length of
//! its target, a whiteout and a device have 0.
//!
//! Memory per path is constant: a path is its directory and a hash of its name. A removed directory is only marked,
//! since no path resolves to its content any more. Only where a listing is wanted, names are kept beside it.

mod names;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::tar::{Entry, Kind};
use crate::files::{LayerFiles, Unlisted};

pub(crate) use names::Content;
use names::Names;
pub use names::Wanted;

/// Paths in one layer, replaced ones included. Each takes about 40 bytes.
pub(crate) const PATHS_MAX: usize = 10_000_000;

/// Linux's limit for a path and for the target of a symbolic link.
const PATH_BYTES_MAX: usize = 4095;

/// Linux's limit for a name.
const NAME_BYTES_MAX: usize = 255;

/// Linux's limit for symbolic links that it follows in one path.
const SYMLINKS_MAX: u32 = 40;

/// Bytes of symbolic links' targets that are kept, for paths that lead through the links.
const TARGET_BYTES_MAX: usize = 32 << 20;

/// The layer has more paths than [`PATHS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPaths;

/// Overlay2 refuses an entry, so the layer has no unpacked size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused;

/// The files of a layer.
pub(crate) struct Tree {
    entries: HashMap<PathKey, DirectoryEntry, BuildHasherDefault<KeyHasher>>,
    /// All directories, removed ones included. A parent comes before its children; the root is its own parent.
    directories: Vec<Directory>,
    /// Bytes of each inode except directories.
    inodes: Vec<u64>,
    targets: HashMap<u32, Box<[u8]>>,
    target_bytes: usize,
    hashes: [RandomState; 2],
    /// The last entry's directory, as written: the next entry mostly has the same.
    last: Option<(Vec<u8>, u32)>,
    paths_max: usize,
    /// What a listing needs beside, or why there will be none.
    names: Result<Names, Unlisted>,
}

/// A directory and a name in it, hashed to 96 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PathKey([u32; 3]);

#[derive(Clone, Copy)]
struct DirectoryEntry {
    directory: u32,
    node: Node,
    /// The position of its name, where names are kept.
    name: u32,
}

/// What has a path. The number is an index into `directories` or `inodes`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory(u32),
    File(u32),
    Symlink(u32),
    Special,
    Whiteout,
}

#[derive(Clone, Copy)]
struct Directory {
    parent: u32,
    removed: bool,
    opaque: bool,
}

const ROOT: u32 = 0;

impl Tree {
    /// `listed`: what a listing has; `None` where none is wanted.
    pub(crate) fn new(listed: Option<Wanted>) -> Self {
        let names = listed.map(Names::new).ok_or(Unlisted::Unread);
        Self { names, ..Self::with_paths_max(PATHS_MAX) }
    }

    fn with_paths_max(paths_max: usize) -> Self {
        Self {
            entries: HashMap::default(),
            directories: vec![Directory { parent: ROOT, removed: false, opaque: false }],
            inodes: Vec::new(),
            targets: HashMap::new(),
            target_bytes: 0,
            hashes: [RandomState::new(), RandomState::new()],
            last: None,
            paths_max,
            names: Err(Unlisted::Unread),
        }
    }

    /// Whether contents are needed for a listing.
    pub(crate) fn lists_files(&self) -> bool {
        self.names.is_ok()
    }

    /// Whether packages' databases are read for a listing.
    pub(crate) fn reads_packages(&self) -> bool {
        self.names.as_ref().is_ok_and(Names::reads_packages)
    }

    /// Unpacks an entry with its content. Returns `false` if overlay2 would refuse it, and so the layer.
    pub(crate) fn insert(&mut self, entry: &Entry<'_>, content: Content) -> Result<bool, TooManyPaths> {
        // Replaced directories and inodes stay in their lists.
        if self.entries.len().max(self.inodes.len()).max(self.directories.len()) >= self.paths_max {
            return Err(TooManyPaths);
        }
        Ok(self.try_insert(entry, content).is_ok())
    }

    /// Bytes of all files, and their listing.
    pub(crate) fn finish(mut self) -> (u64, LayerFiles) {
        // A parent comes before its children, so one pass in order marks everything beneath a removed directory.
        for index in 1..self.directories.len() {
            let parent = self.directories[index].parent;
            self.directories[index].removed |= self.directories[parent as usize].removed;
        }
        let names = std::mem::replace(&mut self.names, Err(Unlisted::Unread));
        let files = names.map(|names| self.listing(names).into());
        let mut sum = 0_u64;
        for entry in self.entries.values() {
            if self.directories[entry.directory as usize].removed {
                continue;
            }
            if let Node::File(inode) | Node::Symlink(inode) = entry.node {
                sum = sum.saturating_add(std::mem::take(&mut self.inodes[inode as usize]));
            }
        }
        (sum, files)
    }

    fn try_insert(&mut self, entry: &Entry<'_>, content: Content) -> Result<(), Refused> {
        let path = clean(entry.path)?;
        let Some((name, parent)) = path.split_last() else {
            // As in Docker's engine nothing replaces the root itself.
            return Ok(());
        };
        if entry.kind == Kind::Unknown {
            return Err(Refused);
        }
        let directory = self.parent_of(parent)?;
        let key = self.key(directory, name);
        let existing = self.entries.get(&key).copied();
        if let Some(existing) = existing {
            match (existing.node, entry.kind) {
                (Node::Directory(_), Kind::Directory) => return Ok(()),
                (Node::Directory(removed), _) => {
                    self.directories[removed as usize].removed = true;
                    self.last = None;
                }
                (Node::Symlink(_), _) => self.last = None,
                _ => {}
            }
            self.entries.remove(&key);
        }
        if name.starts_with(WHITEOUT) {
            return self.insert_whiteout(directory, name);
        }
        let node = match entry.kind {
            Kind::Directory => self.new_directory(directory),
            Kind::File => Node::File(self.new_inode(entry.bytes, content)),
            Kind::Symlink => self.new_symlink(entry.link)?,
            Kind::Link => self.find(entry.link)?,
            Kind::Special | Kind::Unknown => Node::Special,
        };
        match existing {
            Some(DirectoryEntry { name, .. }) => {
                self.entries.insert(key, DirectoryEntry { directory, node, name });
            }
            None => self.add(key, name, directory, node),
        }
        Ok(())
    }

    /// Adds what has no entry.
    fn add(&mut self, key: PathKey, name: &[u8], directory: u32, node: Node) {
        let noted = self.names.as_mut().map_err(|why| *why).and_then(|names| names.note(name));
        let name = noted.unwrap_or_else(|why| {
            self.names = Err(why);
            0
        });
        self.entries.insert(key, DirectoryEntry { directory, node, name });
    }

    /// `.wh.name` removes a lower layer's `name`: overlay2 makes a device of that name. `.wh..wh..opq` only marks its
    /// directory.
    fn insert_whiteout(&mut self, directory: u32, name: &[u8]) -> Result<(), Refused> {
        if name == OPAQUE {
            self.directories[directory as usize].opaque = true;
            return Ok(());
        }
        let name = &name[WHITEOUT.len()..];
        let key = self.key(directory, name);
        if self.entries.contains_key(&key) {
            return Err(Refused);
        }
        self.add(key, name, directory, Node::Whiteout);
        Ok(())
    }

    /// The target of a hard link. It must be in this layer, since overlay2 unpacks each layer alone, and not a
    /// directory.
    fn find(&mut self, target: &[u8]) -> Result<Node, Refused> {
        let path = clean(target)?;
        let (name, parent) = path.split_last().ok_or(Refused)?;
        let mut directory = ROOT;
        for name in parent {
            directory = self.enter(directory, name, &mut 0, false)?;
        }
        match self.entries.get(&self.key(directory, name)) {
            Some(DirectoryEntry { node: Node::Directory(_), .. }) | None => Err(Refused),
            Some(entry) => Ok(entry.node),
        }
    }

    fn parent_of(&mut self, parent: &[&[u8]]) -> Result<u32, Refused> {
        let joined = parent.join(&b'/');
        if let Some((last, directory)) = &self.last
            && *last == joined
        {
            return Ok(*directory);
        }
        let mut directory = ROOT;
        let mut followed = 0;
        for name in parent {
            directory = self.enter(directory, name, &mut followed, true)?;
        }
        self.last = Some((joined, directory));
        Ok(directory)
    }

    /// The directory `name` in `directory`. A missing one is made if `make`.
    fn enter(&mut self, directory: u32, name: &[u8], followed: &mut u32, make: bool) -> Result<u32, Refused> {
        let key = self.key(directory, name);
        match self.entries.get(&key).map(|entry| entry.node) {
            Some(Node::Directory(found)) => Ok(found),
            Some(Node::Symlink(inode)) => self.follow(directory, inode, followed),
            None if make => {
                let node = self.new_directory(directory);
                self.add(key, name, directory, node);
                let Node::Directory(made) = node else { return Err(Refused) };
                Ok(made)
            }
            Some(Node::File(_) | Node::Special | Node::Whiteout) | None => Err(Refused),
        }
    }

    /// The directory that a symbolic link in `directory` leads to. Missing directories on the way are not made.
    fn follow(&mut self, directory: u32, inode: u32, followed: &mut u32) -> Result<u32, Refused> {
        *followed += 1;
        let target = self.targets.get(&inode).filter(|_| *followed <= SYMLINKS_MAX).ok_or(Refused)?.clone();
        let mut at = if target.starts_with(b"/") { ROOT } else { directory };
        for name in target.split(|&byte| byte == b'/') {
            at = match name {
                b"" | b"." => at,
                b".." => self.directories[at as usize].parent,
                name => self.enter(at, name, followed, false)?,
            };
        }
        Ok(at)
    }

    fn new_directory(&mut self, parent: u32) -> Node {
        self.directories.push(Directory { parent, removed: false, opaque: false });
        Node::Directory(index(self.directories.len()))
    }

    fn new_inode(&mut self, bytes: u64, content: Content) -> u32 {
        self.inodes.push(bytes);
        if let Ok(names) = &mut self.names {
            names.note_content(content);
        }
        index(self.inodes.len())
    }

    fn new_symlink(&mut self, target: &[u8]) -> Result<Node, Refused> {
        if target.is_empty() || target.len() > PATH_BYTES_MAX {
            return Err(Refused);
        }
        let content = if self.lists_files() { Content::of_bytes(target) } else { Content::default() };
        let inode = self.new_inode(target.len() as u64, content);
        self.target_bytes += target.len();
        if self.target_bytes <= TARGET_BYTES_MAX {
            self.targets.insert(inode, target.into());
        }
        Ok(Node::Symlink(inode))
    }

    fn key(&self, directory: u32, name: &[u8]) -> PathKey {
        let [low, high] = self.hashes.each_ref().map(|state| state.hash_one((directory, name)));
        let low = low.to_le_bytes();
        let high = high.to_le_bytes();
        PathKey([
            u32::from_le_bytes([low[0], low[1], low[2], low[3]]),
            u32::from_le_bytes([low[4], low[5], low[6], low[7]]),
            u32::from_le_bytes([high[0], high[1], high[2], high[3]]),
        ])
    }
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The names of a path after Go's `path.Clean`, with the layer's directory as the root.
fn clean(path: &[u8]) -> Result<Vec<&[u8]>, Refused> {
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name if name.len() > NAME_BYTES_MAX => return Err(Refused),
            name => names.push(name),
        }
    }
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    if bytes > PATH_BYTES_MAX { Err(Refused) } else { Ok(names) }
}

/// The index of the last of `length` elements.
fn index(length: usize) -> u32 {
    u32::try_from(length - 1).expect("the number of paths is limited far below 2^32")
}

impl std::hash::Hash for PathKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
    }
}

/// Returns the key itself, which already is a hash.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests;
