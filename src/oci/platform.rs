//! Platforms in their normal form (OCI image index specification, "platform"; containerd's `platforms.Normalize`), and
//! which of them a configuration selects.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::json::or_default;

/// A platform in normal form, `os/architecture[/variant]`: `linux/arm64`, `linux/arm/v7`,
/// `windows(10.0.20348)/amd64`. Empty without a platform, as for an artifact.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Platform(Arc<str>);

/// The text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform: expected os/architecture or os/architecture/variant, as in `linux/amd64` or `linux/arm/v7`"
)]
pub struct InvalidPlatform(String);

/// `platform` of an index entry, and the same fields of a config, before they are brought into normal form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PlatformFields {
    /// `linux`, `windows`, …
    #[serde(default, deserialize_with = "or_default")]
    pub os: Box<str>,
    /// `amd64`, `arm64`, …
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: Box<str>,
    /// `v7`, `v8`, …
    #[serde(default, deserialize_with = "or_default")]
    pub variant: Box<str>,
    /// The build of Windows.
    #[serde(default, rename = "os.version", deserialize_with = "or_default")]
    pub os_version: Box<str>,
}

/// A part of a platform is longer than 64 characters, or has others than letters, digits, `.`, `_`, `-` and spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not part of a platform: expected at most 64 letters, digits, `.`, `_`, `-` and spaces")]
pub struct InvalidPlatformPart(pub &'static str);

/// The most characters of an operating system, an architecture, a variant or an operating system's version.
const PART_CHARACTERS_MAX: usize = 64;

/// The most bytes of a platform in normal form: four parts, separators, and a distinguishing suffix.
const NORMAL_BYTES_MAX: usize = 5 * PART_CHARACTERS_MAX;

fn is_part(text: &str) -> bool {
    text.len() <= PART_CHARACTERS_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._ -".contains(&b))
}

impl PlatformFields {
    /// Checks every part, which the image's author may have written.
    pub fn check(&self) -> Result<(), InvalidPlatformPart> {
        let parts = [
            ("os", &self.os),
            ("architecture", &self.architecture),
            ("variant", &self.variant),
            ("os.version", &self.os_version),
        ];
        match parts.into_iter().find(|(_, text)| !is_part(text)) {
            Some((name, _)) => Err(InvalidPlatformPart(name)),
            None => Ok(()),
        }
    }

    /// The platform in normal form.
    pub fn normal(&self) -> Platform {
        Platform::from_parts(&self.os, &self.architecture, &self.variant, &self.os_version)
    }
}

impl Platform {
    /// The platform of an artifact, and of an image whose config names none.
    pub fn none() -> Self {
        Self::default()
    }

    /// The normal form of the fields of an index entry or a config. Without an operating system and an architecture
    /// there is no platform. Windows adds its build, since one index holds images for several builds: the first three
    /// numbers of `os.version` 10.0.20348.2402, since the last one changes with each month's base image, and a series
    /// should not.
    pub fn from_parts(os: &str, architecture: &str, variant: &str, os_version: &str) -> Self {
        if os.is_empty() && architecture.is_empty() {
            return Self::none();
        }
        let os = normal_os(os);
        let (architecture, variant) = normal_architecture(architecture, variant);
        let version = build(os_version);
        let build = if os == "windows" && !version.is_empty() { format!("({version})") } else { String::new() };
        let separator = if variant.is_empty() { "" } else { "/" };
        Self(format!("{os}{build}/{architecture}{separator}{variant}").into())
    }

    /// The text of the `platform` label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `unknown/unknown`, under which BuildKit lists attestations.
    pub fn is_unknown(&self) -> bool {
        &*self.0 == "unknown/unknown"
    }

    /// The platform with the full `os.version`, `darwin(14.5)/arm64`: for platforms that differ in nothing else. None
    /// where the version is empty, longer than 64 bytes, or has characters other than `A-Z a-z 0-9 . _ -` and the
    /// space.
    pub fn with_version(&self, os_version: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._- ".contains(&byte);
        if os_version.is_empty() || os_version.len() > PART_CHARACTERS_MAX || !os_version.bytes().all(is_plain) {
            return None;
        }
        let (os, rest) = self.0.split_once('/')?;
        let os = os.split_once('(').map_or(os, |(os, _)| os);
        Some(Self(format!("{os}({os_version})/{rest}").into()))
    }

    fn with_mark(&self, mark: impl fmt::Display) -> Self {
        Self(format!("{}+{mark}", self.0).into())
    }

    /// Whether this configured platform selects `other`: they are equal, apart from a distinguishing suffix or a
    /// Windows build that the configuration leaves out.
    fn selects(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if !other.0.contains(['(', '+']) {
            return false;
        }
        let plain = other.0.split_once('+').map_or(&*other.0, |(plain, _)| plain);
        let Some((os, after)) = plain.split_once('(') else { return plain == &*self.0 };
        let Some((version, rest)) = after.split_once(')') else { return plain == &*self.0 };
        *self.0 == format!("{os}{rest}") || *self.0 == format!("{os}({}){rest}", build(version))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.to_owned());
        let fits =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let (os, rest) = text.split_once('/').ok_or_else(invalid)?;
        let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
        let (os, build) = match os.split_once('(') {
            Some((os, build)) => (os, build.strip_suffix(')').filter(|build| fits(build)).ok_or_else(invalid)?),
            None => (os, ""),
        };
        if !fits(os) || !fits(architecture) || !(variant.is_empty() && !rest.ends_with('/') || fits(variant)) {
            return Err(invalid());
        }
        Ok(Self::from_parts(os, architecture, variant, build))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Platform {
    /// The text that was serialized, already in normal form. Earlier versions serialized texts of any length.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._ -/()+".contains(&b);
        if text.len() > NORMAL_BYTES_MAX || !text.bytes().all(fits) {
            return Err(serde::de::Error::custom("not a platform in normal form"));
        }
        Ok(Self(text.into()))
    }
}

/// The first three numbers of a Windows version.
fn build(os_version: &str) -> String {
    os_version.splitn(4, '.').take(3).collect::<Vec<_>>().join(".")
}

/// Gives each image of one index a distinct platform, so that none is left out and no two series have the same labels.
///
/// The first image of a platform keeps its plain name. Another one gets its compression as a suffix where that differs
/// from the first's, `linux/amd64+zstd`, else its position among the images of that platform, `linux/amd64+2`.
#[derive(Debug, Default)]
pub struct DistinctPlatforms {
    /// How many images of each platform there are, and the compression of the first.
    groups: HashMap<Platform, (usize, &'static str)>,
    given: HashSet<Platform>,
}

impl DistinctPlatforms {
    /// The platform of the next image, in the index's order.
    ///
    /// # Panics
    /// Never: there are more positions than names in use.
    pub fn next(&mut self, platform: &Platform, compression: &'static str) -> Platform {
        let (count, first_compression) = self.groups.entry(platform.clone()).or_insert((0, compression));
        *count += 1;
        let plain = (*count == 1).then(|| platform.clone());
        let by_compression = (compression != *first_compression).then(|| platform.with_mark(compression));
        let by_count = ((*count).max(2)..).map(|count| platform.with_mark(count));
        let mut names = plain.into_iter().chain(by_compression).chain(by_count);
        let distinct = names.find(|name| !self.given.contains(name)).expect("there are more numbers than names in use");
        self.given.insert(distinct.clone());
        distinct
    }
}

/// The platforms that a configuration selects: its `platforms`, or all where it lists none.
///
/// Images without a platform, such as artifacts, are always selected: no configured platform could name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PlatformFilter(Vec<Platform>);

impl PlatformFilter {
    /// Every platform.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether it selects every platform.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The configured platforms, in the configuration's order; empty where all are selected.
    pub fn platforms(&self) -> &[Platform] {
        &self.0
    }

    /// Whether it selects an image of this platform.
    pub fn includes(&self, platform: &Platform) -> bool {
        self.0.is_empty() || platform.0.is_empty() || self.0.iter().any(|configured| configured.selects(platform))
    }

    /// Whether it selects everything that `other` selects.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_all() || !other.is_all() && other.0.iter().all(|platform| self.includes(platform))
    }

    /// What any of these filters selects.
    pub fn union<'a>(filters: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union: Vec<Platform> = Vec::new();
        for filter in filters {
            if filter.is_all() {
                return Self::all();
            }
            for platform in &filter.0 {
                if !union.contains(platform) {
                    union.push(platform.clone());
                }
            }
        }
        Self(union)
    }
}

impl From<Vec<Platform>> for PlatformFilter {
    /// All, when empty.
    fn from(platforms: Vec<Platform>) -> Self {
        Self(platforms)
    }
}

impl FromIterator<Platform> for PlatformFilter {
    /// All, when empty.
    fn from_iter<I: IntoIterator<Item = Platform>>(platforms: I) -> Self {
        Self(platforms.into_iter().collect())
    }
}

fn normal_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        os => os.to_owned(),
    }
}

/// containerd's `normalizeArch`: synonyms become one name, and a default variant is dropped.
fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i486" | "i586" | "i686", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_names_of_a_platform_become_one() {
        let normal = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.20348)/amd64", "windows(10.0.20348)/amd64"),
            ("unknown/unknown", "unknown/unknown"),
        ];
        for (written, expected) in normal {
            assert_eq!(written.parse::<Platform>().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn an_invalid_platform_is_refused() {
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/arm/",
            "linux/amd64/v1/x",
            "linux amd64",
            "windows()/amd64",
            "windows(1/amd64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    fn filter(platforms: &str) -> PlatformFilter {
        platforms.split_whitespace().map(|platform| platform.parse().unwrap()).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_configured_windows_platform_selects_all_its_builds() {
        let published = Platform::from_parts("windows", "amd64", "", "10.0.20348.2402");
        assert_eq!(published.as_str(), "windows(10.0.20348)/amd64");
        assert!(filter("windows/amd64").includes(&published));
        assert!(filter("windows(10.0.20348)/amd64").includes(&published));
        assert!(!filter("windows(10.0.17763)/amd64").includes(&published));
        assert!(!filter("windows(10.0.20348)/amd64").includes(&"windows/amd64".parse().unwrap()));
        assert!(!filter("windows/amd64").includes(&"linux/amd64".parse().unwrap()));
    }

    #[test]
    fn a_filter_selects_what_it_lists_and_what_has_no_platform() {
        assert!(filter("linux/amd64 linux/arm").includes(&"linux/arm/v7".parse().unwrap()));
        assert!(!filter("linux/amd64").includes(&"linux/arm64".parse().unwrap()));
        assert!(filter("linux/amd64").includes(&Platform::none()));
        assert!(filter("").includes(&"linux/s390x".parse().unwrap()));
    }

    #[test]
    fn images_of_one_platform_get_distinct_names_and_the_first_keeps_its_own() {
        let (amd64, none) = (Platform::from_str("linux/amd64").unwrap(), Platform::none());
        for (images, expected) in [
            (&[(&amd64, "gzip"), (&amd64, "zstd"), (&amd64, "gzip")][..], "linux/amd64 linux/amd64+zstd linux/amd64+3"),
            (&[(&amd64, "zstd"), (&amd64, "gzip"), (&amd64, "gzip")], "linux/amd64 linux/amd64+gzip linux/amd64+3"),
            (&[(&none, "gzip"), (&none, "gzip"), (&amd64, "gzip")], " +2 linux/amd64"),
            // Whatever an index calls its platforms.
            (
                &[(&amd64.with_mark(2), "gzip"), (&amd64, "gzip"), (&amd64, "gzip"), (&amd64, "gzip")],
                "linux/amd64+2 linux/amd64 linux/amd64+3 linux/amd64+4",
            ),
        ] {
            let mut distinct = DistinctPlatforms::default();
            let names: Vec<Platform> =
                images.iter().map(|(platform, compression)| distinct.next(platform, compression)).collect();
            assert_eq!(names.iter().map(Platform::as_str).collect::<Vec<_>>().join(" "), expected);
            let plain: PlatformFilter = vec![amd64.clone()].into();
            assert!(names.iter().all(|name| plain.includes(name) || name.as_str() == "+2"), "{names:?}");
        }
    }

    #[test]
    fn a_version_tells_platforms_apart_and_a_filter_selects_all_of_them() {
        let darwin: Platform = "darwin/arm64".parse().unwrap();
        let windows = Platform::from_parts("windows", "amd64", "", "10.0.20348.2402");
        for (platform, version, expected, selected_by) in [
            (&darwin, "14.5", Some("darwin(14.5)/arm64"), "darwin/arm64"),
            (&darwin, "macOS 14", Some("darwin(macOS 14)/arm64"), "darwin/arm64"),
            (&windows, "10.0.20348.2500", Some("windows(10.0.20348.2500)/amd64"), "windows(10.0.20348)/amd64"),
            (&windows, "10.0.20348.2500", Some("windows(10.0.20348.2500)/amd64"), "windows/amd64"),
            (&darwin, "", None, ""),
            (&darwin, "14\n", None, ""),
            (&darwin, "1)+(2", None, ""),
            (&darwin, &"1".repeat(65), None, ""),
        ] {
            let told_apart = platform.with_version(version);
            assert_eq!(told_apart.as_ref().map(Platform::as_str), expected);
            for name in told_apart.iter().flat_map(|platform| [platform.clone(), platform.with_mark("zstd")]) {
                assert!(filter(selected_by).includes(&name), "{selected_by} {name}");
                assert!(!filter("linux/arm64 windows(10.0.17763)/amd64").includes(&name), "{name}");
            }
        }
    }

    #[test]
    fn a_filter_covers_another_that_selects_no_more() {
        for (wide, narrow, covers) in [
            ("", "", true),
            ("", "linux/amd64", true),
            ("linux/amd64", "", false),
            ("linux/amd64 linux/arm64", "linux/arm64", true),
            ("linux/arm64", "linux/amd64 linux/arm64", false),
            ("windows/amd64", "windows(10.0.20348)/amd64", true),
            ("windows(10.0.20348)/amd64", "windows/amd64", false),
        ] {
            assert_eq!(filter(wide).covers(&filter(narrow)), covers, "{wide:?} {narrow:?}");
        }
    }

    #[test]
    fn a_union_selects_what_any_filter_does() {
        let (amd64, both) = (filter("linux/amd64"), filter("linux/arm64 linux/amd64"));
        assert_eq!(PlatformFilter::union([&amd64, &both]), filter("linux/amd64 linux/arm64"));
        assert_eq!(PlatformFilter::union([&amd64, &PlatformFilter::all()]), PlatformFilter::all());
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text: String) {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.as_str().parse::<Platform>().unwrap(), platform);
            }
        }
    }
}
