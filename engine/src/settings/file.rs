//! The settings file: keys and their values, and the pools.
//!
//! A key that nobody knows is an error and not a silent default, and it is told which known one is
//! nearest and in which line it stands.

use std::{fs, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    StartError,
    pool::{self, PoolStanza},
};
use crate::control::bind::{ID_LENGTH_MAX, POOLS_MAX, is_id};

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its keys.
    pub entries: Vec<Entry>,
    /// Its `[[pool]]` tables.
    pub pools: Vec<PoolStanza>,
}

/// A key of the file, as a flag would take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The flag's id.
    pub key: String,
    /// What it says.
    pub value: String,
    /// Where, counted from 1.
    pub line: usize,
}

/// Reads the file, whose keys are these.
///
/// # Errors
///
/// What is wrong with it, with its line and a remedy.
pub fn read(path: &Path, keys: &[String]) -> Result<File, StartError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        StartError::new(
            format!("the settings file {shown} can't be read: {error}"),
            "name a file that this user may read with --config",
        )
    })?;
    parse(&text, keys).map_err(|Wrong { line, what, remedy }| {
        StartError::new(format!("{shown}, line {line}: {what}"), remedy)
    })
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where, counted from 1.
    pub line: usize,
    /// One sentence.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// What a file with this text says, whose keys are these.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn parse(text: &str, keys: &[String]) -> Result<File, Wrong> {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let malformed = |error: &toml::de::Error| Wrong {
        line: error.span().map_or(1, |span| line_of(span.start)),
        what: error.message().to_owned(),
        remedy: "mend the file; it is TOML (https://toml.io)".to_owned(),
    };
    let table = DeTable::parse(text).map_err(|error| malformed(&error))?;
    let mut file = File::default();
    for (key, value) in table.into_inner() {
        let (line, name) = (line_of(key.span().start), key.get_ref().to_string());
        if name == "pool" {
            file.pools = pools(value, &line_of)?;
            continue;
        }
        if !keys.contains(&name) {
            let known = keys.iter().map(String::as_str).chain(["pool"]);
            return Err(unknown(line, &name, known));
        }
        let value = plain(value.get_ref()).ok_or_else(|| Wrong {
            line,
            what: format!("`{name}` takes one value, or a list of them"),
            remedy: "mend the file; only `[[pool]]` is a table".to_owned(),
        })?;
        file.entries.push(Entry {
            key: name,
            value,
            line,
        });
    }
    Ok(file)
}

/// A value as a flag would take it: the items of a list stand between commas.
fn plain(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.to_string(),
        // It may be written as 0x10; a flag may not.
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .ok()?
            .to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| plain(item.get_ref())).collect();
            items?.join(",")
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

fn pools(
    value: Spanned<DeValue<'_>>,
    line_of: &dyn Fn(usize) -> usize,
) -> Result<Vec<PoolStanza>, Wrong> {
    let line = line_of(value.span().start);
    let DeValue::Array(tables) = value.into_inner() else {
        return Err(no_pool(line));
    };
    let mut pools: Vec<PoolStanza> = Vec::new();
    if tables.len() > POOLS_MAX {
        return Err(Wrong {
            line,
            what: format!("there are {} pools", tables.len()),
            remedy: format!("describe at most {POOLS_MAX}"),
        });
    }
    for table in tables {
        let line = line_of(table.span().start);
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(no_pool(line));
        };
        check_keys(keys, pool::KEYS, line_of)?;
        let stanza = serde_path_to_error::deserialize(toml::de::ValueDeserializer::from(table));
        let stanza: PoolStanza = stanza.map_err(|error| {
            let at = error
                .inner()
                .span()
                .map_or(line, |span| line_of(span.start));
            ill_typed(at, &error)
        })?;
        if !is_id(&stanza.id) {
            return Err(Wrong {
                line,
                what: format!("a pool can't be called `{}`", stanza.id),
                remedy: format!(
                    "give it an `id` of 1 to {ID_LENGTH_MAX} letters, digits, `.`, `_` or `-`"
                ),
            });
        }
        if pools.iter().any(|pool| pool.id == stanza.id) {
            return Err(Wrong {
                line,
                what: format!("there are two pools called `{}`", stanza.id),
                remedy: "give each pool an `id` of its own".to_owned(),
            });
        }
        pools.push(stanza);
    }
    Ok(pools)
}

fn no_pool(line: usize) -> Wrong {
    Wrong {
        line,
        what: "`pool` is not a list of tables".to_owned(),
        remedy: "begin each pool with a line `[[pool]]`".to_owned(),
    }
}

/// A value of a pool's table is not what its key takes.
fn ill_typed(line: usize, error: &serde_path_to_error::Error<toml::de::Error>) -> Wrong {
    let key = error.path().to_string();
    let why = error.inner().message();
    Wrong {
        line,
        what: match key.as_str() {
            "." => why.to_owned(),
            key => format!("`{key}`: {why}"),
        },
        remedy: "mend the file; `orchestratord check --schema` says what each key takes".to_owned(),
    }
}

fn check_keys(
    table: &DeTable<'_>,
    known: &[&str],
    line_of: &dyn Fn(usize) -> usize,
) -> Result<(), Wrong> {
    let mut keys = table.keys();
    match keys.find(|key| !known.contains(&key.get_ref().as_ref())) {
        None => Ok(()),
        Some(key) => {
            let line = line_of(key.span().start);
            Err(unknown(line, key.get_ref(), known.iter().copied()))
        }
    }
}

/// A name that nobody knows, and the one that is nearest to it.
fn unknown<'k>(line: usize, name: &str, known: impl Iterator<Item = &'k str>) -> Wrong {
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(name, known));
    Wrong {
        line,
        what: format!("`{name}` is no setting"),
        remedy: format!(
            "did you mean `{}`? `orchestratord check --schema` lists them all",
            nearest.unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Wrong> {
        let keys = ["addr", "slots", "trusted_keys"].map(str::to_owned);
        super::parse(text, &keys)
    }

    #[test]
    fn keys_are_read_as_flags_would_be() {
        let file = parse("# a comment\naddr = \"127.0.0.1:0\"\nslots = 8\n").unwrap();
        let entry = |key: &str, value: &str, line| Entry {
            key: key.to_owned(),
            value: value.to_owned(),
            line,
        };
        let expected = [entry("addr", "127.0.0.1:0", 2), entry("slots", "8", 3)];
        assert_eq!(file.entries, expected);
    }

    #[test]
    fn pools_are_read_in_their_order() {
        let file = parse(
            "[[pool]]\nid = \"b\"\nengine = \"mock\"\nmodel = \"m\"\n\
             [[pool]]\nid = \"a\"\nengine = \"embedded\"\nslots = 2\n",
        );
        let ids: Vec<_> = file
            .unwrap()
            .pools
            .into_iter()
            .map(|pool| pool.id)
            .collect();
        assert_eq!(ids, ["b", "a"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let check = |text: &str, line: usize, words: &str| {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.line, line, "{wrong:?}");
            let told = format!("{} {}", wrong.what, wrong.remedy);
            assert!(told.contains(words), "{told}");
        };
        check("slots = 1\nslost = 2", 2, "`slots`");
        check("\ntrustedkeys = 2", 2, "`trusted_keys`");
        check("pools = []", 1, "`pool`");
        check("slots = ", 1, "TOML");
        check("[slots]\nmax = 1", 1, "one value");
        check("pool = 3", 1, "[[pool]]");
        check("[[pool]]\nid = \"a\"\nengin = \"mock\"", 3, "`engine`");
        check("[[pool]]\nid = \"a\"\nengine = \"mokc\"", 3, "mock");
        check("[[pool]]\nengine = \"mock\"", 1, "id");
        let slots = "[[pool]]\nid = \"a\"\nengine = \"mock\"\nslots = \"four\"";
        check(slots, 4, "`slots`");
        check("[[pool]]\nid = \"../a\"\nengine = \"mock\"", 1, "`../a`");
        let twice = "[[pool]]\nid = \"a\"\nengine = \"mock\"\n";
        check(&format!("{twice}{twice}"), 4, "two pools");
    }
}
