//! A registry and a configuration for a subcommand of the program, run in a process of its own.

use std::process::{Command, Output};

use serde_json::Value;

use super::registry::TestRegistry;

pub(crate) struct Configured {
    subcommand: &'static str,
    pub(crate) registry: TestRegistry,
    /// Where `config.toml` is.
    pub(crate) directory: tempfile::TempDir,
}

impl Configured {
    /// `REGISTRY` in the configuration stands for the registry's name.
    pub(crate) fn new(subcommand: &'static str, toml: &str) -> Self {
        let registry = TestRegistry::start();
        let directory = tempfile::tempdir().unwrap();
        let toml = toml.replace("REGISTRY", registry.name().as_str());
        std::fs::write(directory.path().join("config.toml"), toml).unwrap();
        Self { subcommand, registry, directory }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-size-exporter"));
        command.arg(self.subcommand).args(arguments).current_dir(self.directory.path());
        command.env("HOME", self.directory.path());
        command.output().unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }
}

/// What a program printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
