//! A whole Debian: from its installer as one layer, and changed by `buildah` in further layers.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::containers::assert_releases_are_dockers;
use super::files::{assert_files_are_dockers, assert_packages_are_dpkgs};
use super::{docker_says, piped, push_layers, tar, we_say};
use crate::harness::engine::Engine;
use crate::harness::push::Pusher;
use crate::harness::registry::Registry;
use crate::harness::{buildah, run, scratch};

/// Removes, moves, replaces, links and changes files of the layer below, by Debian's own programs.
const CHANGES: &str = "\
ENV LANG=C.UTF-8
RUN dpkg --purge --force-remove-essential --force-depends tzdata ncurses-bin
RUN rm -rf /usr/share/doc /var/cache/* && mkdir /usr/share/doc && echo new > /usr/share/doc/new
RUN mv /usr/share/locale /srv/locale && cp -a /etc /srv/etc && chmod 700 /usr/bin/find && sed -i s/root/toor/ /etc/passwd
RUN ln /bin/dash /srv/dash && ln -s ../bin/dash /srv/link && truncate -s 3000000 /srv/holes && touch /usr/bin/perl*
CMD [\"bash\"]
";

/// Layers of their own, without any below.
const COPIES: &str = "\
FROM scratch
COPY etc /etc
COPY usr/share/perl5 /usr/share/perl5
COPY etc/passwd /etc/group
ENV A=b
";

/// The smallest Debian, from the mirror and of the release that this machine installs its packages from.
fn debootstrap(into: &Path) {
    let targets = run(Command::new("apt-get").args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)"]));
    let known = |release: &str| Path::new("/usr/share/debootstrap/scripts").join(release).exists();
    let mut targets = targets.lines().filter_map(|line| line.split_once(' '));
    let (release, mirror) = targets.find(|(release, _)| known(release)).expect("this machine has a mirror of Debian");
    // In a mount namespace of its own, so that its mounts disappear however it ends.
    let mut debootstrap = Command::new("unshare");
    debootstrap.args(["--mount", "debootstrap", "--variant=minbase", release]).arg(into).arg(mirror);
    run(&mut debootstrap);
}

#[test]
fn a_whole_debian_takes_what_docker_says_and_so_does_what_buildah_makes_of_it() {
    let (registry, engine) = (Registry::start(), Engine::shared());
    let driver = run(engine.docker().args(["info", "--format", "{{.Driver}}"]));
    assert_eq!(driver.trim(), "overlay2", "other drivers count otherwise");
    let directory = scratch();
    let root = directory.path().join("debian");
    debootstrap(&root);

    let tar = tar(&root, &["--numeric-owner", "."]);
    let pusher = Pusher { address: registry.address(), repository: "truth" };
    let layer = pusher.blob("application/vnd.oci.image.layer.v1.tar+gzip", &piped("pigz", &["-c", "-1"], &tar));
    push_layers(&pusher, "debian", &[layer], &[("ADD debian /", tar)]);
    let base = format!("{}/truth:debian", registry.address());
    let (ours, docker) = (we_say(&base), docker_says(&engine, &base));
    assert_eq!(ours, docker);
    assert!(ours.0 > 50_000_000, "{ours:?} is no Debian");
    assert_files_are_dockers(&engine, &base, "debian");
    assert_packages_are_dpkgs(&engine, &base);

    assert_releases_are_dockers(&engine, &base, directory.path());

    let changes = format!("FROM {base}\n{CHANGES}");
    // One layer of all changes, since `buildah` copies all of Debian for each; and one of each copy.
    for (tag, containerfile, format, layers) in
        [("changes", &*changes, "oci", "--layers=false"), ("copies", COPIES, "v2s2", "--layers")]
    {
        let file = directory.path().join(tag);
        fs::write(&file, containerfile).expect("written");
        let buildah = || buildah(&directory.path().join("storage"));
        run(buildah()
            .args(["bud", "--quiet", layers, "--isolation", "chroot", "--tls-verify=false", "--tag", tag, "--file"])
            .arg(&file)
            .arg(&root));
        let reference = format!("{}/truth:{tag}", registry.address());
        let to = format!("docker://{reference}");
        run(buildah().args(["push", "--quiet", "--tls-verify=false", "--format", format, tag, &to]));
        assert_eq!(we_say(&reference), docker_says(&engine, &reference), "{tag}");
        assert_files_are_dockers(&engine, &reference, tag);
        if tag == "changes" {
            assert_packages_are_dpkgs(&engine, &reference);
        }
    }
}
