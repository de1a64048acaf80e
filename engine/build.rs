//! Records which commit is being built.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../.git/HEAD");
    println!("cargo:rerun-if-changed=../.git/refs/heads");
    set("ORCHD_BUILD_COMMIT", &["rev-parse", "HEAD"]);
    // The commit's own time: the same commit builds the same binary.
    set("ORCHD_BUILD_TIME", &["show", "-s", "--format=%cI", "HEAD"]);
}

/// A source archive has no history, so a build without git says so instead of failing.
fn set(variable: &str, git_arguments: &[&str]) {
    let answer = Command::new("git").args(git_arguments).output();
    let value = answer
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env={variable}={}", value.trim());
}
