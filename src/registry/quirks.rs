//! How one registry deviates from the distribution specification, as its answers showed. Kept in memory only: after a
//! restart it is learnt again with one or two requests.

use std::sync::atomic::AtomicBool;

use super::head_support::HeadSupport;

/// What a client has learnt of its registry.
#[derive(Default)]
pub(crate) struct Quirks {
    /// Whether `HEAD` of a manifest returns a digest.
    pub(crate) head: HeadSupport,
    /// It refuses requests of lists with a page size, or its links to further pages are wrong.
    pub(crate) page_size_refused: AtomicBool,
    /// Its links to a list's next page have another path than the list.
    pub(crate) wrong_link_paths: AtomicBool,
    /// It lacks the referrers API: referrers stand under a fallback tag.
    pub(crate) no_referrers_api: AtomicBool,
}
