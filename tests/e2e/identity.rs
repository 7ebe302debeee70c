//! A role is enough to read a registry: the AWS SDK's own chain against moto, which checks signatures and permissions, and
//! a registry that takes the logins that its ECR gives.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::harness::aws::{Aws, LOGIN, arn, write_htpasswd};
use crate::harness::exporter::{self, Exporter};
use crate::harness::push::Pusher;
use crate::harness::registry::{Auth, Registry};
use crate::harness::{run, scratch, skopeo};

const ROLES_LAYER: usize = 30_000;

/// AWS, a registry with `acme/app` that takes its logins, and a configuration that names both.
struct Cloud {
    aws: Aws,
    registry: Registry,
    config: String,
    files: tempfile::TempDir,
}

impl Cloud {
    fn start() -> Self {
        let (aws, files) = (Aws::start(), scratch());
        let htpasswd = files.path().join("htpasswd");
        write_htpasswd(&htpasswd);
        let registry = Registry::start_with(&Auth::Htpasswd(htpasswd), "");
        fill(&registry);
        let config = format!(
            "[scan]\ninterval = \"1s\"\n[registries.\"{address}\"]\nidentity = \"aws\"\n\
             [[targets]]\nname = \"app\"\nrepository = \"{address}/acme/app\"\nmatch = ['.']\nnewest = \"semver\"\n",
            address = registry.address()
        );
        Self { aws, registry, config, files }
    }

    fn config_file(&self) -> PathBuf {
        let path = self.files.path().join("config.toml");
        std::fs::write(&path, &self.config).expect("it can be written");
        path
    }

    /// What a command prints and says, with its exit code, for a pod with this role.
    fn command(&self, role: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = exporter::command();
        command.args(arguments).arg("--config.file").arg(self.config_file()).envs(self.aws.environment(role));
        command.env("HOME", self.files.path()).env("DOCKER_CONFIG", self.files.path()).env_remove("XDG_RUNTIME_DIR");
        let output = command.output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    }
}

/// Two releases, copied by skopeo with the login.
fn fill(registry: &Registry) {
    let source = Registry::start();
    let app = Pusher { address: source.address(), repository: "acme/app" };
    let base = app.layer(ROLES_LAYER);
    for tag in ["v1.0.0", "v1.1.0"] {
        app.image(Some(tag), "amd64", &[base.clone(), app.layer(ROLES_LAYER)]);
        let (user, password) = LOGIN;
        let mut copy = skopeo();
        copy.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        copy.args(["--dest-creds", &format!("{user}:{password}")]);
        let at = |registry: &Registry| format!("docker://{}/acme/app:{tag}", registry.address());
        run(copy.arg(at(&source)).arg(at(registry)));
    }
}

#[test]
fn a_role_is_enough_for_the_daemon_and_one_login_serves_all_its_requests() {
    let cloud = Cloud::start();
    let exporter = Exporter::start_as(&cloud.config, &[], cloud.aws.environment("size-reader"));
    let scrape = exporter.wait_for("both releases", |scrape| {
        let sizes = scrape.all("container_image_compressed_size_bytes", &[]);
        (sizes.len() == 2).then(|| exporter.scrape())
    });
    assert_eq!(scrape.value("image_size_exporter_target_up", &[("target", "app")]), Some(1.0), "{}", exporter.output());
    let ends = scrape.value("image_size_exporter_registry_credential_expiry_timestamp_seconds", &[]).expect("a login");
    let hours = (ends - Timestamp::now().as_second() as f64) / 3600.0;
    assert!((11.5..12.1).contains(&hours), "{hours}");
    exporter.after_a_scan();
    assert_eq!(cloud.aws.requests(), 2, "one to STS, one to ECR");
    assert!(!exporter.output().contains(LOGIN.1), "{}", exporter.output());
}

#[test]
fn a_role_is_enough_for_every_command_that_reads_a_registry() {
    let cloud = Cloud::start();
    let repository = format!("{}/acme/app", cloud.registry.address());
    let reference = format!("{repository}:v1.1.0");
    for arguments in [
        &["plan"][..],
        &["inspect", &reference],
        &["check", &reference, "--against", "newest:app", "--max-growth", "1%", "--max-growth-floor", "1MiB"],
        &["history", "--format", "table"],
        &["retain", &repository, "--keep-newest", "1"],
    ] {
        let (code, said) = cloud.command("size-reader", arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(!said.contains(LOGIN.1) && said.lines().count() > 1, "{arguments:?}: {said}");
    }
}

#[test]
fn a_role_that_may_not_is_named_in_one_line_with_the_permission_that_it_needs() {
    let cloud = Cloud::start();
    let (code, said) =
        cloud.command("stranger", &["inspect", &format!("{}/acme/app:v1.0.0", cloud.registry.address())]);
    assert_ne!(code, Some(0));
    let refusal = format!(
        "refused the credentials of the AWS role {}: 403 Forbidden; the identity needs the permission \
         `ecr:GetAuthorizationToken`",
        arn("stranger")
    );
    assert!(said.lines().any(|line| line.contains(&refusal)), "{said}");
}
