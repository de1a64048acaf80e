//! What a client takes: the `Accept` field (RFC 9110 §12.5.1).

use crate::fields::Fields;

/// How much a client wants something, in thousandths: 0 is not at all.
pub type Quality = u16;

/// As much as can be said.
const QUALITY_MAX: Quality = 1000;

impl Fields {
    /// How much the client wants an answer of `media_type`, which has no parameters. The range that
    /// fits best decides, whatever the others say: `text/plain`, then `text/*`, then `*/*`. A client
    /// that says nothing takes anything. A range that can't be read is as good as not said.
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> Quality {
        let said = self.get_all("accept").flat_map(|value| value.split(','));
        let mut ranges = said.filter_map(Range::parse).peekable();
        if ranges.peek().is_none() {
            return QUALITY_MAX;
        }
        let fitting = ranges.filter_map(|range| Some((range.fit(media_type)?, range.quality)));
        fitting.max().map_or(0, |(_, quality)| quality)
    }
}

struct Range<'a> {
    class: &'a str,
    subclass: &'a str,
    quality: Quality,
}

/// How well a range fits, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Anything,
    Class,
    Exact,
}

impl<'a> Range<'a> {
    /// `media-range [ weight ]`. Other parameters are not looked at: there is one answer of each type.
    fn parse(range: &'a str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let (class, subclass) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some(Self {
            class,
            subclass,
            quality: weight.map_or(Some(QUALITY_MAX), quality)?,
        })
    }

    fn fit(&self, media_type: &str) -> Option<Fit> {
        let (class, subclass) = media_type.split_once('/')?;
        match (self.class, self.subclass) {
            ("*", "*") => Some(Fit::Anything),
            (own, "*") if own.eq_ignore_ascii_case(class) => Some(Fit::Class),
            (own, sub) if own.eq_ignore_ascii_case(class) && sub.eq_ignore_ascii_case(subclass) => {
                Some(Fit::Exact)
            }
            _ => None,
        }
    }
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )` (RFC 9110 §12.4.2), in thousandths.
fn quality(text: &str) -> Option<Quality> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: Quality = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(QUALITY_MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &[&str], media_type: &str, expected: Quality) {
        let mut fields = Fields::default();
        accept.iter().for_each(|value| fields.push("Accept", value));
        assert_eq!(fields.accepts(media_type), expected, "{accept:?}");
    }

    #[test]
    fn who_says_nothing_takes_anything() {
        check(&[], "text/plain", 1000);
        check(&[""], "text/plain", 1000);
        check(&["nonsense"], "text/plain", 1000);
    }

    #[test]
    fn the_range_that_fits_best_decides() {
        let accept = ["text/*;q=0.3, text/plain;q=0.7", "*/*;q=0.5"];
        check(&accept, "text/plain", 700);
        check(&accept, "text/html", 300);
        check(&accept, "application/json", 500);
        check(&["*/*, text/plain;q=0"], "text/plain", 0);
        check(&["application/json"], "text/plain", 0);
    }

    #[test]
    fn of_two_that_fit_alike_the_more_wanted_decides() {
        let accept = ["text/plain;version=1.0.0;q=0.3, text/plain;version=0.0.4;q=0.2"];
        check(&accept, "text/plain", 300);
    }

    #[test]
    fn weights_are_read_as_written_or_not_at_all() {
        check(&["a/b;q=1"], "a/b", 1000);
        check(&["a/b;Q=1.000"], "a/b", 1000);
        check(&["a/b ; q=0.05"], "a/b", 50);
        check(&["a/b;q=0."], "a/b", 0);
        for wrong in ["1.001", "0.1234", "2", "-1", "+1", "x", "", "0.+1"] {
            check(&[&format!("a/b;q={wrong}, c/d")], "a/b", 0);
        }
    }
}
