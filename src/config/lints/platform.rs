//! Operating systems and architectures that Go does not know: images are built by Go programs, whose names theirs are.

use super::super::problems::nearest;
use super::super::reader::Table;
use crate::target::Target;

/// `GOOS` (Go 1.26, `internal/syslist`).
const SYSTEMS: [&str; 19] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
    "unknown",
];

/// `GOARCH` (Go 1.26, `internal/syslist`).
const ARCHITECTURES: [&str; 27] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
    "wasm32",
    "wasm64",
    "unknown",
];

pub(super) fn check(target: &Target, table: &Table<'_>) {
    for platform in target.platforms.platforms() {
        let mut parts = platform.as_str().split('/');
        let system = parts.next().unwrap_or_default().split('(').next().unwrap_or_default();
        let architecture = parts.next().unwrap_or_default();
        for (what, word, known) in
            [("operating system", system, &SYSTEMS[..]), ("architecture", architecture, &ARCHITECTURES[..])]
        {
            if !known.contains(&word) {
                let meant = nearest(word, known.iter().copied());
                let meant = meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default();
                table.warn("platforms", format!("`{platform}`: `{word}` is no {what} that Go knows{meant}"));
            }
        }
    }
}
