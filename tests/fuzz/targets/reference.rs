//! References, and what they are made of: what is read is written so that it is read as the same.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use image_size_exporter::oci::{Digest, Platform, Reference, Registry, Repository, Tag};
use libfuzzer_sys::fuzz_target;

fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let written = read.to_string();
        assert_eq!(written.parse::<T>().ok(), Some(read), "{text:?} is written as {written:?}");
    }
}

fuzz_target!(|text: &str| {
    round_trip::<Reference>(text);
    round_trip::<Repository>(text);
    round_trip::<Registry>(text);
    round_trip::<Tag>(text);
    round_trip::<Digest>(text);
    round_trip::<Platform>(text);
});
