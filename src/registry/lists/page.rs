//! One page of a tag list or catalog: its JSON, read without building a document from it. Pure.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A summary of a page whose entries were passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// How many entries it has, repetitions included.
    pub(super) entries: usize,
    /// Equal for pages with the same entries in any order.
    pub(super) fingerprint: u64,
}

impl Page {
    /// Calls `each` with each entry of a page and its hash. `null` counts as an empty list, and entries may be `null`. A page
    /// without a list is an error: what is missing from a list counts as deleted.
    pub(super) fn read(body: &[u8], each: &mut dyn FnMut(&str, u64)) -> Result<Self, serde_json::Error> {
        let mut page = Self::default();
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        deserializer.deserialize_map(PageVisitor { page: &mut page, each })?;
        deserializer.end()?;
        Ok(page)
    }
}

/// Borrowed from the body unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The object around the list. Some registries add other members.
struct PageVisitor<'a> {
    page: &'a mut Page,
    each: &'a mut dyn FnMut(&str, u64),
}

/// The list itself.
struct EntriesVisitor<'a> {
    page: &'a mut Page,
    each: &'a mut dyn FnMut(&str, u64),
}

impl<'de> Visitor<'de> for PageVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of tags or repositories")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_list = false;
        while let Some(Text(key)) = map.next_key()? {
            if !matches!(&*key, "tags" | "repositories") {
                map.next_value::<IgnoredAny>()?;
            } else if std::mem::replace(&mut has_list, true) {
                return Err(A::Error::duplicate_field("tags"));
            } else {
                map.next_value_seed(EntriesVisitor { page: &mut *self.page, each: &mut *self.each })?;
            }
        }
        if has_list { Ok(()) } else { Err(A::Error::missing_field("tags")) }
    }
}

impl<'de> Visitor<'de> for EntriesVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags or repositories")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<Option<Text<'_>>>()? {
            let Some(Text(text)) = entry else { continue };
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            self.page.entries += 1;
            let hash = hasher.finish();
            self.page.fingerprint = self.page.fingerprint.wrapping_add(hash);
            (self.each)(&text, hash);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for EntriesVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Result<(Page, Vec<String>), String> {
        let mut entries = Vec::new();
        let page = Page::read(body.as_bytes(), &mut |text, _| entries.push(text.to_owned()));
        page.map(|page| (page, entries)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_page_is_read_leniently() {
        for (body, expected) in [
            (r#"{"name":"a","tags":["b","a\u0062","b"]}"#, &["b", "ab", "b"][..]),
            (r#"{"repositories":["a/b",null]}"#, &["a/b"]),
            (r#"{"tags":null}"#, &[]),
            (r#"{"child":["x"],"manifest":{"sha256:1":{"tag":["y"]}},"tags":[]}"#, &[]),
        ] {
            let (page, entries) = read(body).unwrap();
            assert_eq!(
                (entries.as_slice(), page.entries),
                (&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..], expected.len()),
                "{body}"
            );
        }
    }

    #[test]
    fn a_document_without_a_list_is_no_page() {
        for body in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"name":"a"}"#,
            r#"{"tags":{}}"#,
            r#"{"tags":[1]}"#,
            r#"{"tags":["a"]} x"#,
            r#"{"tags":[],"tags":[]}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn pages_with_the_same_entries_have_the_same_fingerprint() {
        let fingerprint = |body: &str| read(body).unwrap().0.fingerprint;
        assert_eq!(fingerprint(r#"{"tags":["a","b"]}"#), fingerprint(r#"{"tags":["b",null,"a"]}"#));
        assert_ne!(fingerprint(r#"{"tags":["a","b"]}"#), fingerprint(r#"{"tags":["a","c"]}"#));
    }

    proptest! {
        #[test]
        fn no_body_panics_the_reader(body in "[{}\\[\\]\",:a-z\\\\]{0,40}|.*") {
            let _ = read(&body);
        }
    }
}
