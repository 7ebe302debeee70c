//! What a tree keeps for a listing: the names of paths, checksums of contents, and what packages' databases say.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io::{self, BufRead};

use super::{DirectoryEntry, KeyHasher, Node, PathKey, ROOT, Tree};
use crate::files::packages::{Database, PACKAGES_MAX, Source};
use crate::files::{Inode, Kind, Listing, Unlisted};
use crate::layer::tar;

/// What is listed of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// At most so many paths.
    pub paths_max: usize,
    /// Whether packages' databases are read: they take memory, and who only counts bytes needs none.
    pub packages: bool,
}

/// The names of a layer's paths.
pub(super) struct Names {
    /// Where the names are in `bytes`, by their paths; those of replaced paths as well.
    by_key: HashMap<PathKey, (u32, u8), BuildHasherDefault<KeyHasher>>,
    bytes: Vec<u8>,
    /// Of each inode of the tree.
    contents: Vec<u32>,
    databases: Vec<(u32, Database)>,
    paths_max: usize,
    packages_left: usize,
}

/// What a listing has of a file's content.
#[derive(Debug, Default)]
pub(crate) struct Content {
    checksum: u32,
    database: Option<Database>,
}

impl Content {
    /// Reads an entry's content, in place; of other kinds than files there is none. `packages`: whether a packages'
    /// database is parsed.
    pub(crate) fn read(entry: &tar::Entry<'_>, content: &mut dyn BufRead, packages: bool) -> io::Result<Self> {
        if entry.kind != tar::Kind::File {
            return Ok(Self::default());
        }
        let source = Source::of_any_link(entry.path).filter(|_| packages);
        let kept_max = source.map_or(0, Source::bytes_max);
        let (mut kept, mut read_bytes) = (Vec::new(), 0_usize);
        let mut hasher = crc32fast::Hasher::new();
        loop {
            let piece = content.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            hasher.update(piece);
            kept.extend(&piece[..piece.len().min(kept_max - kept.len())]);
            let count = piece.len();
            read_bytes += count;
            content.consume(count);
        }
        let database = source.and_then(|source| source.parse(&kept, kept.len() == read_bytes));
        Ok(Self { checksum: hasher.finalize(), database })
    }

    /// That of these bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self { checksum: crc32fast::hash(bytes), database: None }
    }
}

impl Names {
    pub(super) fn new(Wanted { paths_max, packages }: Wanted) -> Self {
        let (by_key, bytes, contents, databases) = Default::default();
        let packages_left = if packages { PACKAGES_MAX } else { 0 };
        Self { by_key, bytes, contents, databases, paths_max, packages_left }
    }

    /// Whether there is room for more packages.
    pub(super) fn reads_packages(&self) -> bool {
        self.packages_left > 0
    }

    /// Keeps the name of a path.
    pub(super) fn note(&mut self, key: PathKey, name: &[u8]) -> Result<(), Unlisted> {
        let (Ok(start), Ok(length)) = (u32::try_from(self.bytes.len()), u8::try_from(name.len())) else {
            return Err(Unlisted::TooManyPaths);
        };
        let bytes = &mut self.bytes;
        self.by_key.entry(key).or_insert_with(|| {
            bytes.extend(name);
            (start, length)
        });
        if self.by_key.len() > self.paths_max { Err(Unlisted::TooManyPaths) } else { Ok(()) }
    }

    /// Keeps what is known of the next inode's content.
    pub(super) fn note_content(&mut self, Content { checksum, mut database }: Content) {
        if let Some(Database::Packages(packages)) = &mut database {
            packages.truncate(self.packages_left);
            packages.shrink_to_fit();
            self.packages_left -= packages.len();
        }
        let inode = u32::try_from(self.contents.len()).unwrap_or(u32::MAX);
        self.databases.extend(database.map(|database| (inode, database)));
        self.contents.push(checksum);
    }

    fn of(&self, key: &PathKey) -> &[u8] {
        let (start, length) = self.by_key.get(key).copied().unwrap_or_default();
        &self.bytes[start as usize..start as usize + usize::from(length)]
    }
}

impl Tree {
    /// The listing, once removed directories are marked.
    pub(super) fn listing(&self, names: Names) -> Listing {
        let mut listing = Listing::new(self.directories[ROOT as usize].opaque);
        let mut entries: Vec<(u32, &[u8], Node)> = self
            .entries
            .iter()
            .filter(|(_, entry)| !self.directories[entry.directory as usize].removed)
            .map(|(key, DirectoryEntry { directory, node })| (*directory, names.of(key), *node))
            .collect();
        // A directory comes after its parent, so that in this order its own entry comes before those in it.
        entries.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let mut directories = vec![ROOT; self.directories.len()];
        let mut inodes = vec![None; self.inodes.len()];
        for (directory, name, node) in entries {
            let kind = match node {
                Node::Directory(at) => Kind::Directory { opaque: self.directories[at as usize].opaque },
                Node::File(inode) | Node::Symlink(inode) => {
                    let at = inode as usize;
                    let (bytes, checksum) = (self.inodes[at], names.contents[at]);
                    Kind::File(*inodes[at].get_or_insert_with(|| listing.add_inode(Inode { bytes, checksum })))
                }
                Node::Special => Kind::Special,
                Node::Whiteout => Kind::Whiteout,
            };
            let added = listing.add(directories[directory as usize], name, kind);
            if let Node::Directory(at) = node {
                directories[at as usize] = added;
            }
        }
        for (inode, database) in names.databases {
            if let Some(inode) = inodes[inode as usize] {
                listing.add_database(inode, database);
            }
        }
        listing
    }
}
