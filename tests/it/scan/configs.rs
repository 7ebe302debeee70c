//! Configs with invalid fields that other programs accept: only those fields are lost.

use image_size_exporter::oci::Reason;

use super::*;

fn image_with(config: Vec<u8>) -> Pushed {
    let (config, layers) = (Blob::new(MediaType::OCI_CONFIG, config), [layer("a"), layer("b")]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    Pushed::from_json(MediaType::OCI_MANIFEST, &manifest, [vec![config], layers.to_vec()].concat(), vec![])
}

#[tokio::test]
async fn an_invalid_field_of_a_config_is_dropped_and_sizes_stay() {
    let diff_id = Digest::sha256_of(b"1");
    for (config, platform) in [
        (String::new(), ""),
        (r#"{"os":"linux","architecture":"amd64","history":[null,{"empty_layer":null}]}"#.to_owned(), "linux/amd64"),
        (
            format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":["{diff_id}",""]}}}}"#),
            "linux/arm64",
        ),
        (
            r#"{"os":"linux","architecture":"amd64","config":{"Labels":{"a":"\udfff"}},"history":[{"created_by":"\ud800"}]}"#
                .to_owned(),
            "linux/amd64",
        ),
        ("{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":\"RAW\"}".to_owned(), "linux/amd64"),
    ] {
        let mut bytes = config.clone().into_bytes();
        if let Some(raw) = config.find("RAW") {
            bytes[raw] = 0xff;
        }
        let mut watcher = Watcher::new("tags = ['v1']");
        watcher.push("v1", &image_with(bytes));
        let scanned = watcher.scan().await;
        let has_diff_id: Vec<bool> = scanned.reading().images[0].layers.iter().map(|one| one.diff_id.is_some()).collect();
        assert_eq!(has_diff_id, [config.contains("diff_ids"), false], "{config}");
        assert_eq!(watcher.sizes(), [format!("v1 {platform} 2000")], "{config}");
        assert_eq!(watcher.up(), [Some(true)]);
    }
}

#[tokio::test]
async fn an_error_in_a_config_names_the_config() {
    let mut watcher = Watcher::new("tags = ['v1']");
    watcher.push("v1", &image_with(b"<html>".to_vec()));
    let wanted = watcher.inventory.assign(&watcher.target.name).remove(0);
    let reported = scan::read_tag(&watcher.client, &watcher.store, &wanted).await;
    assert_eq!(reported.outcome, Outcome::Failed(Reason::Invalid));
    let said = reported.errors[0].to_string();
    assert!(said.ends_with(": not an image config: expected value at line 1 column 1"), "{said}");
}
