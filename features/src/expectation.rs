//! One row of a feature's table: where to look in a JSON value, and what must stand there.
//!
//! ```text
//! | queue_position      | an integer                | any JSON type by its name
//! | on_time_probability | 0 to 1                    | a closed range of numbers
//! | retry_after_ms      | at least 1                | a lower bound
//! | message             | mentions max_tokens       | part of a text
//! | engine              | nothing                   | absent, or null
//! | retriable           | true                      | anything else is JSON, and must be equal
//! ```

use std::str::FromStr;

use serde_json::Value;

/// What a value has to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expectation {
    /// Absent, or null.
    Nothing,
    /// A string with at least one character.
    Text,
    /// A whole number, not negative: counts and positions are the only integers of the contract.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Truth,
    /// An array, empty or not.
    List,
    /// An object.
    Object,
    /// A number not below this one.
    AtLeast(f64),
    /// A number between these two, both included.
    Between(f64, f64),
    /// A string with this in it.
    Mentions(String),
    /// This very value.
    Exactly(Value),
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(cell: &str) -> Result<Self, String> {
        if let Some(part) = cell.strip_prefix("mentions ") {
            return Ok(Self::Mentions(part.to_owned()));
        }
        if let Some(bound) = cell.strip_prefix("at least ") {
            return number(bound).map(Self::AtLeast);
        }
        match cell {
            "nothing" => Ok(Self::Nothing),
            "a text" => Ok(Self::Text),
            "an integer" => Ok(Self::Integer),
            "a number" => Ok(Self::Number),
            "true or false" => Ok(Self::Truth),
            "a list" => Ok(Self::List),
            "an object" => Ok(Self::Object),
            _ => range_or_json(cell),
        }
    }
}

impl Expectation {
    /// Whether `found` is as expected.
    pub(crate) fn is_met_by(&self, found: Option<&Value>) -> bool {
        let Some(value) = found.filter(|value| !value.is_null()) else {
            return *self == Self::Nothing;
        };
        match self {
            Self::Nothing => false,
            Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Integer => value.is_u64(),
            Self::Number => value.is_number(),
            Self::Truth => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::AtLeast(bound) => value.as_f64().is_some_and(|number| number >= *bound),
            Self::Between(low, high) => value
                .as_f64()
                .is_some_and(|number| (*low..=*high).contains(&number)),
            Self::Mentions(part) => value.as_str().is_some_and(|text| text.contains(part)),
            Self::Exactly(expected) => value == expected,
        }
    }
}

/// The rows of one table, checked together so that a failure lists every mismatch at once.
#[derive(Debug)]
pub(crate) struct Expectations(Vec<(String, String, Expectation)>);

impl Expectations {
    /// Reads rows of `| path | cell |`.
    pub(crate) fn read(rows: &[Vec<String>]) -> Result<Self, String> {
        let read = |row: &Vec<String>| match row.as_slice() {
            [path, cell] => Ok((path.clone(), cell.clone(), cell.parse()?)),
            _ => Err(format!("a row is | where | what |, not {row:?}")),
        };
        rows.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Every mismatch between `value` and the rows, or none.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let mismatches: Vec<_> = self
            .0
            .iter()
            .map(|(path, cell, expectation)| (path, cell, expectation, look(value, path)))
            .filter(|(_, _, expectation, found)| !expectation.is_met_by(*found))
            .map(|(path, cell, _, found)| {
                let found = found.map_or_else(|| "nothing".to_owned(), Value::to_string);
                format!("{path}: expected {cell}, found {found}")
            })
            .collect();
        if mismatches.is_empty() {
            Ok(())
        } else {
            Err(format!("{}\nin {value}", mismatches.join("\n")))
        }
    }
}

/// The value at `path`, whose steps are names of fields and positions in lists: `engines.0.engine`.
pub(crate) fn look<'value>(value: &'value Value, path: &str) -> Option<&'value Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => value.get(step),
    })
}

fn range_or_json(cell: &str) -> Result<Expectation, String> {
    if let Some((low, high)) = cell.split_once(" to ")
        && let (Ok(low), Ok(high)) = (number(low), number(high))
    {
        return Ok(Expectation::Between(low, high));
    }
    serde_json::from_str(cell)
        .map(Expectation::Exactly)
        .map_err(|_| format!("`{cell}` is neither an expectation nor JSON"))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(cell: &str, met: &[Value], unmet: &[Value]) {
        let expectation: Expectation = cell.parse().unwrap();
        for value in met {
            assert!(
                expectation.is_met_by(Some(value)),
                "{cell} is met by {value}"
            );
        }
        for value in unmet {
            assert!(
                !expectation.is_met_by(Some(value)),
                "{cell} is not met by {value}"
            );
        }
    }

    #[test]
    fn each_cell_accepts_what_it_says_and_nothing_else() {
        check("a text", &[json!("x")], &[json!(""), json!(1), json!(null)]);
        check(
            "an integer",
            &[json!(0)],
            &[json!(0.5), json!(-1), json!("0")],
        );
        check("a number", &[json!(0.5), json!(-1)], &[json!("0.5")]);
        check("true or false", &[json!(true)], &[json!("true")]);
        check("a list", &[json!([])], &[json!({})]);
        check("an object", &[json!({})], &[json!([])]);
        check(
            "at least 1",
            &[json!(1), json!(2.5)],
            &[json!(0), json!("1")],
        );
        check(
            "0 to 1",
            &[json!(0), json!(1), json!(0.5)],
            &[json!(1.1), json!(-0.1)],
        );
        check(
            "mentions tokens",
            &[json!("max_tokens")],
            &[json!("max"), json!(["tokens"])],
        );
        check("nothing", &[json!(null)], &[json!(0), json!("")]);
        check("\"queued\"", &[json!("queued")], &[json!("running")]);
        check("\"1 to 2\"", &[json!("1 to 2")], &[json!(1)]);
        assert!(
            "queued".parse::<Expectation>().is_err(),
            "a bare word is neither"
        );
    }

    #[test]
    fn a_path_leads_through_fields_and_lists() {
        let value = json!({"engines": [{"engine": "mock"}]});
        assert_eq!(look(&value, "engines.0.engine"), Some(&json!("mock")));
        assert_eq!(look(&value, "engines.1.engine"), None);
        assert_eq!(look(&value, "engines.mock"), None);
    }

    #[test]
    fn a_failure_lists_every_mismatch() {
        let row = |path: &str, cell: &str| vec![path.to_owned(), cell.to_owned()];
        let rows = [
            row("code", "\"CONFLICT\""),
            row("message", "a text"),
            row("retriable", "false"),
        ];
        let expectations = Expectations::read(&rows).unwrap();
        let failure = expectations
            .check(&json!({"code": "X", "retriable": false}))
            .unwrap_err();
        assert!(
            failure.contains("code: expected \"CONFLICT\", found \"X\""),
            "{failure}"
        );
        assert!(
            failure.contains("message: expected a text, found nothing"),
            "{failure}"
        );
        assert!(!failure.contains("retriable: expected"), "{failure}");
    }
}
