//! dpkg's and apk's databases: stanzas of lines, each of a field and its value, with an empty line between.

use super::{Manager, PACKAGES_MAX, Package, text};

/// What a stanza says.
#[derive(Default)]
struct Stanza<'a> {
    name: &'a [u8],
    version: &'a [u8],
    size: Option<u64>,
    is_removed: bool,
}

/// The states in which all files of a package are there.
const STATES_WITH_FILES: [&[u8]; 5] =
    [b"installed", b"unpacked", b"half-configured", b"triggers-awaited", b"triggers-pending"];

/// dpkg's `status` (Debian policy, 5.6): `Installed-Size` is in KiB.
pub(super) fn dpkg(content: &[u8]) -> Vec<Package> {
    packages(Manager::Dpkg, content, |stanza, line| {
        let Some((field, value)) = split(line) else { return };
        match field.to_ascii_lowercase().as_slice() {
            b"package" => stanza.name = value,
            b"version" => stanza.version = value,
            b"installed-size" => stanza.size = number(value).and_then(|kib| kib.checked_mul(1024)),
            // `want flag status` (dpkg(1), "Package states"): of other states there are no files, only the configuration,
            // or a part that nobody knows.
            b"status" => {
                let status = value.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
                stanza.is_removed = !STATES_WITH_FILES.contains(&status);
            }
            _ => {}
        }
    })
}

/// apk's `installed` (apk-tools, apk-package(5)): `P` is the name, `V` the version, `I` the installed size in bytes.
pub(super) fn apk(content: &[u8]) -> Vec<Package> {
    packages(Manager::Apk, content, |stanza, line| match split(line) {
        Some((b"P", value)) => stanza.name = value,
        Some((b"V", value)) => stanza.version = value,
        Some((b"I", value)) => stanza.size = number(value),
        _ => {}
    })
}

fn packages<'a>(manager: Manager, content: &'a [u8], take: impl Fn(&mut Stanza<'a>, &'a [u8])) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut stanza = Stanza::default();
    for line in content.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        if !line.is_empty() {
            take(&mut stanza, line);
            continue;
        }
        if packages.len() == PACKAGES_MAX {
            break;
        }
        let Stanza { name, version, size, is_removed } = std::mem::take(&mut stanza);
        if !name.is_empty() && !is_removed {
            packages.push(Package { manager, name: text(name), version: text(version), bytes: size });
        }
    }
    packages
}

/// A field and its value. Continued lines, which begin with a blank, have none.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&byte| byte == b':')?;
    let (field, value) = (&line[..at], line[at + 1..].trim_ascii());
    (!field.first()?.is_ascii_whitespace()).then_some((field, value))
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
