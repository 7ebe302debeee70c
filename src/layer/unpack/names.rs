//! What a tree keeps for a listing: the names of paths, checksums of contents, and what packages' databases say.

use std::io::{self, BufRead};

use super::{DirectoryEntry, Node, PathKey, ROOT, Tree};
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
    /// The paths in the layer's order, each once, and where each one's name ends in `bytes`.
    paths: Vec<(PathKey, u32)>,
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
        let (paths, bytes, contents, databases) = Default::default();
        let packages_left = if packages { PACKAGES_MAX } else { 0 };
        Self { paths, bytes, contents, databases, paths_max, packages_left }
    }

    /// Whether there is room for more packages.
    pub(super) fn reads_packages(&self) -> bool {
        self.packages_left > 0
    }

    /// Keeps the name of a path that has not been noted.
    pub(super) fn note(&mut self, key: PathKey, name: &[u8]) -> Result<(), Unlisted> {
        self.bytes.extend(name);
        let Ok(end) = u32::try_from(self.bytes.len()) else { return Err(Unlisted::TooManyPaths) };
        self.paths.push((key, end));
        if self.paths.len() > self.paths_max { Err(Unlisted::TooManyPaths) } else { Ok(()) }
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

    /// The paths in the layer's order, with their names.
    fn iter(&self) -> impl Iterator<Item = (&PathKey, &[u8])> {
        let starts = std::iter::once(0).chain(self.paths.iter().map(|(_, end)| *end as usize));
        self.paths.iter().zip(starts).map(|((key, end), start)| (key, &self.bytes[start..*end as usize]))
    }
}

impl Tree {
    /// The listing, once removed directories are marked.
    pub(super) fn listing(&self, names: Names) -> Listing {
        let mut listing = Listing::new(self.directories[ROOT as usize].opaque);
        let remaining = |entry: &&DirectoryEntry| !self.directories[entry.directory as usize].removed;
        let entry =
            |(key, name)| self.entries.get(key).filter(remaining).map(|entry| (entry.directory, name, entry.node));
        let mut entries: Vec<(u32, &[u8], Node)> = names.iter().filter_map(entry).collect();
        // A directory comes after its parent, so that in this order its own entry comes before those in it.
        entries.sort_by_key(|(directory, ..)| *directory);
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
