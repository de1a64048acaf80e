//! What a daemon tells of itself at `/metrics`.

use crate::Failure;
use crate::client::Client;

/// One look.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Looks now.
    ///
    /// # Errors
    /// If there is no answer, or another than 200.
    pub fn of(client: &mut Client) -> Result<Self, Failure> {
        match client.text("/metrics")? {
            (200, text) => Ok(Self(text)),
            (status, _) => Err(Failure(format!("/metrics was answered {status}"))),
        }
    }

    /// The value of one series, written as it is exposed.
    #[must_use]
    pub fn get(&self, series: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let page = "# TYPE a counter\na_total{shard=\"10\"} 3\na_total{shard=\"1\"} 2\n";
        let metrics = Metrics(page.to_owned());
        assert_eq!(metrics.get("a_total{shard=\"1\"}"), Some(2.0));
        assert_eq!(metrics.get("a_total"), None);
    }
}
