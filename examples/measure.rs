//! Measures layers in files, as the exporter does in a stream: `measure FILE DIGEST [DIFF_ID [files]]` prints the bytes
//! of a layer's tar and those that Docker would unpack, and with `files` how many paths it lists. Used to compare its speed with other programs'.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use bytes::Bytes;
use image_size_exporter::layer::{Measure, Wanted};
use image_size_exporter::oci::Digest;

/// About what a network read gives.
const PIECE_BYTES: usize = 64 << 10;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("name a file, its digest and perhaps its diff_id")?;
    let digest: Digest = arguments.next().context("name the file's digest as well")?.parse()?;
    let diff_id: Option<Digest> = arguments.next().map(|text| text.parse()).transpose()?;
    let wanted = arguments.next().map(|_| Wanted { paths_max: 1_000_000, packages: true });
    let mut file = std::fs::File::open(&path)?;
    let pieces = std::iter::from_fn(|| {
        let mut piece = vec![0; PIECE_BYTES];
        let count = file.read(&mut piece).expect("the file can be read");
        piece.truncate(count);
        (count > 0).then(|| Bytes::from(piece))
    });
    let measured = Measure::new(&digest, diff_id.as_ref())?.with_files(wanted).read_files(pieces)?;
    let content = measured.content;
    let unpacked = content.unpacked.bytes().map_or("refused".to_owned(), |bytes| bytes.to_string());
    writeln!(std::io::stdout(), "{path} uncompressed {} unpacked {unpacked}", content.uncompressed_bytes)?;
    if wanted.is_some() {
        writeln!(std::io::stdout(), "{} paths", measured.files?.paths())?;
    }
    Ok(())
}
