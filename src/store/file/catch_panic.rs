//! Calls into redb, which panics on some damaged files instead of returning an error.

use std::any::Any;
use std::cell::Cell;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<Guarded> = const { Cell::new(Guarded::Not) };
}

/// What the thread is doing.
#[derive(Clone, Copy)]
enum Guarded {
    Not,
    Calling,
    Unwinding,
}

/// Calls `f` and returns the message of a panic. Other panic hooks do not run, and nothing is printed: the caller
/// reports it. On some damage redb panics again during unwinding, which would abort: the process then exits with code 1
/// and a message.
pub(super) fn catch_panic<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match GUARDED.get() {
            Guarded::Not => others(panic),
            Guarded::Calling => GUARDED.set(Guarded::Unwinding),
            Guarded::Unwinding => {
                let _ = writeln!(std::io::stderr(), "{UNWIND_PANICKED}");
                std::process::exit(1);
            }
        }));
    });
    let outer = GUARDED.replace(Guarded::Calling);
    // The database that `f` leaves behind is closed and not used again.
    let result = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    result.map_err(|panic| message(&*panic))
}

const UNWIND_PANICKED: &str = "the state file was damaged while it was open, and redb panicked twice: exiting; the next start sets the file aside";

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("redb panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch_panic(|| 1), Ok(1));
        assert_eq!(catch_panic(|| -> u8 { panic!("page {}", 7) }), Err("redb panicked: page 7".to_owned()));
        assert_eq!(catch_panic(|| -> u8 { catch_panic(|| panic!("inner")).unwrap_or(2) }), Ok(2));
    }
    const CHILD: &str = "IMAGE_SIZE_EXPORTER_TEST_GUARD";

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("while it unwinds");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the environment is how a test tells its child apart from itself")]
    fn a_panic_on_top_of_a_panic_ends_the_process_with_a_message() {
        if std::env::var_os(CHILD).is_some() {
            let _ = catch_panic(|| {
                let _again = PanicsWhenDropped;
                panic!("first");
            });
            return;
        }
        let name = "store::file::catch_panic::tests::a_panic_on_top_of_a_panic_ends_the_process_with_a_message";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!((child.status.code(), String::from_utf8_lossy(&child.stderr).trim()), (Some(1), UNWIND_PANICKED));
    }
}
