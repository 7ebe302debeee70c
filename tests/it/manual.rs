//! `completions` and `man`: what packages install is generated from the flags and commands that exist.

use std::process::{Command, Output};

use clap::CommandFactory as _;
use image_size_exporter::commands::cli::Cli;

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_image-size-exporter")).args(arguments).output().unwrap()
}

fn said(arguments: &[&str]) -> String {
    let output = program(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn each_shell_completes_every_flag_and_command() {
    let cli = Cli::command();
    let flags = cli.get_arguments().filter_map(|argument| argument.get_long());
    let words: Vec<String> = flags.map(str::to_owned).chain(commands()).collect();
    assert!(words.contains(&"config.file".to_owned()) && words.contains(&"inspect".to_owned()));
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        let missing: Vec<&String> = words.iter().filter(|word| !script.contains(word.as_str())).collect();
        assert!(missing.is_empty(), "{shell}: {missing:?}");
    }
    assert_eq!(program(&["completions", "cmd.exe"]).status.code(), Some(2));
}

#[test]
fn a_folder_gets_a_manual_page_for_each_command_and_no_folder_prints_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    assert_eq!(said(&["man", pages.to_str().unwrap()]), "");
    for command in commands() {
        let page = std::fs::read_to_string(pages.join(format!("image-size-exporter-{command}.1"))).unwrap();
        assert!(page.contains(".TH image-size-exporter-"), "{command}: {page}");
    }
    let first = std::fs::read_to_string(pages.join("image-size-exporter.1")).unwrap();
    assert_eq!(said(&["man"]), first);
    assert!(first.contains(env!("CARGO_PKG_VERSION")) && first.contains("inspect") && !first.contains("revision"));

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = program(&["man", file.join("man1").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("cannot create "), "{refused:?}");
}
