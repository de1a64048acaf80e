//! Scraping the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use cucumber::gherkin::Step;
use cucumber::{given, then};

use crate::claim::{Claim, eventually};
use crate::client::{self, Request};
use crate::exposition::{Family, Format, Metrics};
use crate::world::World;

/// One scrape of `addr`, read strictly.
pub(super) fn scrape(addr: SocketAddr) -> Result<Metrics, String> {
    scrape_as(addr, Format::Prometheus)
}

fn scrape_as(addr: SocketAddr, format: Format) -> Result<Metrics, String> {
    let media_type = format.media_type();
    let request = Request {
        method: "GET".to_owned(),
        path: "/metrics".to_owned(),
        headers: vec![("Accept".to_owned(), media_type.to_owned())],
        body: None,
    };
    let answer = client::send(addr, &request)?;
    match (answer.status, answer.header("content-type")) {
        (200, Some(found)) if found == media_type => Metrics::parse(&answer.text(), format),
        (status, found) => Err(format!("/metrics answers {status} as {found:?}")),
    }
}

/// Rows of `| name | type | labels |`; every series of the metric must carry just these labels.
#[then("these metrics come to be exposed")]
fn exposed(world: &mut World, step: &Step) {
    let addr = world.addr().holds();
    let rows = world.rows(step).holds();
    let exposed = eventually(|| {
        let metrics = scrape(addr)?;
        rows.iter().try_for_each(|row| match row.as_slice() {
            [name, kind, labels] => check_family(&metrics, name, kind, labels).map(drop),
            _ => Err(format!("a row is | name | type | labels |, not {row:?}")),
        })
    });
    exposed.holds();
}

/// Rows of `| name | type | labels | bounds |`. A metric that is exposed and has no row is as wrong as
/// the other way round.
#[then("one scrape in each format exposes these metrics and no others")]
fn exposes_just(world: &mut World, step: &Step) {
    let addr = world.addr().holds();
    let rows = world.rows(step).holds();
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let metrics = scrape_as(addr, format).holds();
        for row in &rows {
            check_row(&metrics, row).holds();
        }
        let promised: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(metrics.names(), promised, "as {format:?}");
    }
}

fn check_row(metrics: &Metrics, row: &[String]) -> Result<(), String> {
    let [name, kind, labels, bounds] = row else {
        return Err(format!(
            "a row is | name | type | labels | bounds |, not {row:?}"
        ));
    };
    let found = check_family(metrics, name, kind, labels)?.bounds();
    let expected = numbers(bounds)?;
    if found == expected {
        Ok(())
    } else {
        Err(format!("{name} has the bounds {found:?}, not {expected:?}"))
    }
}

fn check_family<'m>(
    metrics: &'m Metrics,
    name: &str,
    kind: &str,
    labels: &str,
) -> Result<&'m Family, String> {
    let family = metrics.family(name)?;
    if family.kind != kind {
        return Err(format!("{name} is a {}, not a {kind}", family.kind));
    }
    let labels: BTreeSet<&str> = labels.split_whitespace().collect();
    let checked = family.check_labels(&labels);
    checked.map_err(|why| format!("{name}: {why}"))?;
    Ok(family)
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let number = |word: &str| word.parse().map_err(|_| format!("{word} is no number"));
    text.split_whitespace().map(number).collect()
}

/// Rows of `| name | labels | value |`: all series of the metrics that are named.
#[then("these series come to be exposed")]
fn series_exposed(world: &mut World, step: &Step) {
    let addr = world.addr().holds();
    let mut expected: BTreeMap<String, BTreeMap<Vec<String>, f64>> = BTreeMap::new();
    for row in world.rows(step).holds() {
        let [name, labels, value] = row.as_slice() else {
            panic!("a row is | name | labels | value |, not {row:?}");
        };
        let mut labels: Vec<_> = labels.split_whitespace().map(str::to_owned).collect();
        labels.sort();
        let value = value.parse().map_err(|_| format!("{value} is no number"));
        let series = expected.entry(name.clone()).or_default();
        series.insert(labels, value.holds());
    }
    let exposed = eventually(|| {
        let metrics = scrape(addr)?;
        expected.iter().try_for_each(|(name, expected)| {
            let found = metrics.family(name)?.series();
            if found == *expected {
                Ok(())
            } else {
                Err(format!("{name} has the series {found:?}"))
            }
        })
    });
    exposed.holds();
}

/// They are declared all the same.
#[then("these metrics come to have no series")]
fn no_series(world: &mut World, step: &Step) {
    let addr = world.addr().holds();
    let rows = world.rows(step).holds();
    let vanished = eventually(|| {
        let metrics = scrape(addr)?;
        rows.iter().flatten().try_for_each(|name| {
            let series = metrics.family(name)?.series();
            if series.is_empty() {
                Ok(())
            } else {
                Err(format!("{name} has the series {series:?}"))
            }
        })
    });
    vanished.holds();
}

#[given("the series of the metrics have been counted")]
fn count_series(world: &mut World) {
    let metrics = scrape(world.addr().holds()).holds();
    world.series = Some(metrics.series_count());
}

#[then("the metrics have as many series as were counted")]
fn as_many_series(world: &mut World) {
    let counted = world.series.ok_or("nobody has counted series").holds();
    let metrics = scrape(world.addr().holds()).holds();
    assert_eq!(metrics.series_count(), counted);
}

#[then(regex = r"^the metrics come to mention (.+)$")]
fn come_to_mention(world: &mut World, words: String) {
    let addr = world.addr().holds();
    let mentioned = eventually(|| match client::get(addr, "/metrics")?.text() {
        text if text.contains(&words) => Ok(()),
        text => Err(format!("no {words} in: {text}")),
    });
    mentioned.holds();
}

#[given(regex = r"^the metric (\w+) comes to (at least )?(\d+)$")]
#[then(regex = r"^the metric (\w+) comes to (at least )?(\d+)$")]
fn comes_to(world: &mut World, name: String, at_least: String, number: f64) {
    let addr = world.addr().holds();
    let reached = eventually(|| match scrape(addr)?.total(&name)? {
        total if total == number || (!at_least.is_empty() && total > number) => Ok(()),
        total => Err(format!("{name} is {total}, not {at_least}{number}")),
    });
    reached.holds();
}
