//! How one registry deviates from the distribution specification, as far as its answers showed. Kept in memory only: a
//! restart learns it again, for a request or two.

use std::sync::atomic::AtomicBool;

/// What a client has learnt of its registry.
#[derive(Default)]
pub(crate) struct Quirks {
    /// It refuses a list that is asked for with a page size, or links to wrong addresses for its further pages.
    pub(crate) page_size_refused: AtomicBool,
    /// Its links to a list's next page have another path than the list.
    pub(crate) links_have_wrong_path: AtomicBool,
}
