//! What one layer holds.

use std::sync::Arc;

use super::packages::Database;

/// The paths of all layers of an image, hidden ones included. A path takes about 150 bytes while images are compared.
pub const PATHS_MAX: usize = 1_000_000;

/// A layer's listing, or why there is none.
pub type LayerFiles = Result<Arc<Listing>, Unlisted>;

/// Why a layer has no listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// It was not read, or not wholly.
    #[error("a layer was not read")]
    Unread,
    /// Overlay2 cannot unpack it without the layers below.
    #[error("overlay2 cannot unpack a layer without the ones below")]
    Refused,
    /// Its paths, and those of the layers that were read before it, are too many: in `inspect` all platforms of a reference.
    #[error(
        "the layers of its reference have more than {max} paths together: if it has several platforms, read one at a time, \
         with `--platform`",
        max = PATHS_MAX
    )]
    TooManyPaths,
    /// The sizes in its layers add up to more than a `u64` holds: made up, as those of sparse files may be.
    #[error("the sizes of its files add up to more than {max} bytes", max = u64::MAX)]
    TooManyBytes,
}

/// What cannot be known, now or ever: the files of a layer, or what an image wastes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unknowable;

/// The paths of one layer as overlay2 has them in the layer's own directory. A parent comes before its children, and those
/// of one directory are in the layer's order; the first node is the root, its own parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    nodes: Vec<Node>,
    names: Vec<u8>,
    inodes: Vec<Inode>,
    databases: Vec<(u32, Database)>,
}

/// What has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The directory, by its position.
    pub parent: u32,
    name_start: u32,
    name_bytes: u8,
    /// What it is.
    pub kind: Kind,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory. An opaque one hides what lower layers have in it.
    Directory {
        /// Whether it is opaque.
        opaque: bool,
    },
    /// A file or a symbolic link, by the position of its inode: hard links have the same one.
    File(u32),
    /// A device, a FIFO.
    Special,
    /// Removes what lower layers have at this path.
    Whiteout,
}

/// A file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Apparent bytes; of a symbolic link those of its target.
    pub bytes: u64,
    /// CRC-32 of the content. It tells only whether a file was repeated or replaced: no figure rests on it.
    pub checksum: u32,
}

impl Listing {
    /// A layer without paths.
    pub fn new(is_root_opaque: bool) -> Self {
        let kind = Kind::Directory { opaque: is_root_opaque };
        let root = Node { parent: 0, name_start: 0, name_bytes: 0, kind };
        Self { nodes: vec![root], names: Vec::new(), inodes: Vec::new(), databases: Vec::new() }
    }

    /// Adds a content; returns its position.
    pub fn add_inode(&mut self, inode: Inode) -> u32 {
        self.inodes.push(inode);
        last(self.inodes.len())
    }

    /// Adds a path in the directory at `parent`; returns its position. A name has at most 255 bytes: of a longer one
    /// the rest is dropped.
    pub fn add(&mut self, parent: u32, name: &[u8], kind: Kind) -> u32 {
        let name_bytes = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let name_start = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.extend(&name[..usize::from(name_bytes)]);
        self.nodes.push(Node { parent, name_start, name_bytes, kind });
        last(self.nodes.len())
    }

    /// Adds what was read of a packages' database that has the content `inode`.
    pub fn add_database(&mut self, inode: u32, database: Database) {
        self.databases.push((inode, database));
    }

    /// The paths, the root first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node's name; empty for the root.
    pub fn name(&self, node: &Node) -> &[u8] {
        let start = node.name_start as usize;
        &self.names[start..start + usize::from(node.name_bytes)]
    }

    /// The contents.
    pub fn inodes(&self) -> &[Inode] {
        &self.inodes
    }

    /// Packages' databases, each with its content's position.
    pub fn databases(&self) -> &[(u32, Database)] {
        &self.databases
    }

    /// How many paths it has, without the root.
    pub fn paths(&self) -> usize {
        self.nodes.len() - 1
    }
}

/// The position of the last of `length` elements.
fn last(length: usize) -> u32 {
    u32::try_from(length - 1).expect("the number of paths is limited far below 2^32")
}
