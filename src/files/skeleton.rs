//! A layer's listing as it is remembered: names are hashes, contents are sizes. What is wasted follows from it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::listing::{Inode, Kind, Listing, PATHS_MAX};

/// A listing without names and checksums, about 17 bytes a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skeleton {
    is_root_opaque: bool,
    nodes: Vec<(u32, NameHash, Bone)>,
    inodes: Vec<u64>,
}

/// The first 64 bits of a name's SHA-256. Names are compared within one directory only.
type NameHash = [u8; 8];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Bone {
    Directory,
    Opaque,
    File(u32),
    Special,
    Whiteout,
}

impl Skeleton {
    /// That of a listing.
    pub fn new(listing: &Listing) -> Self {
        let nodes = listing.nodes();
        let bone = |kind| match kind {
            Kind::Directory { opaque: false } => Bone::Directory,
            Kind::Directory { opaque: true } => Bone::Opaque,
            Kind::File(inode) => Bone::File(inode),
            Kind::Special => Bone::Special,
            Kind::Whiteout => Bone::Whiteout,
        };
        Self {
            is_root_opaque: nodes.first().is_some_and(|root| root.kind == Kind::Directory { opaque: true }),
            nodes: nodes.iter().skip(1).map(|node| (node.parent, hash(listing.name(node)), bone(node.kind))).collect(),
            inodes: listing.inodes().iter().map(|inode| inode.bytes).collect(),
        }
    }

    /// How many paths it has, without the root.
    pub fn paths(&self) -> usize {
        self.nodes.len()
    }

    /// The listing, with hashes as names. `None` for one that no listing gave.
    pub fn listing(&self) -> Option<Listing> {
        if self.nodes.len() > PATHS_MAX || self.inodes.len() > PATHS_MAX {
            return None;
        }
        let mut listing = Listing::new(self.is_root_opaque);
        for &bytes in &self.inodes {
            listing.add_inode(Inode { bytes, checksum: 0 });
        }
        for (position, (parent, name, bone)) in self.nodes.iter().enumerate() {
            let kind = match *bone {
                Bone::Directory => Kind::Directory { opaque: false },
                Bone::Opaque => Kind::Directory { opaque: true },
                Bone::File(inode) if (inode as usize) < self.inodes.len() => Kind::File(inode),
                Bone::File(_) => return None,
                Bone::Special => Kind::Special,
                Bone::Whiteout => Kind::Whiteout,
            };
            // The root is not in the list.
            if *parent as usize > position {
                return None;
            }
            listing.add(*parent, name, kind);
        }
        Some(listing)
    }
}

fn hash(name: &[u8]) -> NameHash {
    let hash = Sha256::digest(name);
    *hash.first_chunk().expect("a SHA-256 has 32 bytes")
}
