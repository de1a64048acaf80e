//! The page of limits says what the source says: every limit stands there, with its value, and nothing else does.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Settings that are numbers and limit nothing.
const NO_LIMITS: [&str; 3] = ["mock_first_token_ms", "mock_tokens_per_s", "llamacpp_slots"];
/// Constants that are called like limits: ends of number ranges, the default of a setting, and a word of redb's format.
const NO_LIMITS_OF_CONSTANTS: [&str; 8] = [
    "ORDER_MAX",
    "SEED_MAX",
    "ROWS_MAX",
    "DIMENSIONS_MAX",
    "COUNT_MAX",
    "HINT_DUE_MAX",
    "DUE_MAX",
    "MODEL_BYTES_MAX",
];

/// What sets a bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Setting(String),
    Constant { file: String, name: String },
    Elsewhere,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

/// The rows of the page: what sets the bound, and the bound.
fn rows() -> BTreeMap<Source, String> {
    let page = read("docs/limits.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|row| !row.starts_with("| what |") && !row.starts_with("| ---"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<_> = cells
        .map(|cells| (source(cells[3]), cells[2].to_owned()))
        .collect();
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(rows.len(), count, "a limit stands there twice");
    rows
}

fn source(cell: &str) -> Source {
    let quoted: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    match quoted[..] {
        [flag] if flag.starts_with("--") => Source::Setting(flag[2..].replace('-', "_")),
        [name, file] => Source::Constant {
            file: file.to_owned(),
            name: name.to_owned(),
        },
        _ => Source::Elsewhere,
    }
}

/// `8 KiB` as bytes, `5 s` as milliseconds, `100` as it is; nothing, if there is no bound.
fn value(bound: &str) -> Option<u64> {
    let (number, unit) = bound.split_once(' ').unwrap_or((bound, ""));
    let unit = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "TiB" => 1 << 40,
        unit => panic!("`{unit}` is no unit"),
    };
    (number != "none").then(|| number.parse::<u64>().expect("a bound is a number") * unit)
}

/// The settings that take a number, by their keys, and what they are if nothing is said.
fn settings() -> BTreeMap<String, Option<u64>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestratord"));
    let printed = command.args(["check", "--schema"]).output();
    let schema: Value =
        serde_json::from_slice(&printed.expect("it was built").stdout).expect("it prints a schema");
    let properties = schema["properties"].as_object().expect("it has settings");
    let numbers = properties
        .iter()
        .filter(|(_, property)| property["type"] == "integer");
    numbers
        .map(|(key, property)| (key.clone(), property["default"].as_u64()))
        .collect()
}

#[test]
fn every_setting_that_limits_stands_there_with_its_default() {
    let rows = rows();
    for (key, default) in settings() {
        if NO_LIMITS.contains(&key.as_str()) {
            continue;
        }
        let row = rows.get(&Source::Setting(key.clone()));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md lacks the setting `{key}`"));
        assert_eq!(
            value(row),
            default,
            "docs/limits.md says `{row}` of `{key}`"
        );
    }
}

#[test]
fn every_setting_there_is_one() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestratord"));
    let printed = command.arg("--help").output().expect("it was built");
    let flags = String::from_utf8(printed.stdout).expect("it is text");
    for source in rows().into_keys() {
        if let Source::Setting(key) = source {
            let flag = format!("--{} ", key.replace('_', "-"));
            assert!(flags.contains(&flag), "docs/limits.md names {flag}");
        }
    }
}

#[test]
fn every_constant_there_is_one_with_that_value() {
    for (source, bound) in rows() {
        let Source::Constant { file, name } = source else {
            continue;
        };
        let told = value(&bound).unwrap_or_else(|| panic!("`{name}` is a number"));
        assert_eq!(
            constant(&file, &name),
            told,
            "docs/limits.md says `{bound}` of `{name}` in {file}"
        );
    }
}

#[test]
fn every_constant_that_is_called_a_limit_stands_there() {
    let (rows, mut absent) = (rows(), Vec::new());
    for folder in ["engine/src", "http/src", "gpu/src", "sched/src"] {
        visit(&root().join(folder), &mut |file, text| {
            let names = text.lines().filter_map(declared);
            let limits =
                names.filter(|name| is_limit(name) && !NO_LIMITS_OF_CONSTANTS.contains(name));
            let limits = limits.map(|name| Source::Constant {
                file: file.to_owned(),
                name: name.to_owned(),
            });
            absent.extend(limits.filter(|limit| !rows.contains_key(limit)));
        });
    }
    assert_eq!(absent, [], "docs/limits.md lacks these");
}

fn is_limit(name: &str) -> bool {
    let mut words = name.split('_');
    words.any(|word| word == "MAX") && !name.starts_with("MAX") || name.contains("TIMEOUT")
}

/// The name of the constant that a line declares, if that is a number.
fn declared(line: &str) -> Option<&str> {
    let (_, declaration) = line.split_once("const ").filter(|(before, _)| {
        let before = before.trim();
        before.is_empty() || before.starts_with("pub")
    })?;
    let (name, rest) = declaration.split_once(": ")?;
    let (kind, _) = rest.split_once(" = ")?;
    let kinds = ["usize", "u64", "u32", "u16", "u8", "f64", "Duration"];
    kinds.contains(&kind).then_some(name)
}

fn visit(folder: &Path, check: &mut dyn FnMut(&str, &str)) {
    for entry in fs::read_dir(folder).expect("it is there").flatten() {
        let path = entry.path();
        // What a simulator draws is nobody's limit.
        let is_simulated = |name| path.ends_with(name);
        if ["sim", "simulation"].iter().any(is_simulated) {
            continue;
        }
        if path.is_dir() {
            visit(&path, check);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("it is text");
            let of_house = path.strip_prefix(root()).expect("it is in the house");
            check(&of_house.to_string_lossy(), &text);
        }
    }
}

/// What a constant, or a field of the framing's defaults, comes to.
fn constant(file: &str, name: &str) -> u64 {
    let text = read(file);
    let constant = text.lines().find(|line| declared(line) == Some(name));
    let expression = constant
        .and_then(|line| line.split_once(" = "))
        .map(|(_, expression)| expression);
    let field = || {
        let defaults = text
            .split_once("DEFAULT: Self")
            .map_or("", |(_, defaults)| defaults);
        let field = defaults
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        field.map(str::to_owned)
    };
    let expression = expression.map(str::to_owned).or_else(field);
    let expression = expression.unwrap_or_else(|| panic!("{file} declares no `{name}`"));
    evaluate(file, expression.trim_end_matches([';', ',']))
}

/// Numbers, names of constants beside them, products, shifts and spans in milliseconds: all that limits are made of.
fn evaluate(file: &str, expression: &str) -> u64 {
    let expression = expression.trim();
    if let Some((_, otherwise)) = expression.split_once("else {") {
        return evaluate(file, otherwise.trim_end_matches('}'));
    }
    for (call, unit) in [
        ("Duration::from_secs(", 1000),
        ("Duration::from_millis(", 1),
    ] {
        if let Some(argument) = expression.strip_prefix(call) {
            return evaluate(file, argument.trim_end_matches(')')) * unit;
        }
    }
    if let Some((number, by)) = expression.split_once(" << ") {
        return evaluate(file, number) << evaluate(file, by);
    }
    if let Some((one, other)) = expression.split_once(" * ") {
        return evaluate(file, one) * evaluate(file, other);
    }
    let digits = expression.replace('_', "");
    match expression {
        "1e9" => 1_000_000_000,
        "STREAMS_MAX" => constant("engine/src/shard/http2.rs", expression),
        name if name.starts_with(char::is_alphabetic) => constant(file, name),
        _ => digits
            .parse()
            .unwrap_or_else(|_| panic!("{file} has a limit of `{expression}`")),
    }
}

#[test]
fn limits_are_read_as_they_are_written() {
    let check =
        |expression, expected| assert_eq!(evaluate("", expression), expected, "{expression}");
    check("16 * 1024", 16_384);
    check("1 << 24", 16_777_216);
    check("24 * 3_600_000", 86_400_000);
    check("Duration::from_secs(5)", 5000);
    check("Duration::from_millis(250)", 250);
    check("if cfg!(loom) { 2 } else { 64 }", 64);
    assert_eq!(value("8 KiB"), Some(8192));
    assert_eq!(value("5 s"), Some(5000));
    assert_eq!(value("none"), None);
}
