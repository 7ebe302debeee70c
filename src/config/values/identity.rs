//! The words of `identity`.

use crate::registry::Cloud;
use crate::target::Words;

/// Whose identity a registry is read with.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum Identity {
    Of(Cloud),
    None,
}

impl Words for Identity {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("aws", Self::Of(Cloud::Aws)),
        ("azure", Self::Of(Cloud::Azure)),
        ("gcp", Self::Of(Cloud::Gcp)),
        ("none", Self::None),
    ];
}
