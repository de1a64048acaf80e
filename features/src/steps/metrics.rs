//! Scraping the daemon.

use std::collections::BTreeSet;

use cucumber::gherkin::Step;
use cucumber::then;

use crate::claim::{Claim, eventually};
use crate::client;
use crate::exposition::Metrics;
use crate::world::World;

/// One scrape of `addr`, read strictly.
pub(super) fn scrape(addr: std::net::SocketAddr) -> Result<Metrics, String> {
    let answer = client::get(addr, "/metrics")?;
    match answer.status {
        200 => Metrics::parse(&answer.text()),
        status => Err(format!("/metrics answers {status}: {}", answer.text())),
    }
}

/// Rows of `| name | type | labels |`; every series of the metric must carry just these labels.
#[then("these metrics come to be exposed")]
fn exposed(world: &mut World, step: &Step) {
    let addr = world.addr().holds();
    let rows = world.rows(step).holds();
    let exposed = eventually(|| {
        let metrics = scrape(addr)?;
        rows.iter().try_for_each(|row| check_family(&metrics, row))
    });
    exposed.holds();
}

fn check_family(metrics: &Metrics, row: &[String]) -> Result<(), String> {
    let [name, kind, labels] = row else {
        return Err(format!("a row is | name | type | labels |, not {row:?}"));
    };
    let family = metrics.family(name)?;
    if family.kind != *kind {
        return Err(format!("{name} is a {}, not a {kind}", family.kind));
    }
    let labels: BTreeSet<&str> = labels.split_whitespace().collect();
    family
        .check_labels(&labels)
        .map_err(|why| format!("{name}: {why}"))
}

#[then(regex = r"^the histogram (\w+) has the bounds ([\d ]+)$")]
fn histogram_bounds(world: &mut World, name: String, bounds: String) {
    let metrics = scrape(world.addr().holds()).holds();
    let expected: BTreeSet<&str> = bounds.split_whitespace().collect();
    assert_eq!(metrics.family(&name).holds().bounds(), expected);
}

#[then(regex = r"^the metric (\w+) comes to (at least )?(\d+)$")]
fn comes_to(world: &mut World, name: String, at_least: String, number: f64) {
    let addr = world.addr().holds();
    let reached = eventually(|| match scrape(addr)?.total(&name)? {
        total if total == number || (!at_least.is_empty() && total > number) => Ok(()),
        total => Err(format!("{name} is {total}, not {at_least}{number}")),
    });
    reached.holds();
}
