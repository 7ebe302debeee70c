//! Spreads names evenly over numbers: offsets of scans and places in shards rest on it, so that it must not change with a
//! library's version or a machine's byte order.

/// FNV-1a: regular in its low bits for names that differ only in their last letter. [`scramble`] it before use.
pub(crate) fn hash(text: impl Iterator<Item = u8>) -> u64 {
    text.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Finalizer of splitmix64: a bijection.
pub(crate) fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
