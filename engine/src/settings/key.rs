//! The key that the engines of a pool want to be shown.
//!
//! It stands in a file or in a variable of the environment and never in the settings, which get copied,
//! shown and committed. It is shown to each server of its pool as `Authorization: Bearer` (RFC 6750 §2.1)
//! and to nobody else: no log line, error or view has it.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::StartError;

/// Longer ones are no keys: heads of requests have less room.
const KEY_BYTES_MAX: usize = 4096;

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySource<'s> {
    /// A file that holds it and nothing else.
    pub file: Option<&'s PathBuf>,
    /// A variable of the environment.
    pub variable: Option<&'s String>,
}

/// A key. Whoever has a clone of it shows what was read last.
#[derive(Clone)]
pub struct EngineKey(Arc<ArcSwap<String>>);

impl EngineKey {
    /// The key now.
    pub fn read(&self) -> Arc<String> {
        self.0.load_full()
    }

    /// The key was read anew.
    pub fn renew(&self, from: &Self) {
        self.0.store(from.read());
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        // Editors end a file with a line end.
        let key = text.trim_end();
        if key.is_empty() {
            return Err("it is empty");
        }
        if key.len() > KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it is no key: one word of visible ASCII characters");
        }
        Ok(Self(Arc::new(ArcSwap::from_pointee(key.to_owned()))))
    }
}

impl fmt::Debug for EngineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineKey(…)")
    }
}

impl KeySource<'_> {
    /// Reads the key, if there is to be one. `whose` says so in an error, as "pool `gpu`".
    ///
    /// # Errors
    ///
    /// Why there is none, with a remedy. What was read instead is not told.
    pub fn load(self, whose: &str) -> Result<Option<EngineKey>, StartError> {
        let (place, read) = match (self.file, self.variable) {
            (None, None) => return Ok(None),
            (Some(file), None) => (format!("the file {}", file.display()), of_file(file)),
            (None, Some(variable)) => (format!("the variable {variable}"), of_variable(variable)),
            (Some(_), Some(_)) => {
                return Err(StartError::new(
                    format!("{whose}: its key can't stand in a file and in a variable"),
                    "leave out one of them",
                ));
            }
        };
        let key = read.and_then(|text| EngineKey::parse(&text).map_err(str::to_owned));
        key.map(Some).map_err(|why| {
            StartError::new(
                format!("{whose}: the key in {place} can't be used: {why}"),
                "put the key that its engines want there, alone; or leave it out if they want none",
            )
        })
    }
}

fn of_file(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("it can't be read: {}", error.kind()))
}

fn of_variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => "it is not set".to_owned(),
        env::VarError::NotUnicode(_) => "it is no text".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Option<EngineKey>, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, text).unwrap();
        let source = KeySource {
            file: Some(&file),
            variable: None,
        };
        source.load("pool `gpu`")
    }

    #[test]
    fn a_key_is_the_one_word_of_its_file() {
        let key = load("sk-secret/1+2==\n").unwrap().unwrap();
        assert_eq!(*key.read(), "sk-secret/1+2==");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_told() {
        for text in ["", "\n", "two words", "a\r\nX-Evil: b", "schlüssel"] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains("pool `gpu`"), "{error}");
            let word = text.split_whitespace().next();
            assert!(word.is_none_or(|word| word == "a" || !error.contains(word)));
        }
        assert!(load(&"k".repeat(KEY_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_key_that_is_not_there_is_told_where() {
        let variable = "A_VARIABLE_THAT_NOBODY_SETS".to_owned();
        let file = PathBuf::from("/nowhere/key");
        let load = |file, variable| {
            let source = KeySource { file, variable };
            source.load("pool `gpu`").unwrap_err().problem
        };
        assert!(load(None, Some(&variable)).contains("is not set"));
        assert!(load(Some(&file), None).contains("can't be read"));
        assert!(load(Some(&file), Some(&variable)).contains("and in a variable"));
    }

    #[test]
    fn whoever_has_a_key_shows_what_was_read_last_and_nobody_prints_it() {
        let (old, new) = (load("old-key").unwrap(), load("new-key").unwrap());
        let (old, new) = (old.unwrap(), new.unwrap());
        let clone = old.clone();
        old.renew(&new);
        assert_eq!(*clone.read(), "new-key");
        assert_eq!(format!("{old:?}"), "EngineKey(…)");
    }
}
