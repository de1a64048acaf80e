//! Settings files.

use orchestratord::settings::file::{self, File, Wrong};
use orchestratord::settings::layers;
use std::path::Path;
use std::sync::LazyLock;

static KEYS: LazyLock<Vec<String>> = LazyLock::new(layers::keys);

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match file::parse(text, &KEYS) {
        Err(Wrong { line, what, remedy }) => {
            assert!((1..=text.lines().count() + 1).contains(&line), "{line}");
            assert!(!what.is_empty() && !remedy.is_empty());
        }
        Ok(file) => {
            check_with_comments(text, &file);
            let _ = layers::of_file(Path::new("a file"), file);
        }
    }
}

/// Comments change nothing but the lines that things stand in.
fn check_with_comments(text: &str, file: &File) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let commented = format!("# Before.\n{text}\n# After.\n");
    let mut again = file::parse(&commented, &KEYS).expect("comments can stand there");
    for entry in &mut again.entries {
        entry.line -= 1;
    }
    assert_eq!(&again, file);
}
