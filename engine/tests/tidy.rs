//! The house is in order: floors import downwards only, and the map names what exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The workspace's own packages that a crate depends on, by their folder.
fn imports(folder: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&format!("{folder}/Cargo.toml"))
        .parse()
        .expect("cargo has read it already");
    let packages = [
        ("orchestratord", "engine"),
        ("orchestratord-http", "http"),
        ("orchestratord-sched", "sched"),
        ("orchestratord-gpu", "gpu"),
        ("orchestratord-bench", "bench"),
        ("orchestratord-bdd", "features"),
    ];
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|section| manifest.get(section)?.as_table())
        .flat_map(|section| section.keys())
        .filter_map(|name| packages.iter().find(|(package, _)| package == name))
        .map(|(_, folder)| (*folder).to_owned())
        .collect()
}

#[test]
fn a_floor_imports_only_floors_below_it() {
    let check = |folder: &str, below: &[&str]| {
        for import in imports(folder) {
            assert!(
                below.contains(&import.as_str()),
                "{folder} imports {import}"
            );
        }
    };
    check("http", &[]);
    check("sched", &[]);
    check("gpu", &["http"]);
    check("engine", &["http", "sched", "gpu"]);
    check("engine/fuzz", &["http", "gpu", "engine"]);
    check("bench", &["http", "sched", "gpu"]);
    check("features", &[]);
}

#[test]
fn the_lower_floors_ban_the_world() {
    for folder in ["http", "sched", "gpu"] {
        let lints = read(&format!("{folder}/clippy.toml"));
        for banned in [
            "Instant::now",
            "SystemTime::now",
            "thread::spawn",
            "fs::read",
        ] {
            assert!(lints.contains(banned), "{folder} may call {banned}");
        }
    }
}

#[test]
fn the_map_names_only_what_exists() {
    for page in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = read(page);
        for path in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|text| is_path(text))
        {
            assert!(root().join(path).exists(), "{page} names {path}");
        }
    }
}

/// A quoted word that means a file or folder of ours: it has a slash and starts in a crate.
fn is_path(text: &str) -> bool {
    let starts = [
        "engine/",
        "http/",
        "sched/",
        "gpu/",
        "bench/",
        "features/",
        "perf/",
    ];
    starts.iter().any(|start| text.starts_with(start)) && !text.contains(['*', ' ', '{'])
}

#[test]
fn the_map_names_every_room_at_the_top() {
    let map = read("ARCHITECTURE.md");
    for folder in [
        "engine", "http", "sched", "gpu", "bench", "features", "perf",
    ] {
        assert!(
            map.contains(&format!("`{folder}/`")),
            "the map leaves out {folder}"
        );
    }
}

#[test]
fn no_file_is_named_for_nothing() {
    for folder in ["engine", "http", "sched", "gpu", "bench", "features"] {
        visit(&root().join(folder).join("src"), &|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            for empty in [
                "utils", "util", "common", "helpers", "manager", "types", "mod",
            ] {
                assert_ne!(*name, *empty, "{}", path.display());
            }
        });
    }
}

fn visit(folder: &Path, check: &dyn Fn(&Path)) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        check(&path);
        if path.is_dir() {
            visit(&path, check);
        }
    }
}
