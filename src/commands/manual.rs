//! `completions` and `man`: what packages install beside the program, generated from its command line.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output::{self, CommandFailure};

/// The flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell that will read the script
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// The flags of `man`.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// Folder for the pages; it is created where it does not exist
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints a completion script for the program's command line.
pub(super) fn completions(arguments: &CompletionsArguments, mut command: Command) -> Result<(), CommandFailure> {
    let name = command.get_name().to_owned();
    // Into memory: how a closed pipe ends a command is decided in one place, where commands print.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    if arguments.shell == Shell::Fish {
        script.extend(without_argparse(&command).into_bytes());
    }
    print(&script)
}

/// Of the functions in the script for fish, one that works. The generated one gives the flags to `argparse`, which refuses
/// names with a dot, so that fish offers nothing at all. A later definition wins.
fn without_argparse(command: &Command) -> String {
    let commands: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    format!(
        r"
function __fish_image_size_exporter_needs_command
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if contains -- $word {}
            echo $word
            return 1
        end
    end
    return 0
end
",
        commands.join(" ")
    )
}

/// Prints the program's manual page, or writes it and one for each command into a folder.
pub(super) fn man(arguments: &ManArguments, command: Command) -> Result<(), CommandFailure> {
    // Without the revision that `--version` shows: it would stand in the footer of each page.
    // `help` has no page, in a folder or printed.
    let command = command.version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return print(&page);
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
    Ok(())
}

fn print(generated: &[u8]) -> Result<(), CommandFailure> {
    Ok(output::print_line(std::str::from_utf8(generated)?.trim_end())?)
}
