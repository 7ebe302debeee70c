//! Python's packages (PyPA specifications, "Core metadata" and "Recording installed projects").

use super::{Manager, Package, text};

/// The name and version in a `METADATA` or `PKG-INFO`: fields until an empty line.
pub(super) fn metadata(content: &[u8]) -> Option<Package> {
    let mut package = Package { manager: Manager::Python, name: String::new(), version: String::new(), bytes: None };
    for line in content.split(|&byte| byte == b'\n').take_while(|line| !line.trim_ascii().is_empty()) {
        if let Some(name) = line.strip_prefix(b"Name:") {
            package.name = text(name);
        } else if let Some(version) = line.strip_prefix(b"Version:") {
            package.version = text(version);
        }
    }
    (!package.name.is_empty()).then_some(package)
}

/// The bytes of all files in a `RECORD`: lines of a path, a hash and a size, the last two of which may be empty.
pub(super) fn record(content: &[u8]) -> Option<u64> {
    let sizes =
        content.split(|&byte| byte == b'\n').filter_map(|line| line.trim_ascii().rsplit(|&byte| byte == b',').next());
    sizes.filter_map(|size| std::str::from_utf8(size).ok()?.parse::<u64>().ok()).try_fold(0_u64, u64::checked_add)
}
