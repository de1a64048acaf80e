//! A JSON Schema of the settings file, made of what reads it: clap's flags and the `[[pool]]` table.

use clap::builder::ValueParser;
use serde_json::{Map, Value, json};

use super::{bounds, layers, pool::PoolStanza};

/// The schema (draft 2020-12) of the settings file.
pub fn settings() -> Value {
    let command = layers::daemon_flags();
    let mut properties: Map<String, Value> = layers::in_files(&command)
        .map(|flag| (flag.get_id().to_string(), property(flag)))
        .collect();
    let mut pool = schemars::schema_for!(PoolStanza).to_value();
    if let Some(keys) = pool["properties"].as_object_mut() {
        keys.iter_mut()
            .for_each(|(key, property)| bound(key, property));
    }
    let definitions = pool
        .as_object_mut()
        .and_then(|pool| pool.remove("$defs"))
        .unwrap_or_else(|| json!({}));
    let pools = json!({
        "description": "The pools; without any, the flags describe one.",
        "type": "array",
        "items": pool,
    });
    properties.insert("pool".to_owned(), pools);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orchestratord.toml",
        "description": "Settings of orchestratord. A flag goes before a variable, a variable before \
                        this file, and the file before the default.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions,
    })
}

fn property(flag: &clap::Arg) -> Value {
    let mut property = kind(flag);
    bound(flag.get_id().as_str(), &mut property);
    if let Some(help) = flag.get_help() {
        property["description"] = help.to_string().into();
    }
    if let [default] = flag.get_default_values() {
        let default = default.to_string_lossy();
        property["default"] = match (&property["type"], default.parse::<u64>()) {
            (Value::String(kind), Ok(number)) if kind == "integer" => number.into(),
            _ => default.into(),
        };
    }
    property
}

fn bound(key: &str, property: &mut Value) {
    if let Some(bounds) = bounds::of(key) {
        property["minimum"] = (*bounds.start()).into();
        property["maximum"] = (*bounds.end()).into();
    }
}

fn kind(flag: &clap::Arg) -> Value {
    let choices: Vec<String> = flag
        .get_possible_values()
        .iter()
        .map(|choice| choice.get_name().to_owned())
        .collect();
    if !choices.is_empty() {
        return json!({"type": "string", "enum": choices});
    }
    let parser = flag.get_value_parser().type_id();
    let is = |other: ValueParser| other.type_id() == parser;
    let integer = |max: u64| json!({"type": "integer", "minimum": 0, "maximum": max});
    if is(clap::value_parser!(u16).into()) {
        integer(u16::MAX.into())
    } else if is(clap::value_parser!(u32).into()) {
        integer(u32::MAX.into())
    } else if is(clap::value_parser!(u64).into()) || is(clap::value_parser!(usize).into()) {
        integer(bounds::MAX)
    } else {
        // What is written as text may be a number, as amounts are, or a list of texts.
        json!({"type": ["string", "number", "array"], "items": {"type": "string"}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_with_its_kind_and_default() {
        let schema = settings();
        let properties = schema["properties"].as_object().unwrap();
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{key}");
        }
        assert_eq!(properties["admission_capacity"]["type"], "integer");
        assert_eq!(properties["admission_capacity"]["default"], 16);
        assert_eq!(
            properties["admission_policy"]["enum"],
            json!(["reject", "drop-lru"])
        );
        for slots in [
            &properties["slots"],
            &properties["pool"]["items"]["properties"]["slots"],
        ] {
            assert_eq!(
                (&slots["minimum"], &slots["maximum"]),
                (&json!(1), &json!(4096))
            );
        }
        assert_eq!(properties["addr"]["default"], "127.0.0.1:8080");
        assert_eq!(
            properties["pool"]["items"]["required"],
            json!(["id", "engine"])
        );
    }
}
