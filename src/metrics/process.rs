//! The usual `process_*` metrics, from `/proc/self` (Prometheus, "Writing client libraries", process metrics).
//! What cannot be read is left out, as on systems without `/proc`.

use parking_lot::Mutex;
use std::fs;
use std::time::{Duration, Instant};

/// What the system says of this process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// User and system time.
    pub(crate) cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<u64>,
    /// The limit on these; none if unlimited.
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

/// For so long an answer of the system is good enough: to ask is a fifth of what answering a client costs, and who asks
/// more often than this learns nothing.
const AGE_MAX: Duration = Duration::from_millis(100);

/// What the system said last.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Option<(Instant, Process)>>);

impl Recent {
    /// What the system says now, or said a moment ago.
    pub(crate) fn read(&self) -> Process {
        let mut recent = self.0.lock();
        match *recent {
            Some((at, process)) if at.elapsed() < AGE_MAX => process,
            _ => recent.insert((Instant::now(), read())).1,
        }
    }
}

/// Asks `/proc/self`.
fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // One descriptor is the open directory itself.
    let open_fds = fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1));
    Process { open_fds, ..parse(&stat, &status, &limits) }
}

fn parse(stat: &str, status: &str, limits: &str) -> Process {
    let in_status = |key: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let limit = |key: &str| {
        let rest = limits.lines().find_map(|line| line.strip_prefix(key))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    Process {
        cpu_seconds: cpu_seconds(stat),
        open_fds: None,
        max_fds: limit("Max open files"),
        virtual_bytes: in_status("VmSize").map(|kib| kib * 1024),
        virtual_max_bytes: limit("Max address space"),
        resident_bytes: in_status("VmRSS").map(|kib| kib * 1024),
        threads: in_status("Threads"),
    }
}

/// Fields 14 and 15, counted after the program's name, which may itself have spaces and parentheses.
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
    fn what_linux_says_is_read() {
        let stat =
            "42 (a (b) c) S 1 42 42 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 4 0 100 1000000 500 18446744073709551615";
        let status = "Name:\ta (b) c\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t4\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n\
                      Max address space         unlimited            unlimited            bytes     \n";
        let expected = Process {
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
    fn what_cannot_be_read_is_left_out() {
        for text in ["", "42", "42 (x) S 1", "Threads: many", ")"] {
            assert_eq!(parse(text, text, text), Process::default(), "{text}");
        }
    }
}
