//! Node's packages: each directory in `node_modules` with a `package.json` (npm documentation, "package.json").

use serde::Deserialize;

use super::{Manager, Package};

/// The directory of installed packages.
pub(in crate::files) const FOLDER: &[u8] = b"node_modules";

/// What is read of a `package.json`.
#[derive(Deserialize)]
struct PackageJson {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

/// Whether a path is that of an installed package's description: `…/node_modules/name/package.json`, or with a scope
/// `…/node_modules/@scope/name/package.json`.
pub(super) fn is_package(path: &[u8]) -> bool {
    let mut names = path.rsplit(|&byte| byte == b'/');
    if names.next() != Some(b"package.json") || names.next().is_none() {
        return false;
    }
    match names.next() {
        Some(scope) if scope.starts_with(b"@") => names.next() == Some(FOLDER),
        folder => folder == Some(FOLDER),
    }
}

/// Whether a hard link of this path may describe an installed package: a `package.json` of any folder, such as a cache's,
/// and what pnpm's store holds, `…/files/0f/` and the rest of a SHA-512.
pub(super) fn may_be_package(path: &[u8]) -> bool {
    let mut names = path.rsplit(|&byte| byte == b'/');
    let is_hash = |name: &[u8], length: usize| name.len() == length && name.iter().all(u8::is_ascii_hexdigit);
    match names.next() {
        Some(b"package.json") => true,
        Some(name) => {
            is_hash(name, 126) && names.next().is_some_and(|name| is_hash(name, 2)) && names.next() == Some(b"files")
        }
        None => false,
    }
}

pub(super) fn package(content: &[u8]) -> Option<Package> {
    let PackageJson { name, version } = serde_json::from_slice(content).ok()?;
    (!name.is_empty()).then_some(Package { manager: Manager::Node, name, version, bytes: None })
}
