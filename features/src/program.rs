//! The program under test: where it lies, and how it is brought up to date.
//!
//! `cargo run -p` and `cargo test -p` build one package only, so the runner asks cargo for the daemon
//! itself, with its own profile and into its own target folder. Both are read off its own path:
//! `<target>/<profile>/bdd-runner`, or `<target>/<profile>/deps/features-…` under `cargo test`.
//!
//! Under `cargo test` it asks for what `cargo test --workspace` builds, the daemon among it: the same
//! packages give the same features of their dependencies, so that nothing is built a second time.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model that comes with the daemon.
pub(crate) const SHIPPED_MODEL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../gpu/model/tales.gguf");

/// A command that runs a scripted engine.
pub(crate) fn engine() -> io::Result<Command> {
    Ok(Command::new(folder()?.join("mock-engine")))
}

/// The folder of the real `llama-server`; if it isn't there, what to do about it.
pub(crate) fn llamacpp() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/llamacpp");
    match folder.join("llama-server").exists() {
        true => Ok(folder),
        false => {
            Err("the real llama.cpp server is not installed: run `.ci/llamacpp` once".to_owned())
        }
    }
}

/// A command that runs `orchestratord`, deaf to the settings in our own environment.
pub(crate) fn command() -> io::Result<Command> {
    let mut command = Command::new(folder()?.join("orchestratord"));
    let ours = |name: &OsString| {
        name.as_encoded_bytes().starts_with(b"ORCHD_") || name == "AUTH_TOKEN" || name == "HF_TOKEN"
    };
    for (name, _) in env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    Ok(command)
}

/// Has cargo build `orchestratord` and the scripted engine; its own messages say what went wrong.
pub(crate) fn build() -> io::Result<()> {
    let folder = folder()?;
    let (Some(target), Some(profile)) = (folder.parent(), folder.file_name()) else {
        return Err(io::Error::other(format!(
            "{} is not in a target folder",
            folder.display()
        )));
    };
    // The folder of the profile `dev` is the only one not called after its profile.
    let profile = if profile == "debug" {
        "dev".as_ref()
    } else {
        profile
    };
    let what: &[&str] = if is_test()? {
        &["test", "--no-run", "--quiet", "--workspace"]
    } else {
        &[
            "build",
            "--quiet",
            "--package",
            "orchestratord",
            "--package",
            "orchestratord-bench",
            "--bin",
            "orchestratord",
            "--bin",
            "mock-engine",
        ]
    };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(what)
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .arg("--profile")
        .arg(profile)
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other("the daemon does not build"))
    }
}

/// Whether this is a test that cargo runs, and not the runner.
fn is_test() -> io::Result<bool> {
    Ok(env::current_exe()?
        .parent()
        .is_some_and(|folder| folder.ends_with("deps")))
}

fn folder() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let folder = if is_test()? {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.to_owned())
}
