//! A fuzzer that sees what its inputs reach: built like everything else, but our own crates count each
//! branch that is taken and show what is compared with what.
//!
//! Cargo has no stable setting for that. But it calls a wrapper, if it is given one, in place of the compiler
//! for the crates of the workspace; this program is its own wrapper. Libraries are left as they are and not
//! built again.

use orchestratord_bench::Failure;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// Set while this program stands in for the compiler.
const WRAPPING: &str = "FUZZERS_WRAP_RUSTC";

/// LLVM's SanitizerCoverage, as libFuzzer wants it (<https://llvm.org/docs/SanitizerCoverage.html>).
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Parts of a crate that the linker drops one by one would leave counters without their table.
    "-Ccodegen-units=1",
];

/// The crate that takes longest to build. Little of it is run here, so it is not optimised.
const DAEMON: &str = "orchestratord";

/// Builds the fuzzer, and tells where it is.
///
/// # Errors
/// If it does not build.
pub(crate) fn build(root: &Path) -> Result<PathBuf, Failure> {
    let failure = |error: io::Error| Failure::new("the fuzzer could not be built", error);
    // All of the workspace is named, and an example, so that libraries are those that the tests were built
    // with: for fewer packages they would have fewer features.
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--workspace"])
        .args(["--example", "fuzzer"])
        .args(["--features", "orchestratord-fuzz/libfuzzer"])
        .current_dir(root)
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            env::current_exe().map_err(failure)?,
        )
        .env(WRAPPING, "1")
        .status()
        .map_err(failure)?;
    match status.success() {
        true => Ok(root.join("target/debug/examples/fuzzer")),
        false => Err(Failure("the fuzzer does not build".to_owned())),
    }
}

/// Is the compiler, if cargo takes this program for it. Returns if it does not.
pub(crate) fn wrap_rustc() -> io::Result<()> {
    if env::var_os(WRAPPING).is_none() {
        return Ok(());
    }
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
    let arguments: Vec<OsString> = arguments.collect();
    let mut command = Command::new(rustc);
    command.args(&arguments);
    match crate_name(&arguments) {
        // It is linked with no fuzzer that would read its counters.
        Some("build_script_build") => {}
        Some(DAEMON) => {
            command.args(FLAGS);
        }
        _ => {
            command.args(FLAGS).arg("-Copt-level=1");
        }
    }
    Err(command.exec())
}

fn crate_name(arguments: &[OsString]) -> Option<&str> {
    let mut arguments = arguments
        .iter()
        .skip_while(|argument| *argument != "--crate-name");
    arguments.nth(1)?.to_str()
}
