//! The usual `process_*` metrics, from `/proc/self` (Prometheus, "Writing client libraries", process metrics).
//! Values that cannot be read are absent, as on systems without `/proc`.

use parking_lot::Mutex;
use std::fs;
use std::time::{Duration, Instant};

/// The state of this process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessStats {
    /// User and system time.
    pub(crate) cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<u64>,
    /// The limit on them; none if unlimited.
    pub(crate) max_fds: Option<u64>,
    /// Virtual memory.
    pub(crate) virtual_bytes: Option<u64>,
    /// The limit on it; none if unlimited.
    pub(crate) virtual_max_bytes: Option<u64>,
    /// Resident memory.
    pub(crate) resident_bytes: Option<u64>,
    /// Threads.
    pub(crate) threads: Option<u64>,
}

/// Clock ticks per second in `/proc/self/stat`: `USER_HZ`, which Linux fixes at 100 for user space on every
/// architecture that this program is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a reading is reused. Reading takes a fifth of the time of a scrape, and faster scrapes gain nothing.
const AGE_MAX: Duration = Duration::from_millis(100);

/// The last reading.
#[derive(Debug, Default)]
pub(crate) struct ProcessReader(Mutex<Option<(Instant, ProcessStats)>>);

impl ProcessReader {
    /// A reading that is at most [`AGE_MAX`] old.
    pub(crate) fn read(&self) -> ProcessStats {
        let mut last = self.0.lock();
        match *last {
            Some((at, stats)) if at.elapsed() < AGE_MAX => stats,
            _ => last.insert((Instant::now(), read())).1,
        }
    }
}

/// Reads `/proc/self`.
fn read() -> ProcessStats {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // One descriptor is the open directory itself.
    let open_fds = fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1));
    ProcessStats { open_fds, ..parse(&stat, &status, &limits) }
}

fn parse(stat: &str, status: &str, limits: &str) -> ProcessStats {
    let in_status = |key: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let limit = |key: &str| {
        let rest = limits.lines().find_map(|line| line.strip_prefix(key))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    ProcessStats {
        cpu_seconds: cpu_seconds(stat),
        open_fds: None,
        max_fds: limit("Max open files"),
        virtual_bytes: in_status("VmSize").map(|kib| kib * 1024),
        virtual_max_bytes: limit("Max address space"),
        resident_bytes: in_status("VmRSS").map(|kib| kib * 1024),
        threads: in_status("Threads"),
    }
}

/// Fields 14 and 15, counted from the end of the program's name, which may contain spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_files_are_read() {
        let stat =
            "42 (a (b) c) S 1 42 42 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 4 0 100 1000000 500 18446744073709551615";
        let status = "Name:\ta (b) c\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t4\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n\
                      Max address space         unlimited            unlimited            bytes     \n";
        let expected = ProcessStats {
            cpu_seconds: Some(3.0),
            open_fds: None,
            max_fds: Some(1024),
            virtual_bytes: Some(2_097_152),
            virtual_max_bytes: None,
            resident_bytes: Some(524_288),
            threads: Some(4),
        };
        assert_eq!(parse(stat, status, limits), expected);
    }

    #[test]
    fn unreadable_values_are_absent() {
        for text in ["", "42", "42 (x) S 1", "Threads: many", ")"] {
            assert_eq!(parse(text, text, text), ProcessStats::default(), "{text}");
        }
    }
}
