//! Progress of long work, on one line of standard error that is overwritten. Errors are ignored: no result depends on
//! progress.

use std::io::Write;

use crate::commands::units;
use crate::oci::Digest;

/// What is under way.
pub(in crate::commands) struct Progress<'a, W> {
    err: &'a mut W,
    shown: bool,
    layer: String,
    received: u64,
    expected: u64,
}

impl<'a, W: Write> Progress<'a, W> {
    pub(in crate::commands) fn new(err: &'a mut W, shown: bool) -> Self {
        Self { err, shown, layer: String::new(), received: 0, expected: 0 }
    }

    /// Says what is under way; [`Self::end`] takes it away.
    pub(in crate::commands) fn say(&mut self, what: &str) {
        if self.shown {
            let _ = write!(self.err, "\r\u{1b}[K{}", units::plain(what));
            let _ = self.err.flush();
        }
    }

    pub(super) fn begin(&mut self, layer: &Digest, expected: u64) {
        self.layer = layer.to_string().chars().take(19).collect();
        (self.received, self.expected) = (0, expected);
        self.show();
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        const STEP: u64 = 1 << 20;
        let before = self.received / STEP;
        self.received += bytes;
        if self.received / STEP != before {
            self.show();
        }
    }

    pub(super) fn note(&mut self, layer: &Digest, what: &str) {
        self.end();
        let _ = writeln!(self.err, "{layer}: {}", units::plain(what));
    }

    pub(in crate::commands) fn end(&mut self) {
        if self.shown {
            let _ = write!(self.err, "\r\u{1b}[K");
        }
    }

    fn show(&mut self) {
        let (received, expected) = (units::bytes(self.received, false), units::bytes(self.expected, false));
        self.say(&format!("{}: {received} of {expected}", self.layer));
    }
}
