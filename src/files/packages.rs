//! Packages, by the databases of their managers: dpkg's and apk's lists, the metadata of Python's and Node's packages.
//!
//! A database is parsed while its layer is read: which of them are still in the image is known once layers are merged.
//! Databases of rpm are recognized and not read: they are SQLite, ndb or Berkeley DB.

mod node;
mod python;
mod stanzas;

pub(super) use node::FOLDER as NODE_MODULES;

/// At most so many packages of one layer are kept.
pub(crate) const PACKAGES_MAX: usize = 100_000;

/// A name or a version with more bytes is that of no package.
const TEXT_BYTES_MAX: usize = 256;

/// Who manages packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// Alpine's.
    Apk,
    /// Red Hat's and SUSE's.
    Rpm,
    /// What pip and others install.
    Python,
    /// What npm and others install.
    Node,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Who manages it.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// Its version; empty where none is said.
    pub version: String,
    /// Bytes of its files, by its manager's own account, for Node by the files; `None` where nobody says.
    pub bytes: Option<u64>,
}

/// What was read of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// Packages.
    Packages(Vec<Package>),
    /// Bytes of the package that is described in the same directory: a `RECORD`.
    PackageBytes(u64),
    /// It is not read.
    Unsupported(Manager),
}

/// A file that describes packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `/var/lib/dpkg/status`, or a file in `status.d` beside it.
    Dpkg,
    /// `/lib/apk/db/installed`
    Apk,
    /// rpm's database.
    Rpm,
    /// `METADATA` or `PKG-INFO`
    PythonMetadata,
    /// `RECORD`
    PythonRecord,
    /// `package.json` of an installed package.
    Node,
}

impl Source {
    /// What a path, as a tar writes it, describes.
    pub fn of(path: &[u8]) -> Option<Self> {
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        match path {
            b"var/lib/dpkg/status" => Some(Self::Dpkg),
            b"lib/apk/db/installed" | b"usr/lib/apk/db/installed" => Some(Self::Apk),
            _ if path.starts_with(b"var/lib/dpkg/status.d/") && !path.ends_with(b".md5sums") => Some(Self::Dpkg),
            _ if is_rpm(path) => Some(Self::Rpm),
            _ if path.ends_with(b".dist-info/METADATA") || path.ends_with(b".egg-info/PKG-INFO") => {
                Some(Self::PythonMetadata)
            }
            _ if path.ends_with(b".dist-info/RECORD") => Some(Self::PythonRecord),
            _ if node::is_package(path) => Some(Self::Node),
            _ => None,
        }
    }

    /// What a path describes, or may describe by another hard link: of all of a content's paths, a tar has it at the first.
    pub fn of_any_link(path: &[u8]) -> Option<Self> {
        Self::of(path).or_else(|| node::may_be_package(path).then_some(Self::Node))
    }

    /// How many bytes of it are read; a longer file is not parsed, of metadata the beginning.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Dpkg | Self::Apk => 32 << 20,
            Self::Rpm => 0,
            Self::PythonMetadata => 64 << 10,
            Self::PythonRecord => 4 << 20,
            Self::Node => 1 << 20,
        }
    }

    /// What `content`, the first [`Self::bytes_max`] bytes, says; `is_whole`: there are no others.
    pub fn parse(self, content: &[u8], is_whole: bool) -> Option<Database> {
        let mut packages = match self {
            Self::Rpm => return Some(Database::Unsupported(Manager::Rpm)),
            Self::PythonMetadata => python::metadata(content).into_iter().collect(),
            _ if !is_whole => return None,
            Self::PythonRecord => return python::record(content).map(Database::PackageBytes),
            Self::Dpkg => stanzas::dpkg(content),
            Self::Apk => stanzas::apk(content),
            Self::Node => node::package(content).into_iter().collect(),
        };
        packages.retain(|package| package.name.len() <= TEXT_BYTES_MAX && package.version.len() <= TEXT_BYTES_MAX);
        (!packages.is_empty()).then_some(Database::Packages(packages))
    }
}

/// The places of rpm's database (rpm's `%_dbpath` in Fedora, SUSE and before), in its three formats.
fn is_rpm(path: &[u8]) -> bool {
    [&b"var/lib/rpm/"[..], b"usr/lib/sysimage/rpm/", b"usr/share/rpm/"].iter().any(|folder| {
        path.strip_prefix(*folder).is_some_and(|name| matches!(name, b"rpmdb.sqlite" | b"Packages" | b"Packages.db"))
    })
}

impl Manager {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Python => "python",
            Self::Node => "node",
        }
    }
}

/// Text of a database.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests;
