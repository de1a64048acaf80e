//! What a fuzzer has found worth keeping, and everything that ever did harm, read again.

use orchestratord_fuzz::{CANARY, TARGETS};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// A corpus that is larger has not been minimised.
const FILES_MAX: usize = 400;
/// The same in bytes.
const CORPUS_BYTES_MAX: usize = 160 * 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().expect("it is ASCII"))
        .collect();
    names.sort();
    names
}

fn inputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = names(folder).into_iter();
    names
        .map(|name| {
            (
                name.clone(),
                fs::read(folder.join(name)).expect("it lies there"),
            )
        })
        .collect()
}

#[test]
fn every_target_has_a_corpus_and_it_is_small() {
    let expected: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names(&folder("corpora")), expected);
    for name in expected {
        let inputs = inputs(&folder("corpora").join(name));
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(
            (2..FILES_MAX).contains(&inputs.len()),
            "{name}: {} inputs",
            inputs.len()
        );
        assert!(bytes < CORPUS_BYTES_MAX, "{name}: {bytes} bytes");
    }
}

#[test]
fn what_holds_of_any_bytes_holds_of_those_that_are_kept() {
    for target in TARGETS {
        for place in ["corpora", "crashes"] {
            let folder = folder(place).join(target.name);
            for (name, input) in inputs(&folder) {
                let held = catch_unwind(|| (target.check)(&input));
                assert!(held.is_ok(), "{}", folder.join(name).display());
            }
        }
    }
}

#[test]
fn the_planted_fault_is_one() {
    (CANARY.check)(b"");
    (CANARY.check)(b"1\r\nx\r\n0\r\n\r\n");
    assert!(catch_unwind(|| (CANARY.check)(b"1\r\nx\r\n1\r\ny")).is_err());
}
