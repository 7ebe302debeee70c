//! The addresses of pages, and the links to them. A link's address parses to what it was made of.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is left as it is in a path: the unreserved characters, and those of a repository (RFC 3986, section 3.3).
const PATH: &AsciiSet = &PART.remove(b'/').remove(b':');

/// What is left as it is in a tag or a query: the unreserved characters (RFC 3986, section 2.3).
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The beginning of the addresses of JSON.
pub(super) const API: &str = "/api/v1";

/// A tag by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageName {
    /// `registry/name`.
    pub(super) repository: String,
    pub(super) tag: String,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    /// Everything that is watched, or what has this text in its name.
    Search(String),
    /// `registry/name`.
    Repository(String),
    Image(ImageName),
    /// Two images, as they are written in a reference; none is named where the form was sent without.
    Compare(Option<ImageName>, Option<ImageName>),
}

/// How a list on a page is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Usual,
    Name,
    Size,
    Unique,
    Stored,
    Created,
}

/// An address: what it shows and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) place: Place,
    pub(super) is_json: bool,
    pub(super) platform: Option<String>,
    pub(super) sort: Sort,
    /// From 1.
    pub(super) page: usize,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Usual, Self::Name, Self::Size, Self::Unique, Self::Stored, Self::Created];

    /// As in a query.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Name => "name",
            Self::Size => "size",
            Self::Unique => "unique",
            Self::Stored => "stored",
            Self::Created => "created",
        }
    }
}

impl Address {
    /// Parses a request's path and query. `None`: no page has such an address.
    pub(super) fn parse(path: &str, query: &str) -> Option<Self> {
        let (is_json, path) = match path.strip_prefix(API) {
            Some(rest) => (true, rest),
            None => (false, path),
        };
        let pairs: Vec<(Cow<str>, Cow<str>)> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let value = |name: &str| {
            let found = pairs.iter().find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.clone().into_owned())
        };
        let place = match path {
            "/" if !is_json => Place::Overview,
            "/overview" if is_json => Place::Overview,
            "/search" => Place::Search(value("q").unwrap_or_default()),
            "/compare" => {
                let named = |name: &str| value(name).and_then(|text| ImageName::parse(&text));
                Place::Compare(named("a"), named("b"))
            }
            _ => match path.strip_prefix("/repository/") {
                Some(repository) => Place::Repository(decoded(repository)?),
                None => Place::Image(ImageName::from_path(path.strip_prefix("/image/")?)?),
            },
        };
        let sort = value("sort").and_then(|name| Sort::ALL.into_iter().find(|sort| sort.as_str() == name));
        let page = value("page").and_then(|page| page.parse().ok()).filter(|page| *page > 0);
        Some(Self {
            place,
            is_json,
            platform: value("platform"),
            sort: sort.unwrap_or_default(),
            page: page.unwrap_or(1),
        })
    }

    /// The first page of a place, as a page.
    pub(super) fn of(place: Place) -> Self {
        Self { place, is_json: false, platform: None, sort: Sort::Usual, page: 1 }
    }

    #[must_use]
    pub(super) fn on(self, platform: Option<&str>) -> Self {
        Self { platform: platform.map(str::to_owned), ..self }
    }

    #[must_use]
    pub(super) fn sorted(self, sort: Sort) -> Self {
        Self { sort, page: 1, ..self }
    }

    #[must_use]
    pub(super) fn at_page(self, page: usize) -> Self {
        Self { page, ..self }
    }

    #[must_use]
    pub(super) fn into_json(self) -> Self {
        Self { is_json: true, ..self }
    }

    /// The address as a link.
    pub(super) fn link(&self) -> String {
        let mut pairs: Vec<(&str, Cow<str>)> = Vec::new();
        let mut link = if self.is_json { API.to_owned() } else { String::new() };
        match &self.place {
            Place::Overview => link.push_str(if self.is_json { "/overview" } else { "/" }),
            Place::Search(text) => {
                link.push_str("/search");
                pairs.extend((!text.is_empty()).then_some(("q", text.into())));
            }
            Place::Repository(repository) => {
                link.push_str("/repository/");
                link.extend(utf8_percent_encode(repository, PATH));
            }
            Place::Image(name) => {
                link.push_str("/image/");
                link.extend(utf8_percent_encode(&name.repository, PATH));
                link.push(':');
                link.extend(utf8_percent_encode(&name.tag, PART));
            }
            Place::Compare(a, b) => {
                link.push_str("/compare");
                let named = [("a", a), ("b", b)].into_iter();
                pairs.extend(named.filter_map(|(key, name)| Some((key, name.as_ref()?.to_string().into()))));
            }
        }
        pairs.extend(self.platform.as_deref().map(|platform| ("platform", platform.into())));
        pairs.extend((self.sort != Sort::Usual).then(|| ("sort", self.sort.as_str().into())));
        pairs.extend((self.page > 1).then(|| ("page", self.page.to_string().into())));
        for (place, (key, value)) in pairs.iter().enumerate() {
            link.push(if place == 0 { '?' } else { '&' });
            link.push_str(key);
            link.push('=');
            link.extend(utf8_percent_encode(value, PART));
        }
        link
    }
}

impl ImageName {
    pub(super) fn new(repository: &crate::oci::Repository, tag: &crate::oci::Tag) -> Self {
        Self { repository: repository.to_string(), tag: tag.to_string() }
    }

    /// A reference: the tag is what follows the first colon, or `@`, after the last slash.
    fn parse(text: &str) -> Option<Self> {
        let name = text.rfind('/')? + 1;
        let separator = name + text[name..].find([':', '@'])?;
        Some(Self { repository: text[..separator].to_owned(), tag: text[separator + 1..].to_owned() })
    }

    /// The same in a path, in which each part is encoded.
    fn from_path(path: &str) -> Option<Self> {
        let encoded = Self::parse(path)?;
        Some(Self { repository: decoded(&encoded.repository)?, tag: decoded(&encoded.tag)? })
    }
}

impl std::fmt::Display for ImageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.repository, separator(&self.tag), self.tag)
    }
}

/// What stands before a tag in a reference: `@` where it is a digest, as only digests have colons.
pub(super) fn separator(tag: &str) -> &'static str {
    if tag.contains(':') { "@" } else { ":" }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = ImageName> {
        ("[a-z0-9:.\\[\\]-]{1,12}(/[a-z0-9._-]{1,8}){1,4}", "[A-Za-z0-9_.:-]{1,20}")
            .prop_map(|(repository, tag)| ImageName { repository, tag })
    }

    fn place() -> impl Strategy<Value = Place> {
        prop_oneof![
            Just(Place::Overview),
            "\\PC{0,30}".prop_map(Place::Search),
            name().prop_map(|name| Place::Repository(name.repository)),
            name().prop_map(Place::Image),
            (proptest::option::of(name()), proptest::option::of(name())).prop_map(|(a, b)| Place::Compare(a, b)),
        ]
    }

    proptest! {
        #[test]
        fn a_link_leads_to_what_it_was_made_of(
            place in place(),
            is_json: bool,
            platform in proptest::option::of("\\PC{1,20}"),
            sort in 0..Sort::ALL.len(),
            page in 1_usize..1000,
        ) {
            let address = Address { place, is_json, platform, sort: Sort::ALL[sort], page };
            let link = address.link();
            prop_assert!(link.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"' ".contains(&byte)), "{}", link);
            let (path, query) = link.split_once('?').unwrap_or((&link, ""));
            prop_assert_eq!(Address::parse(path, query), Some(address));
        }

        #[test]
        fn no_address_is_a_mistake_of_this_program(path in "/\\PC{0,40}", query in "\\PC{0,40}") {
            let _ = Address::parse(&path, &query);
        }
    }

    #[test]
    fn an_image_is_written_as_in_a_reference() {
        let written = |tag: &str| ImageName { repository: "a/b".to_owned(), tag: tag.to_owned() }.to_string();
        assert_eq!([written("v1"), written("sha256:00")], ["a/b:v1", "a/b@sha256:00"]);
    }

    #[test]
    fn odd_addresses_are_understood_or_are_none() {
        let image = |repository: &str, tag: &str| {
            Some(Place::Image(ImageName { repository: repository.to_owned(), tag: tag.to_owned() }))
        };
        for (path, expected) in [
            ("/image/a:5000/b/c:v1", image("a:5000/b/c", "v1")),
            ("/image/a/b%2Fc:v%31", image("a/b/c", "v1")),
            ("/image/a/b@sha256:00", image("a/b", "sha256:00")),
            ("/image/a/b:sha256%3A00", image("a/b", "sha256:00")),
            ("/image/a:1", None),
            ("/image/a/b", None),
            ("/image/a/b:%ff", None),
            ("/repository/%f0%28", None),
            ("/api/v1", None),
            ("/api/v1/", None),
            ("/overview", None),
            ("/nothing", None),
        ] {
            assert_eq!(Address::parse(path, "").map(|address| address.place), expected, "{path}");
        }
        let odd = Address::parse("/search", "q=&page=0&sort=x&platform=").unwrap();
        assert_eq!(odd, Address::of(Place::Search(String::new())));
    }
}
