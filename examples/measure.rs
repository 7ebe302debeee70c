//! Measures layers in files, as the exporter does in a stream: `measure FILE [DIFF_ID]...` prints, of each, the bytes
//! of its tar and those that Docker would unpack. Used to compare its speed with other programs'.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use image_size_exporter::oci::Digest;
use image_size_exporter::uncompressed::Measure;

/// About what a network read gives.
const PIECE_BYTES: usize = 64 << 10;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(path) = arguments.next() {
        let diff_id: Option<Digest> =
            arguments.next_if(|next| next.starts_with("sha")).map(|text| text.parse()).transpose()?;
        // Without a diff_id the blob's own digest proves it, which only the file's name may tell.
        let name = std::path::Path::new(&path).file_name().unwrap_or_default().to_string_lossy();
        let digest = format!("sha256:{name}").parse().ok().or_else(|| diff_id.clone());
        let digest =
            digest.ok_or_else(|| anyhow::anyhow!("{path}: name a diff_id, or call the file by its SHA-256"))?;
        let mut measure = Measure::new(&digest, diff_id.as_ref())?;
        let mut file = std::fs::File::open(&path)?;
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            match file.read(&mut piece)? {
                0 => break,
                count => piece.truncate(count),
            }
            measure.feed(&Bytes::from(piece))?;
        }
        let content = measure.finish()?;
        let unpacked = content.unpacked_bytes.map_or("refused".to_owned(), |bytes| bytes.to_string());
        writeln!(std::io::stdout(), "{path} uncompressed {} unpacked {unpacked}", content.uncompressed_bytes)?;
    }
    Ok(())
}
