//! The program: command line in, exit code out.

use std::process::ExitCode;

use image_size_exporter::commands;
use image_size_exporter::commands::cli;
use image_size_exporter::commands::cli::Cli;
use image_size_exporter::commands::logging;
use image_size_exporter::commands::signals;

/// While one thread is stuck in a file operation, another one still handles signals.
const THREADS_MIN: usize = 2;

/// Scans wait for registries, not for CPU: more threads would cost memory and gain nothing.
const THREADS_MAX: usize = 4;

fn main() -> ExitCode {
    signals::end_at_once();
    let argv: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::from_arguments(&argv) {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error, &argv),
    };
    let (level, format) = cli.log();
    logging::init(level, format);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(THREADS_MIN, THREADS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime can be built wherever threads can be started");
    let code = runtime.block_on(commands::run(cli));
    // Without waiting for blocking tasks, such as the measurement of a layer.
    runtime.shutdown_background();
    code
}
