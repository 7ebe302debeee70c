//! Tells the program which revision it was built from, with which compiler: `--version` and the `build_info` metric.
//!
//! Packagers who build without a git checkout set `GIT_REVISION` and `GIT_BRANCH`. Debug builds do not ask git: they
//! would be built again after every commit.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo and packagers tell build scripts through the environment")]
fn main() {
    let asks_git = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = |variable: &str| std::env::var(variable).ok().filter(|value| !value.is_empty());
    let git = |arguments: &[&str]| asks_git.then(|| output("git", arguments)).flatten();

    let revision = said("GIT_REVISION").or_else(|| git(&["rev-parse", "HEAD"]));
    let branch = said("GIT_BRANCH").or_else(|| git(&["rev-parse", "--abbrev-ref", "HEAD"]));
    let rust = output(&rustc, &["--version"]).and_then(|text| Some(text.split_whitespace().nth(1)?.to_owned()));
    println!("cargo::rustc-env=BUILD_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=BUILD_BRANCH={}", branch.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=BUILD_RUST={}", rust.as_deref().unwrap_or("unknown"));

    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GIT_REVISION");
    println!("cargo::rerun-if-env-changed=GIT_BRANCH");
    // The log of HEAD changes with every commit and every checkout, in linked work trees too.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
