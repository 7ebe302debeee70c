//! Layers, where they are looked into for uncompressed sizes. Whatever they are, what the manifest says stays published,
//! and the log says why there is no more.

use std::io::Write as _;

use image_size_exporter::oci::{Digest, MediaType};
use serde_json::json;

use super::corpus::{Scenario, run};
use super::site::{Answer, Site, api, ok, raw, status};
use crate::support::images::{Blob, OCI_LAYER, Pushed};
use crate::support::tar::{gzip, hard_link, tar};

const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer, its uncompressed size where it is found out, and else what the log says of it.
struct Layer {
    name: &'static str,
    mode: &'static str,
    blob: Blob,
    /// Instead of the blob.
    answer: Option<Answer>,
    diff_id: Option<Digest>,
    outcome: Result<usize, &'static str>,
    /// What is counted.
    failures: &'static str,
}

/// One that is streamed.
fn exact(name: &'static str, bytes: impl Into<Vec<u8>>, outcome: Result<usize, &'static str>) -> Layer {
    Layer { name, mode: "exact", blob: Blob::new(OCI_LAYER, bytes), answer: None, diff_id: None, outcome, failures: "" }
}

/// One of which a few bytes are asked for.
fn cheap(name: &'static str, bytes: impl Into<Vec<u8>>, outcome: Result<usize, &'static str>) -> Layer {
    Layer { mode: "cheap", ..exact(name, bytes, outcome) }
}

impl Layer {
    fn of_type(self, media_type: &str) -> Self {
        Self { blob: self.blob.of_type(media_type), ..self }
    }

    fn answered(self, answer: Answer) -> Self {
        Self { answer: Some(answer), ..self }
    }

    fn failing(self, failures: &'static str) -> Self {
        Self { failures, ..self }
    }

    fn scenario(self) -> Scenario {
        let diff_ids: Vec<String> = self.diff_id.iter().map(ToString::to_string).collect();
        let config = json!({"author": self.name, "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = Blob::new(MediaType::OCI_CONFIG, config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": [self.blob.descriptor()],
        });
        let size = self.blob.size;
        let path = format!("GET /v2/acme/app/blobs/{}", self.blob.digest);
        let pushed = Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, vec![config, self.blob], vec![]);
        let mut site = Site::new();
        site.push("acme/app", "v1", &pushed);
        let site = match self.answer {
            Some(answer) => site.fault(&path, [answer]),
            None => site,
        };
        let found = self.outcome.map_or_else(|_| String::new(), |bytes| format!(" uncompressed {bytes}"));
        let expected = format!("up, v1 linux/amd64 {size}{found}, stored {size}{}", self.failures);
        let mode = self.mode;
        let scenario = Scenario::new(self.name, site, &expected)
            .target(&format!("tags = ['v1']\nuncompressed = '{mode}'"))
            .logs(self.outcome.err().unwrap_or_default());
        // What cannot be told from a few bytes is nothing to log. Its config and the layer are asked for.
        if self.outcome == Err("") { scenario.alone().asked("get_blob", 2) } else { scenario }
    }
}

/// A tar that no other scenario has, and its bytes: what is known of a layer by its digest counts for all registries.
fn unique() -> (Vec<u8>, usize) {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
    let tar = tar(&[100, NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)]);
    let length = tar.len();
    (tar, length)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// A tar with other bytes in its first header, whose checksum is mended.
fn header(at: usize, with: &[u8]) -> Vec<u8> {
    let (mut tar, _) = unique();
    tar[at..at + with.len()].copy_from_slice(with);
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

fn compressed() -> Vec<Layer> {
    let gz = || {
        let (tar, length) = unique();
        (gzip(&tar), length)
    };
    let cut = |keep: usize| {
        let (blob, _) = gz();
        blob[..blob.len() - keep].to_vec()
    };
    let flipped = |from_the_end: usize| {
        let (mut blob, _) = gz();
        let at = blob.len() - from_the_end;
        blob[at] ^= 1;
        blob
    };
    let old = |number: u8| [&[number, 0xb5, 0x2f, 0xfd][..], &unique().0].concat();
    let window = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(&unique().0).unwrap();
        encoder.finish().unwrap()
    };
    let (whole, length) = gz();
    let (z, z_length) = unique();
    let (plain, plain_length) = unique();
    let (members, members_length) = unique();
    let members: Vec<u8> = members.chunks(1).flat_map(gzip).collect();
    let bomb = zstd(&vec![0; 16 << 20]).repeat(80);
    let truncated = Err("the layer is truncated");
    vec![
        exact("gzip", whole, Ok(length)),
        exact("zstd", zstd(&z), Ok(z_length)).of_type(ZSTD_LAYER),
        exact("tar as gzip", plain, Ok(plain_length)),
        exact("gzip of 2,000 members", members, Ok(members_length)),
        exact("gzip without its trailer", cut(9), truncated),
        exact("gzip without its last byte", cut(1), truncated),
        exact("gzip of a header alone", &gz().0[..10], truncated),
        exact("gzip of another checksum", flipped(8), Err("a member's checksum or length is wrong")),
        exact("gzip of another length", flipped(1), Err("a member's checksum or length is wrong")),
        exact("gzip with garbage behind it", [gz().0, b"x".to_vec()].concat(), Err("something other than a member")),
        exact("gzip of gzip", gzip(&gz().0), Err("not a tar")),
        exact("gzip without an end in its name", b"\x1f\x8b\x08\x08\0\0\0\0\0\x03aaaaaaaaaaaaaa".to_vec(), truncated),
        exact("gzip bomb that is no tar", gzip(&vec![1; 64 << 20]), Err("not a tar")),
        exact("zstd bomb", bomb, Err("decompression bomb")).of_type(ZSTD_LAYER),
        exact("zstd of a window of 256 MiB", window, Err("a window of more than 128 MiB")).of_type(ZSTD_LAYER),
        exact("zstd that is cut", &zstd(&unique().0)[..20], truncated).of_type(ZSTD_LAYER),
        exact("zstd of 0.1", old(0x1e), Err("a zstd before 1.0")).of_type(ZSTD_LAYER),
        exact("zstd of 0.7", old(0x27), Err("a zstd before 1.0")).of_type(ZSTD_LAYER),
        exact("zstd with a dictionary", b"\x28\xb5\x2f\xfd\x23\xff\xff\xff\xff\x05\x29\0\0hello".to_vec(), Err("zstd"))
            .of_type(ZSTD_LAYER),
        exact("xz", b"\xfd7zXZ\0\0\x04".to_vec(), Err("compressed with xz")),
        exact("bzip2", b"BZh91AY&SY\0\0".to_vec(), Err("compressed with bzip2")),
    ]
}

fn tars() -> Vec<Layer> {
    let not_a_tar = Err("not a tar");
    let (cut, _) = unique();
    let (mut checksum, _) = unique();
    checksum[148] ^= 1;
    let long_name = header(156, b"L");
    let long_name_length = long_name.len();
    let climbing = header(0, b"../../etc/shadow");
    let climbing_length = climbing.len();
    let link = [hard_link("a", "nothing"), vec![0; 1024]].concat();
    let link_length = link.len();
    vec![
        exact("no tar", gzip(&[7; 600]), not_a_tar),
        exact("zeros", gzip(&[0; 10_240]), Ok(10_240)),
        exact("tar that is cut", gzip(&cut[..560]), not_a_tar),
        exact("tar of another checksum", gzip(&checksum), not_a_tar),
        exact(
            "tar of an entry of 8 EiB",
            gzip(&header(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
            not_a_tar,
        ),
        exact("tar of an entry below zero", gzip(&header(124, b"-0000000001\0")), not_a_tar),
        exact("tar of an entry of 8 GiB", gzip(&header(124, b"77777777777\0")), not_a_tar),
        exact("tar of a long name of nothing", gzip(&long_name), Ok(long_name_length)),
        exact("tar of a broken extended header", gzip(&header(156, b"x")), not_a_tar),
        exact("tar that climbs", gzip(&climbing), Ok(climbing_length)),
        exact("tar of a link to nothing", gzip(&link), Ok(link_length)),
    ]
}

fn sent() -> Vec<Layer> {
    let some = |name: &'static str, outcome| {
        let (tar, _) = unique();
        exact(name, gzip(&tar), outcome)
    };
    let (other, _) = unique();
    let (unlike, unlike_length) = unique();
    let same_length = some("layer of another digest", Err("does not match"));
    let size = usize::try_from(same_length.blob.size).unwrap();
    let odd = "blake3:".to_owned() + &"ab".repeat(32);
    let mut unverifiable = some("layer of a digest that cannot be verified", Err("cannot be verified against"));
    unverifiable.blob.digest = odd.parse().unwrap();
    vec![
        same_length.answered(ok(vec![b'x'; size])),
        some("layer that is longer than said", Err("sends more than")).answered(ok(gzip(&vec![1; 1 << 20]))),
        some("layer without an end", Err("sends more than"))
            .answered(Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".into(), vec![0; 1 << 16].into())),
        some("layer that is missing", Err("not found"))
            .answered(api(404, "BLOB_UNKNOWN"))
            .failing(", get_blob not_found"),
        some("layer that is denied", Err("403")).answered(status(403)).failing(", get_blob denied"),
        Layer {
            diff_id: Some(Digest::sha256_of(&other)),
            ..exact("layer of another diff_id", gzip(&unlike), Ok(unlike_length))
        },
        unverifiable,
    ]
}

fn parts() -> Vec<Layer> {
    let some = |name: &'static str| cheap(name, gzip(&unique().0), Err(""));
    let part = |range: &str, bytes: &[u8]| {
        let text = format!("HTTP/1.1 206 x\r\n{range}Content-Length: {}\r\n\r\n", bytes.len());
        raw([text.as_bytes(), bytes].concat())
    };
    let (tar, length) = unique();
    let (estargz, _) = unique();
    let (plain, _) = unique();
    let plain_length = plain.len();
    let invalid = ", get_blob invalid";
    let mut zeros = gzip(&unique().0);
    let end = zeros.len() - 4;
    zeros[end..].fill(0xff);
    vec![
        cheap("cheap gzip", gzip(&tar), Ok(length)),
        cheap("cheap tar", plain, Ok(plain_length)).of_type(PLAIN_LAYER),
        cheap("cheap gzip of an odd length", zeros, Err("")),
        cheap("cheap gzip of gzip members", [gzip(&estargz), gzip(&[])].concat(), Err("")),
        some("cheap layer of a registry without ranges")
            .answered(ok(vec![0; 1 << 20]))
            .failing(", get_blob unsupported"),
        some("cheap layer without its range").answered(part("", &[0; 8])).failing(invalid),
        some("cheap layer of another range")
            .answered(part("Content-Range: bytes 0-7/100\r\n", &[0; 8]))
            .failing(invalid),
        some("cheap layer of an odd range")
            .answered(part("Content-Range: lines \u{202e}-7/x\r\n", &[0; 8]))
            .failing(invalid),
        some("cheap layer of no range").answered(status(416)).failing(invalid),
        some("cheap layer that is refused").answered(status(400)).failing(", get_blob unsupported"),
        some("cheap layer that is missing").answered(api(404, "BLOB_UNKNOWN")).failing(", get_blob not_found"),
    ]
}

#[test]
fn hostile_layers_are_measured_or_said_to_be_broken() {
    let all = [compressed(), tars(), sent(), parts()];
    run(all.into_iter().flatten().map(Layer::scenario).collect());
}
