//! Content negotiation: the format and encoding that the client prefers (RFC 9110, section 12; Prometheus, "Content
//! negotiation").

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderName};

use crate::metrics::{Encoding, Format};

/// The request headers that an answer to a scrape depends on.
pub(super) const VARY: &str = "Accept, Accept-Encoding";

/// A format and how it is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) format: Format,
    pub(super) content_type: &'static str,
}

const TEXT: Accepted = Accepted { format: Format::Text, content_type: "text/plain; version=0.0.4; charset=utf-8" };

/// All names are plain ASCII, so that every escaping except `dots` leaves them as they are.
const OPEN_METRICS: Accepted = Accepted {
    format: Format::OpenMetrics,
    content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
};

const OPEN_METRICS_UTF8: Accepted = Accepted {
    format: Format::OpenMetrics,
    content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
};

/// The version before 1.0.0 has no escaping.
const OPEN_METRICS_0_0_1: Accepted = Accepted {
    format: Format::OpenMetrics,
    content_type: "application/openmetrics-text; version=0.0.1; charset=utf-8",
};

/// The format with the highest quality, on a tie the one listed first, text 0.0.4 where none is accepted.
pub(super) fn format(headers: &HeaderMap) -> Accepted {
    let ranges = preferences(headers, &ACCEPT);
    let mut best: Option<(f32, Accepted)> = None;
    for range in &ranges {
        let Some(accepted) = accepted(range) else { continue };
        if range.quality > best.map_or(0.0, |(quality, _)| quality) {
            best = Some((range.quality, accepted));
        }
    }
    // A wildcard means text, unless text has a quality of its own.
    let text_is_rated = ranges.iter().any(|range| accepted(range) == Some(TEXT));
    let wildcard = ranges.iter().filter(|range| range.name == "*/*" && !text_is_rated).map(|range| range.quality);
    match best {
        Some((quality, accepted)) if wildcard.fold(0.0, f32::max) <= quality => accepted,
        _ => TEXT,
    }
}

fn accepted(range: &Preference) -> Option<Accepted> {
    let version = range.parameter("version");
    match (range.name.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => match range.parameter("escaping") {
            Some("allow-utf-8") => Some(OPEN_METRICS_UTF8),
            _ => Some(OPEN_METRICS),
        },
        ("application/openmetrics-text", Some("0.0.1")) => Some(OPEN_METRICS_0_0_1),
        ("text/plain", None | Some("0.0.4" | "1.0.0")) | ("text/*", _) => Some(TEXT),
        _ => None,
    }
}

/// gzip where it is accepted and not preferred less than identity. A client that accepts neither gets identity, which
/// it can at least read.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let codings = preferences(headers, &ACCEPT_ENCODING);
    let quality = |names: &[&str]| {
        let named = codings.iter().find(|coding| names.contains(&coding.name.as_str()));
        named.or_else(|| codings.iter().find(|coding| coding.name == "*")).map(|coding| coding.quality)
    };
    let gzip = quality(&["gzip", "x-gzip"]).unwrap_or(0.0);
    let identity = codings.iter().find(|coding| coding.name == "identity").map_or(0.0, |coding| coding.quality);
    if gzip > 0.0 && gzip >= identity { Encoding::Gzip } else { Encoding::Identity }
}

/// One element of a list of preferences: `name;key=value;q=0.5`.
struct Preference {
    name: String,
    parameters: Vec<(String, String)>,
    quality: f32,
}

impl Preference {
    fn parse(element: &str) -> Option<Self> {
        let mut parts = element.split(';');
        let name = parts.next()?.trim().to_ascii_lowercase();
        let mut preference = Self { name, parameters: Vec::new(), quality: 1.0 };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
            if key == "q" {
                preference.quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            } else {
                preference.parameters.push((key, value.to_owned()));
            }
        }
        (!preference.name.is_empty()).then_some(preference)
    }

    fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The elements of all headers of this name. Invalid ones are skipped.
fn preferences(headers: &HeaderMap, name: &HeaderName) -> Vec<Preference> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(Preference::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: Option<&str>) -> HeaderMap {
        value.map(|value| (name, value.parse().unwrap())).into_iter().collect()
    }

    #[test]
    fn the_format_is_the_one_that_the_client_prefers() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let protobuf_first = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                              application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let cases = [
            (None, TEXT),
            (Some(prometheus_2), OPEN_METRICS),
            (Some(prometheus_3), OPEN_METRICS_UTF8),
            (Some(protobuf_first), OPEN_METRICS),
            (Some("*/*"), TEXT),
            (Some(""), TEXT),
            (Some("application/json"), TEXT),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), TEXT),
            (Some("application/openmetrics-text"), OPEN_METRICS),
            (Some("Application/OpenMetrics-Text; Version=\"1.0.0\""), OPEN_METRICS),
            (Some("application/openmetrics-text;version=0.0.1"), OPEN_METRICS_0_0_1),
            (Some("application/openmetrics-text;version=2.0.0"), TEXT),
            (Some("application/openmetrics-text;version=1.0.0;escaping=dots"), OPEN_METRICS),
            (Some("application/openmetrics-text;escaping=values"), OPEN_METRICS),
            (Some("application/openmetrics-text;q=0, text/plain"), TEXT),
            (Some("application/openmetrics-text;q=0.3, text/plain;q=0.4"), TEXT),
            (Some("text/plain;q=0.5,application/openmetrics-text;q=0.5"), TEXT),
            (Some("application/openmetrics-text;q=0.5,text/plain;q=0.5"), OPEN_METRICS),
            (Some("application/openmetrics-text;q=0.5,*/*;q=0.9"), TEXT),
            (Some("*/*;q=0.9,text/plain;q=0.1,application/openmetrics-text;q=0.5"), OPEN_METRICS),
            (Some("application/openmetrics-text;q=nonsense,text/plain;q=0.1"), TEXT),
            (Some("application/openmetrics-text;q=2"), TEXT),
            (Some("text/*;q=0.8,application/openmetrics-text;q=0.9"), OPEN_METRICS),
        ];
        for (accept, expected) in cases {
            assert_eq!(format(&headers(ACCEPT, accept)), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_encoding_is_the_one_that_the_client_prefers() {
        let cases = [
            (None, Encoding::Identity),
            (Some("gzip"), Encoding::Gzip),
            (Some("GZIP"), Encoding::Gzip),
            (Some("x-gzip"), Encoding::Gzip),
            (Some("gzip, deflate, br, zstd"), Encoding::Gzip),
            (Some("deflate, br"), Encoding::Identity),
            (Some(""), Encoding::Identity),
            (Some("identity"), Encoding::Identity),
            (Some("*"), Encoding::Gzip),
            (Some("*;q=0"), Encoding::Identity),
            (Some("gzip;q=0"), Encoding::Identity),
            (Some("gzip;q=0.0, *"), Encoding::Identity),
            (Some("gzip; q=0.5, identity"), Encoding::Identity),
            (Some("gzip;q=0.5, identity;q=0.5"), Encoding::Gzip),
            (Some("identity;q=0, gzip;q=0.1"), Encoding::Gzip),
            (Some("identity;q=0"), Encoding::Identity),
            (Some("identity;q=0, *;q=0.5"), Encoding::Gzip),
            (Some("gzip;q=nonsense"), Encoding::Identity),
        ];
        for (accept, expected) in cases {
            assert_eq!(encoding(&headers(ACCEPT_ENCODING, accept)), expected, "{accept:?}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "text/plain;q=0.5".parse().unwrap());
        headers.append(ACCEPT, "application/openmetrics-text".parse().unwrap());
        assert_eq!(format(&headers), OPEN_METRICS);
    }
}
