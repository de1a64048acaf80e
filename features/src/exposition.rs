//! The two text formats of metrics, read without mercy: Prometheus 0.0.4 (prometheus.io, "Exposition
//! formats") and OpenMetrics 1.0 (the specification of that name).
//!
//! A scraper that meets one doubtful line loses the whole scrape, so this reader refuses what the
//! formats forbid: a sample without its `# TYPE`, a family in two places, a series twice, buckets
//! that do not add up. [`Metrics::parse`] is the only door; whoever holds [`Metrics`] holds checked ones.

use std::collections::{BTreeMap, BTreeSet};

use sample::Sample;

mod sample;

/// Which of the two a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0: a counter's family is named without the `_total` of its samples, bounds are
    /// written as floats are, no line is empty, and the last one says that it is.
    OpenMetrics,
}

impl Format {
    /// How it is called in `Accept` and `Content-Type`.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All families of one scrape, by the names that counters have in Prometheus' format.
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
    pub(crate) fn parse(text: &str, format: Format) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let text = match format {
            Format::Prometheus => text,
            Format::OpenMetrics => text
                .strip_suffix("# EOF\n")
                .ok_or("the last line is not # EOF")?,
        };
        let mut reader = Reader {
            format,
            families: BTreeMap::new(),
            current: String::new(),
        };
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

    /// The names of all families.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// How many series there are, a bucket of a histogram being one.
    pub(crate) fn series_count(&self) -> usize {
        self.0.values().map(|family| family.samples.len()).sum()
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

    /// Every series of a counter or gauge: its labels as `name="value"`, in the order of their names,
    /// and its value.
    pub(crate) fn series(&self) -> BTreeMap<Vec<String>, f64> {
        let written = |(name, value): (&String, &String)| format!("{name}={value:?}");
        let series = self.samples.iter();
        series
            .map(|sample| (sample.labels.iter().map(written).collect(), sample.value))
            .collect()
    }

    /// The upper bounds of a histogram's buckets, from the lowest to the highest, `+Inf` aside.
    pub(crate) fn bounds(&self) -> Vec<f64> {
        let buckets = self
            .samples
            .iter()
            .filter(|sample| sample.labels.contains_key("le"));
        let mut bounds: Vec<f64> = buckets
            .filter_map(|bucket| bucket.bound().ok())
            .filter(|bound| bound.is_finite())
            .collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
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
struct Reader {
    format: Format,
    families: BTreeMap<String, Family>,
    current: String,
}

impl Reader {
    fn take_line(&mut self, line: &str) -> Result<(), String> {
        if let Some(declaration) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declaration.split_once(' ').ok_or("a TYPE names no type")?;
            return self.declare(name, kind);
        }
        match line {
            "" if self.format == Format::OpenMetrics => Err("a line is empty".to_owned()),
            "# EOF" => Err("the end is told before the end".to_owned()),
            "" => Ok(()),
            _ if line.starts_with('#') => Ok(()),
            _ => self.add(line.parse()?),
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
        self.current = match (self.format, kind) {
            (Format::OpenMetrics, "counter") if name.ends_with("_total") => {
                return Err("a counter's family is named like its samples".to_owned());
            }
            (Format::OpenMetrics, "counter") => format!("{name}_total"),
            _ => name.to_owned(),
        };
        match self.families.insert(self.current.clone(), family) {
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
        if self.format == Format::OpenMetrics {
            sample.check_bound_is_float()?;
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
        let metrics = Metrics::parse(GOOD, Format::Prometheus).unwrap();
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
        assert_eq!(wait.bounds(), [50.0]);
        assert_eq!(metrics.series_count(), 6);
        let from_first = [r#"from_core="0""#, r#"to_core="1""#]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(steals.series()[&from_first], 3.0);
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
            let read = Metrics::parse(&wrong, Format::Prometheus);
            assert!(read.is_err(), "{from} → {to}");
        }
    }

    const OPEN: &str = "# TYPE steals counter\nsteals_total{to_core=\"1\"} 3\n# TYPE wait_ms histogram\n\
        wait_ms_bucket{le=\"50.0\"} 1\nwait_ms_bucket{le=\"+Inf\"} 1\nwait_ms_sum 7\nwait_ms_count 1\n# EOF\n";

    #[test]
    fn the_other_format_tells_the_same_names() {
        let metrics = Metrics::parse(OPEN, Format::OpenMetrics).unwrap();
        assert_eq!(metrics.names(), BTreeSet::from(["steals_total", "wait_ms"]));
        assert_eq!(metrics.total("steals_total"), Ok(3.0));
        assert_eq!(metrics.family("wait_ms").unwrap().bounds(), [50.0]);
    }

    #[test]
    fn what_the_other_format_forbids_is_refused() {
        for (from, to) in [
            ("# EOF\n", ""),
            ("# EOF\n", "# EOF\n\n"),
            ("# TYPE wait_ms", "\n# TYPE wait_ms"),
            ("# TYPE wait_ms", "# EOF\n# TYPE wait_ms"),
            ("# TYPE steals", "# TYPE steals_total"),
            ("steals_total{", "steals{"),
            ("50.0", "50"),
        ] {
            assert!(OPEN.contains(from), "{from}");
            let wrong = OPEN.replacen(from, to, 1);
            let read = Metrics::parse(&wrong, Format::OpenMetrics);
            assert!(read.is_err(), "{from} → {to}");
        }
    }
}
