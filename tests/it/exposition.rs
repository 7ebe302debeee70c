//! The exposition of a snapshot, parsed back.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use image_size_exporter::inventory::snapshot::Snapshot;
use image_size_exporter::metrics::Family;
use image_size_exporter::metrics::{Encoding, Rendered};
use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::oci::MediaType;
use image_size_exporter::oci::text::is_unprintable;
use image_size_exporter::registry::Counters;
use proptest::prelude::*;

use crate::exposition_reader::{Exposition, Sample};
use crate::snapshots::{self, Odd};

/// The whole body as a client gets it, decoded.
fn body(rendered: &Rendered, encoding: Encoding, tail: &[u8]) -> String {
    let tail = rendered.tail(encoding, tail.to_vec());
    let bytes = [rendered.pieces(encoding).concat(), tail.to_vec()].concat();
    assert_eq!(rendered.pieces_bytes(encoding) + tail.len() as u64, bytes.len() as u64);
    match encoding {
        Encoding::Identity => String::from_utf8(bytes).unwrap(),
        Encoding::Gzip => {
            let (mut decoder, mut text) = (flate2::bufread::GzDecoder::new(&bytes[..]), String::new());
            decoder.read_to_string(&mut text).unwrap();
            assert!(decoder.into_inner().is_empty(), "more than one member");
            text
        }
    }
}

fn render(snapshot: &Snapshot) -> Rendered {
    Rendered::render(snapshot, &BTreeSet::new())
}

fn exposed(snapshot: &Snapshot) -> Exposition {
    Exposition::parse(&body(&render(snapshot), Encoding::Identity, b""), Format::Text).unwrap()
}

#[test]
fn both_formats_are_parsed_back_in_both_encodings() {
    let (rendered, counters) = (render(&snapshots::large(200)), Counters::default());
    counters.watch(&["registry.example.com:5000".parse().unwrap()]);
    let telemetry = Telemetry::new(counters.into());
    for format in [Format::OpenMetrics, Format::Text] {
        let tail = [telemetry.encode(format), format.end().as_bytes().to_vec()].concat();
        let identity = body(&rendered, Encoding::Identity, &tail);
        assert_eq!(identity, body(&rendered, Encoding::Gzip, &tail));
        let exposed = Exposition::parse(&identity, format).unwrap();
        let of_images = exposed.samples.iter().filter(|sample| sample.name.starts_with("container_image_"));
        assert_eq!(of_images.count() as u64, rendered.series());
        assert!(exposed.families.contains_key("image_size_exporter_build_info"));
    }
}

#[test]
fn every_family_is_announced_as_it_is_documented() {
    let families = exposed(&snapshots::large(10)).families;
    assert_eq!(families.len(), Family::ALL.len());
    for family in Family::ALL {
        let exposed = &families[family.name()];
        assert_eq!((exposed.kind.as_str(), exposed.help.as_str()), ("gauge", family.help()));
    }
}

#[test]
fn one_snapshot_always_gives_the_same_bytes() {
    let (first, second) = (render(&snapshots::large(3_000)), render(&snapshots::large(3_000)));
    for encoding in [Encoding::Identity, Encoding::Gzip] {
        assert!(first.pieces(encoding).len() > 1, "{encoding:?}: one frame proves little");
        assert_eq!(first.pieces(encoding), second.pieces(encoding));
    }
}

#[test]
fn compressed_blocks_are_hardly_larger_than_one_stream() {
    let rendered = render(&snapshots::large(3_000));
    let text = rendered.pieces(Encoding::Identity).concat();
    // At the level of the blocks.
    let mut whole = GzEncoder::new(Vec::new(), Compression::new(2));
    whole.write_all(&text).unwrap();
    let whole = whole.finish().unwrap().len() as u64;
    let blocks = rendered.pieces_bytes(Encoding::Gzip);
    assert!(blocks * 100 <= whole * 108, "{blocks} bytes instead of {whole}");
}

#[test]
fn omitted_families_are_left_out_and_no_others() {
    let omit: BTreeSet<_> = [Family::ImageConfigSize, Family::ImageInfo, Family::RegistryStoredSize].into();
    let rendered = Rendered::render(&snapshots::large(10), &omit);
    let families = Exposition::parse(&body(&rendered, Encoding::Identity, b""), Format::Text).unwrap().families;
    let left_out: BTreeSet<_> =
        Family::ALL.into_iter().filter(|family| !families.contains_key(family.name())).collect();
    assert_eq!(left_out, omit);
}

#[test]
fn unknown_is_not_zero() {
    let text = body(&render(&snapshots::unread()), Encoding::Identity, b"");
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        samples,
        [
            r#"container_image_tag_up{registry="docker.io",repository="library/new",tag="latest"} 0"#,
            r#"container_image_repository_tags{registry="docker.io",repository="library/new"} 1"#,
            r#"container_image_repository_tags_unknown{registry="docker.io",repository="library/new"} 1"#,
        ]
    );
    let nothing = Rendered::empty();
    assert_eq!((nothing.series(), body(&nothing, Encoding::Gzip, b"# EOF\n").as_str()), (0, "# EOF\n"));
}

#[test]
fn values_are_written_so_that_they_come_back() {
    let text = body(&render(&snapshots::large(1)), Encoding::Identity, b"");
    let labels = r#"{registry="registry.example.com:5000",repository="team-0/service-0",tag="v1.0.0""#;
    for line in [
        format!(r#"container_image_compressed_size_bytes{labels},platform="linux/amd64"}} 30000000"#),
        format!(r#"container_image_proportional_size_bytes{labels},platform="linux/arm64"}} 10000000"#),
        format!(r#"container_image_uncompressed_size_estimated{labels},platform="linux/arm64"}} 1"#),
        format!(r"container_image_tag_last_success_timestamp_seconds{labels}}} 1700000000.125"),
        format!(r"container_image_tag_up{labels}}} 1"),
        r#"container_image_registry_stored_size_bytes{registry="registry.example.com:5000"} 987654321"#.to_owned(),
    ] {
        assert!(text.lines().any(|has| has == line), "{line}");
    }
    let info = text.lines().find(|line| line.starts_with("container_image_info{")).unwrap();
    let names: Vec<_> = info.split("=\"").map(|before| before.rsplit(['{', ',']).next().unwrap()).collect();
    let expected = ["registry", "repository", "tag", "platform", "digest", "image_id", "media_type", "artifact_type"];
    assert_eq!(names[..names.len() - 1], expected);
}

#[test]
fn a_share_that_is_no_number_is_left_out() {
    let mut snapshot = snapshots::large(1);
    let registry = std::sync::Arc::get_mut(&mut snapshot.registries[0]).unwrap();
    let repository = std::sync::Arc::get_mut(&mut registry.repositories[0]).unwrap();
    for (image, share) in repository.tags[0].images.iter_mut().zip([f64::NAN, f64::INFINITY]) {
        image.proportional_bytes = Some(share);
    }
    assert!(!exposed(&snapshot).families.contains_key(Family::ImageProportionalSize.name()));
}

/// A text as it stands in a label: what a reader cannot see is replaced, but for newlines, which are escaped.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_unprintable(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The given texts, as the parsed labels have them.
fn comes_back(odd: &Odd) {
    let rendered = render(&snapshots::odd(odd));
    for format in [Format::OpenMetrics, Format::Text] {
        let exposed = Exposition::parse(&body(&rendered, Encoding::Gzip, format.end().as_bytes()), format).unwrap();
        let sample = |family: Family| -> &Sample { exposed.all(family.name(), &[])[0] };
        assert_eq!(sample(Family::ImageInfo).label("artifact_type"), shown(&odd.artifact_type));
        assert_eq!(sample(Family::TagInfo).label("media_type"), MediaType::new(&odd.media_type).as_str());
        for (family, tag) in [(Family::NewestInfo, "v1.2.3"), (Family::NewestPreviousInfo, "v1.2.2")] {
            assert_eq!(sample(family).label("target"), shown(&odd.target));
            assert_eq!(sample(family).label("tag"), tag);
        }
        assert_eq!(sample(Family::RepositoryLabels).label("label_team"), shown(&odd.label));
        assert_eq!(sample(Family::GroupStoredSize).label("group"), shown(&odd.group));
    }
}

#[test]
fn hostile_texts_are_exposed_validly() {
    let texts = [
        "\"",
        "\\",
        "\n",
        "\\n",
        "\\\"",
        "\"} 1\nup 1\n#",
        "a\r\nb\tc\0d",
        "größe 大きさ 📦 \u{2028}\u{feff}",
        "}",
        "{",
        "=",
        " ",
        "# EOF\n",
    ];
    let texts = texts.into_iter().map(str::to_owned);
    let long = ["x".repeat(4096), "\"\\\n".repeat(1366), "大".repeat(1365)];
    for text in texts.chain(long) {
        let value = || text.clone();
        comes_back(&Odd {
            media_type: value(),
            artifact_type: value(),
            platform: value(),
            target: value(),
            label: value(),
            group: value(),
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_comes_back(
        media_type: String, artifact_type: String, platform: String, target: String, label: String, group: String,
    ) {
        comes_back(&Odd { media_type, artifact_type, platform, target, label, group });
    }
}

#[test]
fn what_is_not_allowed_is_refused() {
    let good = "# HELP a A.\n# TYPE a gauge\na{b=\"c\"} 1\n";
    assert_eq!(Exposition::parse(good, Format::Text).unwrap().samples[0].label("b"), "c");
    let bad = [
        "a 1\n",
        "# HELP a A.\n# TYPE a gauge\n",
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE a gauge\na 1\n\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\",b=\"d\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\\t\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c\"}1\n",
        "# HELP a A.\n# TYPE a gauge\na{1b=\"c\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na NaN\n",
        "# HELP a A.\n# TYPE a gauge\na{} 1\n",
        "# HELP a A.\n# TYPE a info\na 1\n",
        "# HELP a A.\n# TYPE a counter\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 1\n# HELP a A.\n# TYPE a gauge\na{c=\"d\"} 1\n",
        "# HELP a \n# TYPE a gauge\na 1\n",
        "# comment\n",
    ];
    for text in bad {
        assert!(Exposition::parse(text, Format::Text).is_err(), "{text}");
    }
    assert!(Exposition::parse(good, Format::OpenMetrics).is_err());
}
