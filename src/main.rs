//! The program: everything is in the library, where it is compiled once for the program and the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    image_size_exporter::commands::main()
}
