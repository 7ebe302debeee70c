//! Where a local image is, in skopeo's words.

use std::fmt;
use std::str::FromStr;

/// A place outside registries that holds images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The format.
    pub transport: Transport,
    /// A path, and perhaps a colon and the name of one of the images there; for the engine an image's name or ID.
    pub rest: String,
}

/// The format of a local image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// What `docker save` writes.
    DockerArchive,
    /// A directory (OCI image layout specification).
    OciDirectory,
    /// A tar of such a directory.
    OciArchive,
    /// A running Docker engine.
    DockerDaemon,
}

/// The text is not a location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// It does not begin with a transport.
    #[error("`{0}` does not begin with docker-archive:, oci:, oci-archive: or docker-daemon:")]
    Transport(String),
    /// Nothing follows the transport.
    #[error("`{0}` names nothing: write for example {1}")]
    Empty(String, &'static str),
    /// Not an image of an engine.
    #[error("`{0}` is not the name or the ID of an image: write for example docker-daemon:acme/app:v1")]
    Name(String),
}

impl Transport {
    const ALL: [Self; 4] = [Self::DockerArchive, Self::OciDirectory, Self::OciArchive, Self::DockerDaemon];

    /// As it is written before the colon.
    pub fn word(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::OciDirectory => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerDaemon => "docker-daemon",
        }
    }

    /// The transport with which a text begins.
    pub fn of(text: &str) -> Option<Self> {
        let word = text.split_once(':')?.0;
        Self::ALL.into_iter().find(|transport| transport.word() == word)
    }

    fn example(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive:app.tar",
            Self::OciDirectory => "oci:layout",
            Self::OciArchive => "oci-archive:app.tar",
            Self::DockerDaemon => "docker-daemon:acme/app:v1",
        }
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let invalid = || InvalidLocation::Transport(text.to_owned());
        let transport = Transport::of(text).ok_or_else(invalid)?;
        let rest = text[transport.word().len() + 1..].to_owned();
        if rest.is_empty() {
            return Err(InvalidLocation::Empty(text.to_owned(), transport.example()));
        }
        // It becomes part of a URL's path.
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
        if transport == Transport::DockerDaemon && (!rest.bytes().all(is_name) || rest.contains("..")) {
            return Err(InvalidLocation::Name(rest));
        }
        Ok(Self { transport, rest })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.word(), self.rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_location_is_a_transport_and_what_it_names() {
        for (text, expected) in [
            ("docker-archive:a.tar", Ok((Transport::DockerArchive, "a.tar"))),
            ("docker-archive:/x/a.tar:acme/app:v1", Ok((Transport::DockerArchive, "/x/a.tar:acme/app:v1"))),
            ("oci:.", Ok((Transport::OciDirectory, "."))),
            ("oci-archive:a:v1", Ok((Transport::OciArchive, "a:v1"))),
            ("docker-daemon:acme/app:v1", Ok((Transport::DockerDaemon, "acme/app:v1"))),
            (
                "docker-daemon:a?b",
                Err("`a?b` is not the name or the ID of an image: write for example docker-daemon:acme/app:v1"),
            ),
            (
                "docker-daemon:../x",
                Err("`../x` is not the name or the ID of an image: write for example docker-daemon:acme/app:v1"),
            ),
            ("oci:", Err("`oci:` names nothing: write for example oci:layout")),
            (
                "alpine:3.20",
                Err("`alpine:3.20` does not begin with docker-archive:, oci:, oci-archive: or docker-daemon:"),
            ),
        ] {
            let location = text.parse::<Location>().map_err(|error| error.to_string());
            let parts =
                location.as_ref().map(|location| (location.transport, &*location.rest)).map_err(|error| &**error);
            assert_eq!(parts, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_location_is_displayed_as_it_was_written(text in "(oci|oci-archive|docker-archive|docker-daemon):.{0,9}") {
            if let Ok(location) = text.parse::<Location>() {
                prop_assert_eq!(location.to_string(), text);
            }
        }
    }
}
