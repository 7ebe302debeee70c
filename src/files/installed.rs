//! The packages of an image: those whose databases are in it.

use std::collections::{BTreeSet, HashMap};

use super::merge::ImageFiles;
use super::packages::{Database, Manager, NODE_MODULES, Package};

/// The packages of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// By bytes, the biggest first, then by name.
    pub packages: Vec<Package>,
    /// Managers whose databases are there and not read.
    pub unsupported: BTreeSet<Manager>,
}

impl ImageFiles<'_> {
    /// The packages whose databases are in the image.
    pub fn packages(&self) -> Packages {
        let mut found = Packages::default();
        let totals = self.totals();
        // By directory, of Python's packages: the package's position and its bytes come from two files.
        let mut described = HashMap::new();
        let mut recorded = HashMap::new();
        for (layer, listing) in (0..).zip(self.layers()) {
            for (inode, database) in listing.databases() {
                let node = self.owner(layer, *inode);
                let Some(merged) = self.nodes().get(node as usize).filter(|merged| merged.remains()) else { continue };
                match database {
                    Database::Unsupported(manager) => drop(found.unsupported.insert(*manager)),
                    Database::PackageBytes(bytes) => drop(recorded.insert(merged.parent, *bytes)),
                    Database::Packages(packages) => {
                        let first = found.packages.len();
                        found.packages.extend(packages.iter().cloned());
                        for package in &mut found.packages[first..] {
                            match package.manager {
                                Manager::Python => drop(described.insert(merged.parent, first)),
                                Manager::Node => package.bytes = Some(self.own_bytes(merged.parent, &totals)),
                                Manager::Dpkg | Manager::Apk | Manager::Rpm => {}
                            }
                        }
                    }
                }
            }
        }
        for (directory, package) in described {
            found.packages[package].bytes = recorded.get(&directory).copied();
        }
        found
            .packages
            .sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (&a.name, &a.version).cmp(&(&b.name, &b.version))));
        found
    }

    /// Bytes of a package's directory, without those of the packages in it.
    fn own_bytes(&self, directory: u32, totals: &[u64]) -> u64 {
        let nested = self.child(directory, NODE_MODULES).map_or(0, |nested| totals[nested as usize]);
        totals[directory as usize].saturating_sub(nested)
    }
}
