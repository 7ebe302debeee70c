//! The packages of an image: those whose databases are in it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::merge::{Content, ImageFiles};
use super::packages::{Database, Manager, NODE_MODULES, Package, Source};

/// The packages of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// By bytes, the biggest first, then by name.
    pub packages: Vec<Package>,
    /// Managers whose databases are there and not read.
    pub unsupported: BTreeSet<Manager>,
}

impl ImageFiles<'_> {
    /// The packages whose databases are in the image. Packages of which the databases are hard links of each other are
    /// one, since their bytes are there once.
    pub fn packages(&self) -> Packages {
        let mut found = Packages::default();
        let paths = self.paths_of_databases();
        // Of Python's packages: the package's position and its bytes come from two files in one directory.
        let mut described = Vec::new();
        let mut recorded = HashMap::new();
        // Of Node's packages: by directory, the package's position.
        let mut directories = HashMap::new();
        for (layer, listing) in (0..).zip(self.layers()) {
            for (inode, database) in listing.databases() {
                let Some(nodes) = paths.get(&(layer, *inode)).filter(|nodes| !nodes.is_empty()) else { continue };
                let parents = nodes.iter().map(|&node| self.nodes()[node as usize].parent);
                match database {
                    Database::Unsupported(manager) => drop(found.unsupported.insert(*manager)),
                    Database::PackageBytes(bytes) => recorded.extend(parents.map(|parent| (parent, *bytes))),
                    Database::Packages(packages) => {
                        let first = found.packages.len();
                        match packages.first().map(|package| package.manager) {
                            Some(Manager::Python) => described.push((first, parents.collect::<Vec<_>>())),
                            Some(Manager::Node) => {
                                let describes =
                                    |&&node: &&u32| Source::of(self.path(node).as_bytes()) == Some(Source::Node);
                                let first_path = nodes.iter().filter(describes).min_by_key(|node| self.path(**node));
                                let Some(&node) = first_path else { continue };
                                directories.insert(self.nodes()[node as usize].parent, first);
                            }
                            Some(Manager::Dpkg | Manager::Apk | Manager::Rpm) | None => {}
                        }
                        found.packages.extend(packages.iter().cloned());
                    }
                }
            }
        }
        for (package, parents) in described {
            found.packages[package].bytes = parents.iter().find_map(|parent| recorded.get(parent)).copied();
        }
        for (package, bytes) in self.bytes_of_directories(&directories) {
            found.packages[package].bytes = Some(bytes);
        }
        found
            .packages
            .sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (&a.name, &a.version).cmp(&(&b.name, &b.version))));
        found
    }

    /// By layer and inode of each database, the nodes that remain of it.
    fn paths_of_databases(&self) -> HashMap<(u32, u32), Vec<u32>> {
        let databases = (0..).zip(self.layers()).flat_map(|(layer, listing)| {
            listing.databases().iter().map(move |(inode, _)| ((layer, *inode), Vec::new()))
        });
        let mut paths: HashMap<(u32, u32), Vec<u32>> = databases.collect();
        if paths.is_empty() {
            return paths;
        }
        for (index, node) in (0..).zip(self.nodes()).filter(|(_, node)| node.remains()) {
            if let Content::File(inode) = node.content
                && let Some(nodes) = paths.get_mut(&(node.layer, inode))
            {
                nodes.push(index);
            }
        }
        paths
    }

    /// Bytes of Node's packages, each with its position: of the files in its directory, without those in folders of
    /// packages in it. A content counts once in each package, however many links it has there and elsewhere.
    fn bytes_of_directories(&self, directories: &HashMap<u32, usize>) -> HashMap<usize, u64> {
        let mut sums: HashMap<usize, u64> = directories.values().map(|package| (*package, 0)).collect();
        if sums.is_empty() {
            return sums;
        }
        // By node, the package whose file it is.
        let mut packages: Vec<Option<usize>> = Vec::with_capacity(self.nodes().len());
        for (index, node) in (0..).zip(self.nodes()) {
            packages.push(match directories.get(&index) {
                _ if !node.remains() || node.is_root() => None,
                Some(package) => Some(*package),
                None if node.name() == NODE_MODULES => None,
                None => packages[node.parent as usize],
            });
        }
        let mut linked = HashSet::new();
        for (index, node) in (0..).zip(self.nodes()) {
            let (Some(package), Content::File(inode)) = (packages[index as usize], node.content) else { continue };
            let owner = self.owner(node.layer, inode);
            let is_first = owner == index
                || (packages[owner as usize] != Some(package) && linked.insert((package, node.layer, inode)));
            if is_first {
                *sums.entry(package).or_default() += self.layers()[node.layer as usize].inodes()[inode as usize].bytes;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Inode, Kind, Listing};

    /// A layer of `path content` entries, of which those with the same content are hard links of each other: of this
    /// many bytes, or a description of `name@version` with the bytes of its name.
    fn layer(entries: &[(&str, &str)]) -> Listing {
        let mut listing = Listing::new(false);
        let (mut folders, mut inodes) = (HashMap::new(), HashMap::new());
        for (path, content) in entries {
            let inode = *inodes.entry(*content).or_insert_with(|| {
                let bytes = content.parse().unwrap_or(content.len() as u64);
                let inode = listing.add_inode(Inode { bytes, checksum: 0 });
                let described = if *content == "status" {
                    Some(Database::Packages(vec![package(Manager::Dpkg, "bash@5")]))
                } else if let Some(bytes) = content.strip_prefix("record ") {
                    Some(Database::PackageBytes(bytes.parse().unwrap()))
                } else if let Some(python) = content.strip_prefix("python ") {
                    Some(Database::Packages(vec![package(Manager::Python, python)]))
                } else {
                    content.contains('@').then(|| Database::Packages(vec![package(Manager::Node, content)]))
                };
                if let Some(described) = described {
                    listing.add_database(inode, described);
                }
                inode
            });
            let (mut parent, mut names) = (0, path.split('/').peekable());
            let mut at = String::new();
            while let Some(name) = names.next() {
                at = format!("{at}/{name}");
                let kind = if names.peek().is_some() { Kind::Directory { opaque: false } } else { Kind::File(inode) };
                parent = *folders.entry(at.clone()).or_insert_with(|| listing.add(parent, name.as_bytes(), kind));
            }
        }
        listing
    }

    fn package(manager: Manager, text: &str) -> Package {
        let (name, version) = text.rsplit_once('@').unwrap();
        Package { manager, name: name.to_owned(), version: version.to_owned(), bytes: None }
    }

    /// `name version bytes`, the biggest first.
    fn packages(layers: &[&Listing]) -> Vec<String> {
        let packages = ImageFiles::merge(layers.to_vec()).unwrap().packages().packages;
        let bytes = |package: &Package| package.bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
        packages.iter().map(|package| format!("{} {} {}", package.name, package.version, bytes(package))).collect()
    }

    #[test]
    fn a_package_of_node_has_the_files_of_its_directory_without_packages_in_it() {
        let base = layer(&[
            ("app/node_modules/a/package.json", "a@1"),
            ("app/node_modules/a/index.js", "100"),
            ("app/node_modules/a/node_modules/.bin/tool", "7"),
            ("app/node_modules/a/node_modules/b/package.json", "b@1"),
            ("app/node_modules/a/node_modules/b/index.js", "20"),
            ("app/node_modules/a/dist/node_modules/@s/c/package.json", "@s/c@2"),
            ("app/package.json", "app@1"),
        ]);
        assert_eq!(packages(&[&base]), ["a 1 103", "b 1 23", "@s/c 2 6"]);
        let above = layer(&[("app/node_modules/a/index.js", "5"), ("app/node_modules/a/package.json", "a@2")]);
        assert_eq!(packages(&[&base, &above]), ["b 1 23", "a 2 8", "@s/c 2 6"]);
    }

    /// As pnpm links from its store, which may come before or behind the projects.
    #[test]
    fn a_package_that_is_linked_from_elsewhere_has_its_bytes_and_counts_once() {
        for store in ["a/store/v3/files/00/1", "z/store/v3/files/00/1"] {
            let [description, content, licence] = ["", "a", "b"].map(|end| format!("{store}{end}"));
            let image = layer(&[
                (&description, "left-pad@1.3"),
                (&content, "1000"),
                (&licence, "40"),
                ("srv/one/node_modules/left-pad/package.json", "left-pad@1.3"),
                ("srv/one/node_modules/left-pad/index.js", "1000"),
                ("srv/one/node_modules/left-pad/LICENSE", "40"),
                ("srv/one/node_modules/left-pad/COPYING", "40"),
                ("srv/two/node_modules/left-pad/package.json", "left-pad@1.3"),
                ("srv/two/node_modules/left-pad/index.js", "1000"),
                // The same licence in another package is a part of both.
                ("srv/two/node_modules/right-pad/package.json", "right-pad@1"),
                ("srv/two/node_modules/right-pad/LICENSE", "40"),
            ]);
            assert_eq!(packages(&[&image]), ["left-pad 1.3 1052", "right-pad 1 51"], "{store}");
        }
        let store_alone = layer(&[("root/store/v3/files/00/1", "left-pad@1.3")]);
        assert_eq!(packages(&[&store_alone]), Vec::<String>::new());
    }

    #[test]
    fn a_package_of_python_finds_its_record_beside_any_link_of_its_description() {
        let image = layer(&[
            ("root/.cache/uv/six.dist-info/METADATA", "python six@1"),
            ("usr/lib/six.dist-info/METADATA", "python six@1"),
            ("usr/lib/six.dist-info/RECORD", "record 34"),
            ("usr/lib/no.dist-info/METADATA", "python no@2"),
            ("var/lib/dpkg/status", "status"),
        ]);
        assert_eq!(packages(&[&image]), ["six 1 34", "bash 5 ?", "no 2 ?"]);
    }
}
