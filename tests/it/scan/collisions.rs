//! Entries of one index for one platform: none is left out, and no two have the same labels.

use super::*;

fn image_for(platform: &str, bytes: u64) -> Pushed {
    image(platform, &[&Blob::named(&format!("{platform} {bytes}"), bytes)])
}

/// An image of one layer of this media type.
fn compressed(name: &str, bytes: u64, media_type: &str) -> Pushed {
    image("linux/amd64", &[&Blob::named(name, bytes).of_type(media_type)])
}

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// An index of entries of one architecture, each with an `os.version` or none.
fn versions(os: &str, entries: &[(&str, &Pushed)]) -> Pushed {
    let descriptors: Vec<_> = entries
        .iter()
        .map(|(version, child)| {
            let mut entry = entry(&format!("{os}/arm64"), child);
            if !version.is_empty() {
                entry["platform"]["os.version"] = json!(version);
            }
            entry
        })
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": descriptors});
    let children = entries.iter().map(|(_, child)| (*child).clone()).collect();
    Pushed::from_json(MediaType::OCI_INDEX, &manifest, vec![], children)
}

#[tokio::test]
async fn gzip_and_zstd_variants_are_named_by_compression_and_both_enter_the_sums() {
    let (gzip, zstd) = (compressed("gzip", 100, GZIP), compressed("zstd", 80, ZSTD));
    for platforms in ["", "platforms = ['linux/amd64']"] {
        let mut watcher = Watcher::new(&format!("tags = ['v1', 'v2']\n{platforms}"));
        watcher.push("v1", &index(&[("linux/amd64", &gzip), ("linux/amd64", &zstd)]));
        watcher.push("v2", &zstd);
        watcher.scan().await;
        assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/amd64+zstd 80", "v2 linux/amd64 80"]);
        assert_eq!(watcher.up(), [Some(true); 2]);
        let snapshot = watcher.inventory.snapshot();
        assert_eq!(snapshot.registries[0].stored_bytes, Some(180));
        assert_eq!(snapshot.registries[0].repositories[0].tags[0].stored_bytes, Some(180));
        assert_eq!(watcher.cost().await, "head_manifest 2");
    }
}

#[tokio::test]
async fn releases_of_one_system_are_named_by_version() {
    let [new, old, oldest] = [400, 200, 100].map(|bytes| image_for("darwin/arm64", bytes));
    let all = versions("darwin", &[("macOS 15", &new), ("macOS 14", &old), ("macOS 14", &oldest)]);
    for platforms in ["", "platforms = ['darwin/arm64']"] {
        let mut watcher = Watcher::new(&format!("tags = ['v1']\n{platforms}"));
        watcher.push("v1", &all);
        watcher.scan().await;
        assert_eq!(
            watcher.sizes(),
            ["v1 darwin(macOS 14)/arm64 200", "v1 darwin(macOS 14)/arm64+2 100", "v1 darwin/arm64 400"]
        );
    }
    let mut watcher = Watcher::new("tags = ['v1']\nplatforms = ['windows(10.0.20348)/arm64']");
    watcher
        .push("v1", &versions("windows", &[("10.0.20348.1", &new), ("10.0.20348.2", &old), ("10.0.17763.9", &oldest)]));
    watcher.scan().await;
    assert_eq!(watcher.sizes(), ["v1 windows(10.0.20348)/arm64 400", "v1 windows(10.0.20348.2)/arm64 200"]);
}

#[tokio::test]
async fn otherwise_equal_entries_are_numbered() {
    let images = [100, 90, 80].map(|bytes| image_for("linux/amd64", bytes));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher
        .push("v1", &index(&[("linux/amd64", &images[0]), ("linux/x86_64", &images[1]), ("linux/amd64", &images[2])]));
    watcher.scan().await;
    let expected = ["v1 linux/amd64 100", "v1 linux/amd64+2 90", "v1 linux/amd64+3 80"];
    assert_eq!(watcher.sizes(), expected);

    // Without a platform in the index the configs count, and they agree.
    watcher.push("v1", &index(&[("", &images[0]), ("", &images[1]), ("", &images[2])]));
    watcher.scan().await;
    assert_eq!(watcher.sizes(), expected);

    // The first is the first in the index's order, at any depth.
    let inner = index(&[("linux/amd64", &images[0])]);
    watcher.push("v1", &index(&[("", &inner), ("linux/amd64", &images[1])]));
    watcher.scan().await;
    assert_eq!(watcher.sizes(), expected[..2]);
}

#[tokio::test]
async fn one_manifest_listed_twice_for_one_platform_is_one_image() {
    let image = image_for("linux/amd64", 100);
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &image), ("linux/amd64", &image), ("", &image)]));
    watcher.scan().await;
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100"]);
}

#[tokio::test]
async fn a_missing_image_keeps_its_name_for_itself() {
    let (first, second) = (image_for("linux/amd64", 100), image_for("linux/amd64", 90));
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &index(&[("linux/amd64", &first), ("linux/amd64", &second)]));
    watcher.registry.remove_manifest("acme/app", first.digest());
    watcher.scan().await;
    assert_eq!(watcher.sizes(), ["v1 linux/amd64+2 90"]);
    watcher.registry.store("acme/app", &first);
    watcher.scan().await;
    assert_eq!(watcher.sizes(), ["v1 linux/amd64 100", "v1 linux/amd64+2 90"]);
}
