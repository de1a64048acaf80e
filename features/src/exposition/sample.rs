//! One sample line: `name{label="value",…} number`. Timestamps are allowed by the format, useless
//! in a scrape of a living process, and refused.

use std::collections::BTreeMap;
use std::str::FromStr;

/// One number of a scrape.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The name as written.
    pub(crate) name: String,
    /// The labels, their values unescaped.
    pub(crate) labels: BTreeMap<String, String>,
    /// The number.
    pub(crate) value: f64,
}

impl Sample {
    /// The upper bound of a histogram's bucket.
    pub(crate) fn bound(&self) -> Result<f64, String> {
        let bound = self.labels.get("le").ok_or("a bucket has no bound")?;
        number(bound)
    }

    /// OpenMetrics wants a bound written as one of the floats that it is: `50.0`, not `50`.
    pub(crate) fn check_bound_is_float(&self) -> Result<(), String> {
        match self.labels.get("le") {
            Some(bound) if bound != "+Inf" && !bound.contains(['.', 'e']) => {
                Err(format!("the bound {bound} is not written as a float"))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (series, value) = line.rsplit_once(' ').ok_or("a sample has no value")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels)?),
            None => (series, BTreeMap::new()),
        };
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            labels,
            value: number(value)?,
        })
    }
}

/// Reads `label="value",…}` to its brace, which must be the last character.
fn read_labels(mut rest: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    while rest != "}" {
        let (name, value) = rest.split_once("=\"").ok_or("a label has no value")?;
        check_name(name)?;
        let (value, after) = read_value(value)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} is there twice"));
        }
        rest = match after.strip_prefix(',') {
            Some(next) => next,
            None if after == "}" => after,
            None => return Err(format!("labels are not parted by a comma: {after}")),
        };
    }
    Ok(labels)
}

/// Reads a quoted value to its closing quote; returns it and what follows.
fn read_value(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        value.push(match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                _ => return Err("a label's value has an unknown escape".to_owned()),
            },
            plain => plain,
        });
    }
    Err("a label's value does not end".to_owned())
}

fn check_name(name: &str) -> Result<(), String> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':');
    let mut bytes = name.bytes();
    let sound =
        bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit());
    if sound {
        Ok(())
    } else {
        Err(format!("`{name}` is not a name"))
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_name_labels_and_a_number() {
        let sample: Sample = r#"a_b{x="1",y="q\"\\\n, }"} 2.5"#.parse().unwrap();
        assert_eq!((sample.name.as_str(), sample.value), ("a_b", 2.5));
        assert_eq!(sample.labels["y"], "q\"\\\n, }");
        assert_eq!("plain 1e3".parse::<Sample>().unwrap().value, 1000.0);
        assert_eq!(
            "b{le=\"+Inf\"} 1".parse::<Sample>().unwrap().bound(),
            Ok(f64::INFINITY)
        );
    }

    #[test]
    fn a_malformed_sample_is_refused() {
        for wrong in [
            "a",
            "a one",
            "1a 1",
            "a{ 1",
            "a{x} 1",
            "a{x=\"1} 1",
            "a{x=\"\\t\"} 1",
            "a{x=\"1\",x=\"1\"} 1",
            "a{x=\"1\"y=\"2\"} 1",
            "{} 1",
        ] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
