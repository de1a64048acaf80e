//! The Prometheus text format 0.0.4, read without mercy (prometheus.io, "Exposition formats").
//!
//! A scraper that meets one doubtful line loses the whole scrape, so this reader refuses what the
//! format forbids: a sample without its `# TYPE`, a family in two places, a series twice, buckets
//! that do not add up. [`Metrics::parse`] is the only door; whoever holds [`Metrics`] holds checked ones.

use std::collections::{BTreeMap, BTreeSet};

use sample::Sample;

mod sample;

/// All families of one scrape, by name.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, Family>);

/// The series under one name.
#[derive(Debug)]
pub(crate) struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    samples: Vec<Sample>,
}

impl Metrics {
    /// Reads a whole exposition.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut reader = Reader::default();
        for line in text.lines() {
            reader
                .take_line(line)
                .map_err(|why| format!("{why}: {line}"))?;
        }
        for (name, family) in &reader.families {
            family.check(name).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(Self(reader.families))
    }

    /// The family of this name.
    pub(crate) fn family(&self, name: &str) -> Result<&Family, String> {
        self.0
            .get(name)
            .ok_or_else(|| format!("there is no metric {name}"))
    }

    /// The sum over all series of a counter or gauge; zero while it has none.
    pub(crate) fn total(&self, name: &str) -> Result<f64, String> {
        self.family(name)
            .map(|family| family.samples.iter().map(|sample| sample.value).sum())
    }
}

impl Family {
    /// Whether it has any series, and each carries exactly these labels (`le` aside).
    pub(crate) fn check_labels(&self, expected: &BTreeSet<&str>) -> Result<(), String> {
        if self.samples.is_empty() {
            return Err("it has no series yet".to_owned());
        }
        for sample in &self.samples {
            let labels: BTreeSet<&str> = sample
                .labels
                .keys()
                .map(String::as_str)
                .filter(|label| *label != "le")
                .collect();
            if labels != *expected {
                return Err(format!("a series carries {labels:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// The upper bounds of a histogram's buckets, as they are written, `+Inf` aside.
    pub(crate) fn bounds(&self) -> BTreeSet<&str> {
        let bounds = self
            .samples
            .iter()
            .filter_map(|sample| sample.labels.get("le"));
        bounds
            .map(String::as_str)
            .filter(|bound| *bound != "+Inf")
            .collect()
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let series: BTreeSet<_> = self
            .samples
            .iter()
            .map(|sample| (&sample.name, &sample.labels))
            .collect();
        if series.len() < self.samples.len() {
            return Err("a series is there twice".to_owned());
        }
        match self.kind.as_str() {
            "counter" if self.samples.iter().any(|sample| sample.value < 0.0) => {
                Err("a counter is below zero".to_owned())
            }
            "histogram" => self.check_histogram(name),
            _ => Ok(()),
        }
    }

    /// In each series the buckets grow with their bounds, the last is `+Inf`, and it is the count.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let mut series: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            labels.remove("le");
            series.entry(labels).or_default().push(sample);
        }
        for (labels, samples) in series {
            let why = |why| format!("the series {labels:?} {why}");
            check_buckets(name, &samples).map_err(why)?;
        }
        Ok(())
    }
}

fn check_buckets(name: &str, samples: &[&Sample]) -> Result<(), String> {
    let is_bucket = |sample: &&&Sample| sample.name == format!("{name}_bucket");
    let (buckets, totals): (Vec<&Sample>, Vec<&Sample>) = samples.iter().partition(is_bucket);
    let point = |bucket: &&Sample| Ok((bucket.bound()?, bucket.value));
    let points = buckets
        .iter()
        .map(point)
        .collect::<Result<Vec<_>, String>>()?;
    let is_count = |total: &&&Sample| total.name == format!("{name}_count");
    let count = totals.iter().find(is_count).map(|count| count.value);
    if !points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1) {
        return Err("does not grow from bucket to bucket".to_owned());
    }
    if totals.len() != 2 || points.last().copied() != count.map(|count| (f64::INFINITY, count)) {
        return Err("does not end in a sum and a count of all".to_owned());
    }
    Ok(())
}

/// Reads line by line; samples belong to the family declared last.
#[derive(Default)]
struct Reader {
    families: BTreeMap<String, Family>,
    current: String,
}

impl Reader {
    fn take_line(&mut self, line: &str) -> Result<(), String> {
        if let Some(declaration) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declaration.split_once(' ').ok_or("a TYPE names no type")?;
            return self.declare(name, kind);
        }
        if line.is_empty() || line.starts_with('#') {
            Ok(())
        } else {
            self.add(line.parse()?)
        }
    }

    fn declare(&mut self, name: &str, kind: &str) -> Result<(), String> {
        if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
            return Err(format!("`{kind}` is not a type"));
        }
        let family = Family {
            kind: kind.to_owned(),
            samples: Vec::new(),
        };
        self.current = name.to_owned();
        match self.families.insert(name.to_owned(), family) {
            None => Ok(()),
            Some(_) => Err("a family is declared twice".to_owned()),
        }
    }

    fn add(&mut self, sample: Sample) -> Result<(), String> {
        let family = self.families.get_mut(&self.current);
        let family = family.ok_or("a sample comes before any TYPE")?;
        let suffix = sample.name.strip_prefix(&self.current);
        let belongs = match family.kind.as_str() {
            "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            _ => suffix == Some(""),
        };
        if !belongs {
            return Err(format!("a sample stands among those of {}", self.current));
        }
        family.samples.push(sample);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP steals_total Tasks taken.\n# TYPE steals_total counter\n\
        steals_total{from_core=\"0\",to_core=\"1\"} 3\nsteals_total{from_core=\"1\",to_core=\"0\"} 4\n\n\
        # TYPE wait_ms histogram\nwait_ms_bucket{p=\"a\",le=\"50\"} 1\nwait_ms_bucket{p=\"a\",le=\"+Inf\"} 2\n\
        wait_ms_sum{p=\"a\"} 70.5\nwait_ms_count{p=\"a\"} 2\n# TYPE pool_ready gauge\n";

    #[test]
    fn a_good_exposition_tells_totals_labels_and_bounds() {
        let metrics = Metrics::parse(GOOD).unwrap();
        assert_eq!(metrics.total("steals_total"), Ok(7.0));
        assert_eq!(metrics.total("pool_ready"), Ok(0.0));
        assert!(metrics.total("unknown").is_err());
        let steals = metrics.family("steals_total").unwrap();
        assert_eq!(steals.kind, "counter");
        assert_eq!(
            steals.check_labels(&BTreeSet::from(["from_core", "to_core"])),
            Ok(())
        );
        assert!(steals.check_labels(&BTreeSet::from(["from_core"])).is_err());
        let wait = metrics.family("wait_ms").unwrap();
        assert_eq!(wait.check_labels(&BTreeSet::from(["p"])), Ok(()));
        assert_eq!(wait.bounds(), BTreeSet::from(["50"]));
    }

    #[test]
    fn what_a_scraper_would_refuse_is_refused() {
        for (from, to) in [
            ("# TYPE pool_ready gauge\n", "# TYPE pool_ready gauge"),
            ("pool_ready gauge", "steals_total gauge"),
            ("pool_ready gauge", "pool_ready number"),
            ("# TYPE steals_total counter\n", ""),
            ("to_core=\"0\"} 4", "to_core=\"0\"} -4"),
            (
                "from_core=\"1\",to_core=\"0\"",
                "from_core=\"0\",to_core=\"1\"",
            ),
            (
                "steals_total{from_core=\"1\"",
                "thefts_total{from_core=\"1\"",
            ),
            ("le=\"50\"} 1", "le=\"50\"} 3"),
            ("wait_ms_count{p=\"a\"} 2", "wait_ms_count{p=\"a\"} 3"),
            ("wait_ms_sum{p=\"a\"} 70.5\n", ""),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let wrong = GOOD.replace(from, to);
            assert!(Metrics::parse(&wrong).is_err(), "{from} → {to}");
        }
    }
}
