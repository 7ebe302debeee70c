//! Work that several threads share.

use parking_lot::Mutex;

/// More would be little faster, and each has memory of its own.
const THREADS_MAX: usize = 4;

/// A thread for fewer items would cost more than it gains.
const ITEMS_OF_A_THREAD_MIN: usize = 16;

/// Maps items in their order; many of them by several threads, each with a state of its own.
pub(crate) fn map<T: Send, R: Send, S>(
    items: Vec<T>,
    state: impl Fn() -> S + Sync,
    map: impl Fn(&mut S, T) -> R + Sync,
) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (items.len() / ITEMS_OF_A_THREAD_MIN).clamp(1, processors.min(THREADS_MAX));
    let items = Mutex::new(items.into_iter().enumerate());
    let work = || {
        let (mut state, mut done) = (state(), Vec::new());
        loop {
            // In a statement of its own, after which it is unlocked.
            let next = items.lock().next();
            let Some((at, item)) = next else { return done };
            done.push((at, map(&mut state, item)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        // Where no more threads can be started, fewer do it.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, mapped)| mapped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_in_their_order() {
        for count in [0, 1, 15, 40, 1_000] {
            let doubled = map((0..count).collect(), || (), |(), item: u32| 2 * item);
            assert_eq!(doubled, (0..count).map(|item| 2 * item).collect::<Vec<_>>());
        }
    }
}
