//! What `--files` finds, as data: a part of the schema of `--json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::files::packages::{Manager, Package};
use crate::files::{Growth, ImageFiles, Packages, PathChange};
use crate::oci::Digest;

/// The files of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilesReport {
    /// How many, hard links counted once.
    pub files: u64,
    /// Their bytes, as `du --apparent-size` counts them without directories.
    pub bytes: u64,
    /// Bytes of files in its layers that a later layer overwrites or removes.
    pub wasted_bytes: u64,
    /// The biggest files.
    pub biggest: Vec<PathReport>,
    /// The biggest directories, without those whose bytes are all in one directory of them.
    pub directories: Vec<PathReport>,
    /// The biggest files that are wasted.
    pub wasted: Vec<WastedReport>,
    /// The biggest packages.
    pub packages: Vec<PackageReport>,
    /// How many packages there are.
    pub packages_count: u64,
    /// Managers whose databases are there and not read: `rpm`.
    pub packages_unread: Vec<&'static str>,
}

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathReport {
    /// From the root.
    pub path: String,
    /// Apparent bytes; of a directory those of the files beneath.
    pub bytes: u64,
    /// The layer that has it; none for a directory.
    pub layer: Option<Digest>,
}

/// A file that is in a layer and not in the image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WastedReport {
    /// From the root.
    pub path: String,
    /// Apparent bytes.
    pub bytes: u64,
    /// `removed`: the image has no such file; `replaced`: it has another one; `repeated`: a later layer has the same one.
    pub cause: &'static str,
    /// The layer that has it.
    pub layer: Option<Digest>,
    /// The layer that hides it.
    pub hidden_by: Option<Digest>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PackageReport {
    /// `dpkg`, `apk`, `python` or `node`.
    pub manager: &'static str,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Bytes by its manager's account; for Node by the files.
    pub bytes: Option<u64>,
}

/// How the files of two images differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GrowthReport {
    /// Bytes of the old image's files.
    pub old_bytes: u64,
    /// Bytes of the new image's files.
    pub new_bytes: u64,
    /// Bytes that the old image wastes.
    pub old_wasted_bytes: u64,
    /// Bytes that the new image wastes.
    pub new_wasted_bytes: u64,
    /// Bytes of files that only the new image has.
    pub added_bytes: u64,
    /// By how much files grew.
    pub grown_bytes: u64,
    /// By how much files shrank.
    pub shrunk_bytes: u64,
    /// Bytes of files that only the old image has.
    pub gone_bytes: u64,
    /// The files that changed most.
    pub files: Vec<PathChangeReport>,
    /// The directories that changed most, without those whose change is that of one directory in them.
    pub directories: Vec<PathChangeReport>,
    /// The packages that changed most.
    pub packages: Vec<PackageChangeReport>,
}

/// A file or directory in two images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathChangeReport {
    /// From the root.
    pub path: String,
    /// `added`, `grown`, `shrunk` or `gone`.
    pub change: &'static str,
    /// Bytes in the old image.
    pub old_bytes: Option<u64>,
    /// Bytes in the new image.
    pub new_bytes: Option<u64>,
}

/// A package in two images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PackageChangeReport {
    /// `dpkg`, `apk`, `python` or `node`.
    pub manager: &'static str,
    /// Its name.
    pub name: String,
    /// The old image's version; none where it has no such package.
    pub old_version: Option<String>,
    /// The new image's version; none where it has no such package.
    pub new_version: Option<String>,
    /// Bytes in the old image.
    pub old_bytes: Option<u64>,
    /// Bytes in the new image.
    pub new_bytes: Option<u64>,
}

impl FilesReport {
    /// Of an image with these layers, bottom first; at most `top` of each list.
    pub(in crate::commands) fn new(files: &ImageFiles<'_>, layers: &[Digest], top: usize) -> Self {
        let layer = |number: u32| layers.get(number as usize).cloned();
        let path = |ranked: crate::files::RankedPath| PathReport {
            path: ranked.path,
            bytes: ranked.bytes,
            layer: ranked.layer.and_then(layer),
        };
        let wasted = |file: crate::files::WastedFile| WastedReport {
            path: file.path,
            bytes: file.bytes,
            cause: file.cause.as_str(),
            layer: layer(file.layer),
            hidden_by: layer(file.hidden_by),
        };
        let Packages { packages, unsupported } = files.packages();
        Self {
            files: files.files(),
            bytes: files.bytes(),
            wasted_bytes: files.wasted_bytes(),
            biggest: files.biggest(top).into_iter().map(path).collect(),
            directories: files.directories(top).into_iter().map(path).collect(),
            wasted: files.wasted(top).into_iter().map(wasted).collect(),
            packages_count: packages.len() as u64,
            packages: packages.into_iter().take(top).map(PackageReport::new).collect(),
            packages_unread: unsupported.into_iter().map(Manager::as_str).collect(),
        }
    }
}

impl PackageReport {
    fn new(package: Package) -> Self {
        let Package { manager, name, version, bytes } = package;
        Self { manager: manager.as_str(), name, version, bytes }
    }
}

impl GrowthReport {
    /// Of two images; at most `top` of each list.
    pub(in crate::commands) fn new(old: &ImageFiles<'_>, new: &ImageFiles<'_>, top: usize) -> Self {
        let growth = Growth::new(old, new, top);
        let mut packages = package_changes(old.packages().packages, new.packages().packages);
        // Those whose difference is unknown come last.
        packages.sort_by_key(|change| {
            let (old, new) = change.sizes();
            std::cmp::Reverse(old.zip(new).map(|(old, new)| new.abs_diff(old)))
        });
        packages.truncate(top);
        Self {
            old_bytes: old.bytes(),
            new_bytes: new.bytes(),
            old_wasted_bytes: old.wasted_bytes(),
            new_wasted_bytes: new.wasted_bytes(),
            added_bytes: growth.added_bytes,
            grown_bytes: growth.grown_bytes,
            shrunk_bytes: growth.shrunk_bytes,
            gone_bytes: growth.gone_bytes,
            files: growth.files.into_iter().map(PathChangeReport::new).collect(),
            directories: growth.directories.into_iter().map(PathChangeReport::new).collect(),
            packages,
        }
    }
}

impl PackageChangeReport {
    /// The old and the new size: 0 where an image has no such package, none where it has one of unknown size.
    pub(super) fn sizes(&self) -> (Option<u64>, Option<u64>) {
        let size = |version: &Option<String>, bytes| if version.is_none() { Some(0) } else { bytes };
        (size(&self.old_version, self.old_bytes), size(&self.new_version, self.new_bytes))
    }
}

impl PathChangeReport {
    fn new(change: PathChange) -> Self {
        use crate::files::Change::{Added, Gone};
        Self {
            path: change.path,
            change: change.change.as_str(),
            old_bytes: (change.change != Added).then_some(change.old_bytes),
            new_bytes: (change.change != Gone).then_some(change.new_bytes),
        }
    }
}

/// The packages that are not in both images as they are. Node may have several versions of one name: those that both
/// have are left out, and a name that has one other version left on each side is one change.
fn package_changes(old: Vec<Package>, new: Vec<Package>) -> Vec<PackageChangeReport> {
    type Sides = (Vec<Package>, Vec<Package>);
    let mut by_name: BTreeMap<(Manager, String), Sides> = BTreeMap::new();
    for package in old {
        by_name.entry((package.manager, package.name.clone())).or_default().0.push(package);
    }
    for package in new {
        let (old, new) = by_name.entry((package.manager, package.name.clone())).or_default();
        match old.iter().position(|other| *other == package) {
            Some(same) => drop(old.swap_remove(same)),
            None => new.push(package),
        }
    }
    let mut changes = Vec::new();
    for ((manager, name), (old, new)) in by_name {
        let mut change = |old: Option<&Package>, new: Option<&Package>| {
            changes.push(PackageChangeReport {
                manager: manager.as_str(),
                name: name.clone(),
                old_version: old.map(|package| package.version.clone()),
                new_version: new.map(|package| package.version.clone()),
                old_bytes: old.and_then(|package| package.bytes),
                new_bytes: new.and_then(|package| package.bytes),
            });
        };
        match (&old[..], &new[..]) {
            ([old], [new]) => change(Some(old), Some(new)),
            (old, new) => {
                for package in old {
                    change(Some(package), None);
                }
                for package in new {
                    change(None, Some(package));
                }
            }
        }
    }
    changes
}
