//! Images that are not pushed: archives, layouts and an engine, each against another or against a registry.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use image_size_exporter::commands::check::Context;
use image_size_exporter::commands::cli::{Cli, Command};
use image_size_exporter::commands::inspect::Terminal;
use image_size_exporter::local::EngineAddress;
use image_size_exporter::oci::Digest;
use image_size_exporter::registry::{Registries, Settings};
use serde_json::{Value, json};

use super::{check, checked, text};
use crate::support::images::image_of_tars;
use crate::support::registry::TestRegistry;
use crate::support::tar::{Tar, archive, gzip, tar};

fn file(name: &str, content: &dyn ToString) -> (String, Vec<u8>) {
    (name.to_owned(), content.to_string().into_bytes())
}

fn config(tars: &[&Tar]) -> String {
    let diff_ids: Vec<String> = tars.iter().map(|tar| tar.diff_id.to_string()).collect();
    let history: Vec<Value> = (0..tars.len()).map(|at| json!({"created_by": format!("COPY layer {at} /")})).collect();
    let config = json!({
        "os": "linux", "architecture": "amd64", "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string()
}

/// What `docker save` writes, of uncompressed tars.
pub(super) fn docker_archive(tars: &[(&Tar, &[u8])], tag: &str) -> Vec<u8> {
    let layers: Vec<String> = (0..tars.len()).map(|at| format!("{at}/layer.tar")).collect();
    let mut files: Vec<(String, Vec<u8>)> =
        layers.iter().zip(tars).map(|(name, (_, tar))| (name.clone(), tar.to_vec())).collect();
    files.push(file("config.json", &config(&tars.iter().map(|(tar, _)| *tar).collect::<Vec<_>>())));
    files.push(file("manifest.json", &json!([{"Config": "config.json", "RepoTags": [tag], "Layers": layers}])));
    archive(&files)
}

/// An OCI layout of gzipped layers, as files.
fn layout_files(tars: &[&Tar]) -> Vec<(String, Vec<u8>)> {
    let config = config(tars);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", &Digest::sha256_of(bytes).to_string()[7..]);
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::sha256_of(bytes).to_string(), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": tars.iter().map(|tar| tar.gzip.descriptor()).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string();
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    let mut files = vec![
        file("oci-layout", &json!({"imageLayoutVersion": "1.0.0"})),
        file("index.json", &json!({"schemaVersion": 2, "manifests": [entry]})),
        (blob(config.as_bytes()), config.clone().into_bytes()),
        (blob(manifest.as_bytes()), manifest.clone().into_bytes()),
    ];
    for tar in tars {
        let bytes = tar.gzip.bytes.clone().unwrap();
        files.push((blob(&bytes), bytes));
    }
    files
}

/// Writes an OCI layout into a directory, and returns what names it.
pub(super) fn layout(directory: &Path, name: &str, tars: &[&Tar]) -> String {
    for (path, content) in layout_files(tars) {
        let path = directory.join(name).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    format!("oci:{name}")
}

/// Two images with a common base: their layers with the plain tars.
struct Fixture {
    directory: tempfile::TempDir,
    registry: TestRegistry,
    plain: [Vec<u8>; 3],
    tars: [Tar; 3],
}

impl Fixture {
    fn new() -> Self {
        let plain = [tar(&[40_000, 300]), tar(&[20_000]), tar(&[90_000, 7])];
        let tars = [Tar::new(&plain[0]), Tar::new(&plain[1]), Tar::new(&plain[2])];
        let registry = TestRegistry::start();
        registry.push("acme/app", "v1", &image_of_tars(&[&tars[0], &tars[1]]));
        registry.push("acme/app", "v2", &image_of_tars(&[&tars[0], &tars[2]]));
        Self { directory: tempfile::tempdir().unwrap(), registry, plain, tars }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// The layers of the first release, or of the second.
    fn layers(&self, release: usize) -> [(&Tar, &[u8]); 2] {
        [(&self.tars[0], &self.plain[0]), (&self.tars[release], &self.plain[release])]
    }

    /// A release in each format, and on the registry.
    fn formats(&self, release: usize) -> [String; 6] {
        let layers = self.layers(release);
        let tars = layers.map(|(tar, _)| tar);
        let saved = docker_archive(&layers, &format!("acme/app:v{release}"));
        self.write(&format!("saved{release}.tar"), &saved);
        self.write(&format!("saved{release}.tar.gz"), &gzip(&saved));
        self.write(&format!("layout{release}.tar"), &archive(&layout_files(&tars)));
        [
            format!("{}/acme/app:v{release}", self.registry.name()),
            layout(self.path(), &format!("layout{release}"), &tars),
            format!("oci-archive:layout{release}.tar"),
            format!("docker-archive:saved{release}.tar"),
            format!("docker-archive:saved{release}.tar.gz"),
            format!("docker-archive:saved{release}.tar:acme/app:v{release}"),
        ]
    }

    fn compressed(&self, layer: usize) -> u64 {
        self.tars[layer].gzip.size
    }

    fn uncompressed(&self, layer: usize) -> u64 {
        self.plain[layer].len() as u64
    }
}

#[test]
fn every_format_is_compared_with_every_other() {
    let fixture = Fixture::new();
    let (olds, news) = (fixture.formats(1), fixture.formats(2));
    for old in &olds {
        for new in &news {
            let (code, result) = checked(fixture.path(), &[new, "--against", old, "--uncompressed", "exact"]);
            assert_eq!(code, Some(0), "{old} {new}: {result}");
            let open = [old, new].iter().any(|side| side.starts_with("docker-archive"));
            let kind = if open { "uncompressed" } else { "compressed" };
            assert_eq!(result["size"], kind, "{old} {new}");
            let of = |layer| if open { fixture.uncompressed(layer) } else { fixture.compressed(layer) };
            let platform = &result["platforms"][0];
            let sums = ["old_bytes", "new_bytes", "shared_bytes", "update_bytes"].map(|key| platform[key].as_u64());
            let expected = [of(0) + of(1), of(0) + of(2), of(0), of(2)].map(Some);
            assert_eq!(sums, expected, "{old} {new}");
            assert_eq!(platform["estimated"], false);
            let said = result["notes"].to_string();
            assert_eq!(said.contains("uncompressed sizes are compared: docker-archive:"), open, "{said}");
            // The first layer is the same tar, whatever holds it.
            assert_eq!(platform["layers"][0]["change"], "shared");
        }
    }
}

/// What the local image has is not fetched, and by default no layer is fetched whole.
#[test]
fn of_a_registrys_layers_only_those_are_measured_that_differ() {
    let fixture = Fixture::new();
    let [old, ..] = fixture.formats(1);
    let new = &fixture.formats(2)[3];
    fixture.registry.take_counts();
    let (_, result) = checked(fixture.path(), &[new, "--against", &old]);
    assert_eq!(fixture.registry.take_counts(), "get_blob 2, get_manifest 1, get_range 1");
    let platform = &result["platforms"][0];
    assert_eq!(platform["old_bytes"], fixture.uncompressed(0) + fixture.uncompressed(1));
    let (_, exact) = checked(fixture.path(), &[new, "--against", &old, "--uncompressed", "exact"]);
    assert_eq!(fixture.registry.take_counts(), "get_blob 3, get_manifest 1");
    assert_eq!(exact["platforms"][0]["old_bytes"], platform["old_bytes"]);
}

/// What is shown on a terminal while the second release is compared with the first.
async fn shown(old: &str, new: &str, progress: bool) -> String {
    let line = ["x", "check", new, "--against", old, "--uncompressed", "exact"].map(std::ffi::OsString::from);
    let Some(Command::Check(flags)) = Cli::from_arguments(&line).unwrap().command else { panic!("{line:?}") };
    let registries = Registries::new(BTreeMap::new(), Settings::default()).unwrap();
    let terminal = Terminal { progress, ..Terminal::default() };
    let context = Context { registries: &registries, config: None, engine: &EngineAddress::default(), terminal };
    let mut err = Vec::new();
    image_size_exporter::commands::check::check(context, &flags.arguments, &mut err).await.unwrap();
    text(&err)
}

#[tokio::test]
async fn a_terminal_shows_what_is_being_read() {
    let fixture = Fixture::new();
    let [old, ..] = fixture.formats(1);
    fixture.formats(2);
    let new = format!("docker-archive:{}", fixture.path().join("saved2.tar").display());
    let said = shown(&old, &new, true).await;
    // The archive, then the one layer of the registry's image that the archive lacks; nothing is left on the line.
    let digest = fixture.tars[1].gzip.digest.to_string();
    let place = said.find(&format!("\r\u{1b}[Kreading {new}")).unwrap_or_else(|| panic!("{said:?}"));
    assert!(said[place..].contains(&format!("\r\u{1b}[K{}: 0 B of ", &digest[..19])), "{said:?}");
    assert!(said.ends_with("\r\u{1b}[K"), "{said:?}");
    assert_eq!(shown(&old, &new, false).await, "");
}

#[test]
fn a_local_image_has_commands_and_its_size_is_judged() {
    let fixture = Fixture::new();
    let new = &fixture.formats(2)[3];
    let output = check(fixture.path(), &[new, "--max-size", "100KiB", "--bytes"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{out}{err}");
    assert!(
        out.contains("FAIL  max-size  linux/amd64: 132 KiB uncompressed, allowed are 100 KiB: 32.5 KiB too many"),
        "{out}"
    );
    assert!(out.contains("      92672 COPY layer 1 /"), "{out}");
    assert!(
        out.contains("uncompressed sizes are compared: docker-archive:saved2.tar has layers that are not compressed")
    );
}

#[test]
fn a_budget_is_judged_once_the_compressed_size_is_known() {
    let fixture = Fixture::new();
    let [reference, layout, _, saved, ..] = fixture.formats(2);
    let toml =
        format!("[[targets]]\nrepository = '{}/acme/app'\ntags = ['v2']\nbudget = '1KiB'\n", fixture.registry.name());
    fixture.write("config.toml", toml.as_bytes());
    for (new, code) in [(&reference, 7), (&layout, 7), (&saved, 0)] {
        let (exit, result) = checked(fixture.path(), &[new, "--as", &reference]);
        assert_eq!(exit, Some(code), "{new}: {result}");
        assert_eq!(result["platforms"][0]["rules"][0]["passed"], if code == 7 { json!(false) } else { Value::Null });
    }
}

#[test]
fn an_archive_of_several_images_asks_which_one() {
    let fixture = Fixture::new();
    let one = config(&[&fixture.tars[0]]);
    let manifest = json!([
        {"Config": "1.json", "RepoTags": ["acme/app:v1"], "Layers": ["l.tar"]},
        {"Config": "1.json", "RepoTags": ["acme/app:v2"], "Layers": ["l.tar"]},
    ]);
    let files =
        [("l.tar".to_owned(), fixture.plain[0].clone()), file("1.json", &one), file("manifest.json", &manifest)];
    fixture.write("two.tar", &archive(&files));
    let output = check(fixture.path(), &["docker-archive:two.tar"]);
    assert_eq!(output.status.code(), Some(6));
    let said = text(&output.stderr);
    assert!(
        said.contains("it holds several images: add a colon and the name of one: acme/app:v1, acme/app:v2"),
        "{said}"
    );
    let code = |name: &str| check(fixture.path(), &[name]).status.code();
    assert_eq!(code("docker-archive:two.tar:acme/app:v2"), Some(0));
    assert_eq!(code("docker-archive:two.tar:docker.io/acme/app:v2"), Some(0));
    assert_eq!(code("docker-archive:two.tar:acme/app:v3"), Some(4));
}

#[test]
fn what_is_no_image_says_what_it_lacks() {
    let fixture = Fixture::new();
    let tars = [&fixture.tars[0]];
    let without = |name: &str| -> Vec<(String, Vec<u8>)> {
        layout_files(&tars).into_iter().filter(|(path, _)| !path.contains(name)).collect()
    };
    let layer = fixture.tars[0].gzip.digest.to_string()[7..].to_owned();
    let mut short = layout_files(&tars);
    short.last_mut().unwrap().1.pop();
    let mut forged = layout_files(&tars);
    forged[2].1[0] = b'[';
    fixture.write("text.tar", b"not an archive");
    fixture.write("empty.tar", &archive(&[]));
    fixture.write("no-layer.tar", &archive(&without(&layer)));
    fixture.write("short.tar", &archive(&short));
    fixture.write("forged.tar", &archive(&forged));
    let whole = archive(&layout_files(&tars));
    fixture.write("cut.tar", &whole[..whole.len() / 2]);
    layout(fixture.path(), "dir", &tars);
    for (source, said) in [
        ("docker-archive:text.tar", "not a tar: "),
        ("docker-archive:empty.tar", "neither `manifest.json` nor `index.json` is in it"),
        ("oci-archive:no-layer.tar", "is missing"),
        ("oci-archive:short.tar", " bytes, and its manifest says "),
        ("oci-archive:forged.tar", "has another digest"),
        ("oci-archive:cut.tar", "not a tar: "),
        ("oci-archive:dir", "this is a directory: write oci:DIRECTORY for an OCI layout"),
        ("oci:empty.tar", "index.json"),
    ] {
        let output = check(fixture.path(), &[source]);
        let error = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(4 | 6)), "{source}: {error}");
        assert!(error.starts_with(&format!("{source}: ")) && error.contains(said), "{source}: {error}");
    }
}

/// An engine on a socket that answers what the test says: an image's description, and the archive of `docker save`.
fn engine(socket: &Path, archive: Option<Vec<u8>>) -> std::thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut requests = Vec::new();
        let expected = if archive.is_some() { 2 } else { 1 };
        for stream in listener.incoming().take(expected) {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let line = text(&head).lines().next().unwrap().to_owned();
            let (status, body) = match &archive {
                None => ("404 Not Found", json!({"message": "No such image: acme/app:v2"}).to_string().into_bytes()),
                Some(_) if line.contains("/json ") => ("200 OK", b"{}".to_vec()),
                Some(archive) => ("200 OK", archive.clone()),
            };
            requests.push(line);
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            // The program may have seen enough.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
        requests
    })
}

fn check_with_engine(fixture: &Fixture, arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_image-size-exporter"));
    command.arg("check").args(arguments).current_dir(fixture.path()).env("HOME", fixture.path());
    command.env("DOCKER_HOST", format!("unix://{}", fixture.path().join("docker.sock").display()));
    command.output().unwrap()
}

#[test]
fn an_engines_image_is_compared_unpacked_and_it_says_so() {
    let fixture = Fixture::new();
    let [reference, layout, ..] = fixture.formats(1);
    let unpacked = |layer: usize| [40_300_u64, 20_000, 90_007][layer];
    for old in [reference, layout] {
        let engine =
            engine(&fixture.path().join("docker.sock"), Some(docker_archive(&fixture.layers(2), "acme/app:v2")));
        fixture.registry.take_counts();
        let output = check_with_engine(&fixture, &["docker-daemon:acme/app:v2", "--against", &old, "--format", "json"]);
        let result: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let asked = engine.join().unwrap();
        assert_eq!(asked, ["GET /images/acme/app:v2/json HTTP/1.1", "GET /images/acme/app:v2/get HTTP/1.1"]);
        std::fs::remove_file(fixture.path().join("docker.sock")).unwrap();
        assert_eq!(result["size"], "unpacked");
        let platform = &result["platforms"][0];
        let sums = ["old_bytes", "new_bytes", "shared_bytes", "update_bytes"].map(|key| platform[key].as_u64());
        let expected = [unpacked(0) + unpacked(1), unpacked(0) + unpacked(2), unpacked(0), unpacked(2)].map(Some);
        assert_eq!(sums, expected, "{old}");
        assert!(result["notes"].to_string().contains("unpacked sizes are compared: docker-daemon:acme/app:v2"));
        // The layer that the engine has too is not fetched.
        if !old.starts_with("oci:") {
            assert_eq!(fixture.registry.take_counts(), "get_blob 3, get_manifest 1");
        }
    }
}

#[test]
fn an_engine_without_the_image_or_without_an_engine_has_codes_of_their_own() {
    let fixture = Fixture::new();
    let gone = check_with_engine(&fixture, &["docker-daemon:acme/app:v2"]);
    assert_eq!(gone.status.code(), Some(5), "{}", text(&gone.stderr));
    assert!(text(&gone.stderr).contains("DOCKER_HOST names another one"));
    let engine = engine(&fixture.path().join("docker.sock"), None);
    let missing = check_with_engine(&fixture, &["docker-daemon:acme/app:v2"]);
    assert_eq!(missing.status.code(), Some(4), "{}", text(&missing.stderr));
    assert!(text(&missing.stderr).contains("the engine answers 404 Not Found: No such image: acme/app:v2"));
    engine.join().unwrap();
}
