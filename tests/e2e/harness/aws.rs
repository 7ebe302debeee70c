//! AWS on loopback, by moto: an STS, and an ECR that checks signatures and permissions.

use std::path::Path;
use std::process::Command;

use super::{Program, free_port, http, scratch};

/// Where `tests/run` installs moto.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/moto-venv/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/identity/aws.py");

/// The user and the password of the logins that moto's ECR gives.
pub const LOGIN: (&str, &str) = ("AWS", "123456789012-auth-token");

/// A running moto.
pub struct Aws {
    program: Program,
    base: String,
    directory: tempfile::TempDir,
}

impl Aws {
    /// One with the roles `size-reader`, which may get logins to ECR, and `stranger`, which may not.
    pub fn start() -> Self {
        let directory = scratch();
        let port = free_port();
        let mut command = Command::new(PYTHON);
        command.arg(SCRIPT).arg(port.to_string());
        let mut program = Program::start(&command, directory.path());
        let address = format!("127.0.0.1:{port}");
        program.wait_until_ready(|| http::get(&address, "/moto-api/").ok().filter(|answer| answer.status == 200));
        std::fs::write(directory.path().join("token"), "what the cluster signed").expect("it can be written");
        Self { program, base: format!("http://{address}"), directory }
    }

    /// The environment of a pod with this role, as EKS sets it (IAM roles for service accounts), and where AWS answers.
    pub fn environment(&self, role: &str) -> Vec<(&'static str, String)> {
        let token = self.directory.path().join("token");
        vec![
            ("AWS_ROLE_ARN", arn(role)),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ENDPOINT_URL_STS", self.base.clone()),
            ("AWS_ENDPOINT_URL_ECR", self.base.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// How many requests it has answered, by its log.
    pub fn requests(&self) -> usize {
        self.program.output().lines().filter(|line| line.contains("POST / ")).count()
    }
}

/// Writes the file of a registry that takes the logins that ECR gives.
pub fn write_htpasswd(path: &Path) {
    let (user, password) = LOGIN;
    std::fs::write(path, super::run(Command::new("htpasswd").args(["-Bbn", user, password])))
        .expect("it can be written");
}

/// The role's name as IAM has it.
pub fn arn(role: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{role}")
}
