//! The fuzzer of one target: libFuzzer's program, whose arguments are described at
//! <https://llvm.org/docs/LibFuzzer.html>. Files that are named are tried and nothing else. `cargo fuzzers` builds
//! it so that it sees what it reaches; built otherwise it is blind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestratord_fuzz::{CANARY, TARGETS, Target};
use std::env;
use std::sync::LazyLock;

/// The arguments are libFuzzer's, so the target is named beside them.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let mut all = TARGETS.into_iter().chain([CANARY]);
    let named = all.find(|target| target.name == name);
    named.unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.check)(bytes));
