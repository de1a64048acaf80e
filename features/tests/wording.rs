//! The features as a text: they parse, each says why it matters, and each sentence means one thing.
//! No daemon is needed to find a sentence that nobody understands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cucumber::World as _;
use cucumber::feature::Ext as _;
use cucumber::gherkin::{Feature, GherkinEnv, Step};
use orchestratord_bdd::{FEATURES, World};

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder belongs to the crate");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect()
}

fn feature(path: &Path) -> Feature {
    let feature = Feature::parse_path(path, GherkinEnv::default());
    let feature = feature.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    feature
        .expand_examples()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn features() -> Vec<Feature> {
    files(Path::new(FEATURES), "feature")
        .iter()
        .map(|path| feature(path))
        .collect()
}

fn steps(feature: &Feature) -> impl Iterator<Item = &Step> {
    let background = feature
        .background
        .iter()
        .flat_map(|background| &background.steps);
    background.chain(
        feature
            .scenarios
            .iter()
            .flat_map(|scenario| &scenario.steps),
    )
}

#[test]
fn each_feature_says_why_it_matters_and_names_each_scenario_once() {
    for feature in features() {
        assert!(
            feature.description.is_some(),
            "{} has no description",
            feature.name
        );
        let written: BTreeSet<_> = feature
            .scenarios
            .iter()
            .map(|it| (&it.name, it.span.start))
            .collect();
        let names: BTreeSet<_> = feature.scenarios.iter().map(|it| &it.name).collect();
        assert_eq!(
            names.len(),
            written.len(),
            "{} has two scenarios of one name",
            feature.name
        );
        assert!(!names.is_empty(), "{} promises nothing", feature.name);
    }
}

#[test]
fn each_step_means_exactly_one_thing() {
    let known = World::collection();
    for feature in features() {
        for step in steps(&feature) {
            let found = known
                .find(step)
                .unwrap_or_else(|error| panic!("{}: {error}", step.value));
            assert!(
                found.is_some(),
                "{}: nothing means `{} {}`",
                feature.name,
                step.keyword,
                step.value
            );
        }
    }
}

#[test]
fn each_definition_is_used() {
    let known = World::collection();
    let features = features();
    let used: BTreeSet<_> = features
        .iter()
        .flat_map(steps)
        .filter_map(|step| known.find(step).ok()??.2)
        .collect();
    let attribute = |line: &&str| {
        ["#[given(", "#[when(", "#[then("]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let mut defined = 0;
    for path in files(&Path::new(FEATURES).join("src/steps"), "rs") {
        defined += fs::read_to_string(path)
            .unwrap()
            .lines()
            .filter(attribute)
            .count();
    }
    assert_eq!(used.len(), defined, "used are only {used:#?}");
}
