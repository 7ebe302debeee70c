//! Signals before the daemon handles them, and in commands that do not.
//!
//! Process 1 of a PID namespace, as in a container, ignores every signal that it does not handle: without this, a
//! SIGTERM within the first milliseconds would be lost, and `inspect` could not be ended at all.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

/// Whether a signal ends the program at once.
static ENDS_AT_ONCE: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));

/// Has SIGTERM and SIGINT end the program at once, with the status that a shell shows of programs that they end. Any other
/// process has this as its default. Call it before anything else.
pub(super) fn end_at_once() {
    if std::process::id() != 1 {
        return;
    }
    for signal in [SIGTERM, SIGINT] {
        // Without it the program only ends later.
        let _ = register_conditional_shutdown(signal, 128 + signal, Arc::clone(&ENDS_AT_ONCE));
    }
}

/// Another handler for these signals is in place.
pub(super) fn take_over() {
    ENDS_AT_ONCE.store(false, Ordering::SeqCst);
}
