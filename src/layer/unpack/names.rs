//! What a tree keeps for a listing: the names of paths, checksums of contents, and what packages' databases say.

use std::io::{self, BufRead};

use super::{Node, ROOT, Tree, index};
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
    /// Where the name of each path ends in `bytes`, in the layer's order.
    ends: Vec<u32>,
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
        let (ends, bytes, contents, databases) = Default::default();
        let packages_left = if packages { PACKAGES_MAX } else { 0 };
        Self { ends, bytes, contents, databases, paths_max, packages_left }
    }

    /// Whether there is room for more packages.
    pub(super) fn reads_packages(&self) -> bool {
        self.packages_left > 0
    }

    /// Keeps the name of a path that has none yet; returns its position.
    pub(super) fn note(&mut self, name: &[u8]) -> Result<u32, Unlisted> {
        if self.ends.len() >= self.paths_max {
            return Err(Unlisted::TooManyPaths);
        }
        self.bytes.extend(name);
        self.ends.push(u32::try_from(self.bytes.len()).map_err(|_| Unlisted::TooManyPaths)?);
        Ok(index(self.ends.len()))
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

    fn name(&self, position: usize) -> &[u8] {
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[position] as usize]
    }
}

impl Tree {
    /// The listing, once removed directories are marked.
    pub(super) fn listing(&self, names: Names) -> Listing {
        let mut listing = Listing::new(self.directories[ROOT as usize].opaque);
        let mut entries = vec![None; names.ends.len()];
        for entry in self.entries.values().filter(|entry| !self.directories[entry.directory as usize].removed) {
            entries[entry.name as usize] = Some((entry.directory, entry.node));
        }
        let mut directories = vec![ROOT; self.directories.len()];
        let mut inodes = vec![None; self.inodes.len()];
        // A directory comes after its parent, so that in this order its own entry comes before those in it.
        for position in by_directory(&entries, self.directories.len()) {
            let Some((directory, node)) = entries[position as usize] else { continue };
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
            let added = listing.add(directories[directory as usize], names.name(position as usize), kind);
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

/// The positions of entries, by directory, and in each as they are.
fn by_directory(entries: &[Option<(u32, Node)>], directories: usize) -> Vec<u32> {
    // Counted, not sorted: layers have many paths, and directories are numbered.
    let mut starts = vec![0_u32; directories + 1];
    for (directory, _) in entries.iter().flatten() {
        starts[*directory as usize + 1] += 1;
    }
    for directory in 1..=directories {
        starts[directory] += starts[directory - 1];
    }
    let mut positions = vec![0; starts[directories] as usize];
    for (position, entry) in (0..).zip(entries) {
        if let Some((directory, _)) = entry {
            let start = &mut starts[*directory as usize];
            positions[*start as usize] = position;
            *start += 1;
        }
    }
    positions
}
