//! Where a task wants to run, as callers write it.

use orchestratord_sched::{
    DeviceMask,
    placement::{self, Choice, Fallback, Wish},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiError;

/// Pools that one list may name: each is compared with each pool of the model.
pub const LISTED_MAX: usize = 64;

/// How sure the caller wants to be that the same seed brings the same text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Determinism {
    /// Only pools that are pinned to one version of their engine and of their sampler profile.
    Strict,
    /// Any pool.
    #[default]
    BestEffort,
}

impl From<Determinism> for placement::Determinism {
    fn from(determinism: Determinism) -> Self {
        match determinism {
            Determinism::Strict => Self::Strict,
            Determinism::BestEffort => Self::BestEffort,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Auto,
    Prefer,
    Pin,
}

/// Where a task wants to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacementRequest {
    /// `auto` asks for no pool, `prefer` for one of several, `pin` for just one.
    #[serde(default)]
    mode: Mode,
    /// With `pin`: the pool. It is obeyed or refused, unless `allow_fallback` is sent as true.
    pin_pool_id: Option<String>,
    /// With `prefer`: the first of these that takes the task has it.
    #[serde(default)]
    prefer_pools: Vec<String>,
    /// Pools that take the task only if no other does.
    #[serde(default)]
    avoid_pools: Vec<String>,
    /// The devices that the task may run on, as in `0,2-3`.
    require_device_mask: Option<String>,
    /// Whether the task may go where it did not ask to go; true unless a pool is pinned.
    allow_fallback: Option<bool>,
}

impl PlacementRequest {
    /// The wish, if its parts go together.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn check(self) -> Result<Wish, ApiError> {
        for (field, pools) in [
            ("prefer_pools", &self.prefer_pools),
            ("avoid_pools", &self.avoid_pools),
        ] {
            if pools.len() > LISTED_MAX {
                return Err(invalid(
                    field,
                    &format!("names more than {LISTED_MAX} pools"),
                ));
            }
        }
        let choice = choice(self.mode, self.pin_pool_id, self.prefer_pools)?;
        let asked_for = match &choice {
            Choice::Auto => &[],
            Choice::Prefer(pools) => pools.as_slice(),
            Choice::Pin(pool) => std::slice::from_ref(pool),
        };
        if self.avoid_pools.iter().any(|pool| asked_for.contains(pool)) {
            return Err(invalid("avoid_pools", "names a pool that is asked for"));
        }
        Ok(Wish {
            choice,
            avoid: self.avoid_pools,
            device_mask: self.require_device_mask.map(devices).transpose()?,
            fallback: match self.allow_fallback {
                None => Fallback::Unsaid,
                Some(true) => Fallback::Allowed,
                Some(false) => Fallback::Forbidden,
            },
        })
    }
}

fn choice(
    mode: Mode,
    pin_pool_id: Option<String>,
    prefer_pools: Vec<String>,
) -> Result<Choice, ApiError> {
    match (mode, pin_pool_id, prefer_pools.is_empty()) {
        (Mode::Auto, None, true) => Ok(Choice::Auto),
        (Mode::Prefer, None, false) => Ok(Choice::Prefer(prefer_pools)),
        (Mode::Pin, Some(pool), true) => Ok(Choice::Pin(pool)),
        (Mode::Prefer, None, true) => Err(invalid("prefer_pools", "is needed with `mode` prefer")),
        (Mode::Pin, None, _) => Err(invalid("pin_pool_id", "is needed with `mode` pin")),
        (Mode::Auto | Mode::Prefer, Some(_), _) => {
            Err(invalid("pin_pool_id", "goes with `mode` pin only"))
        }
        (Mode::Auto | Mode::Pin, _, false) => {
            Err(invalid("prefer_pools", "goes with `mode` prefer only"))
        }
    }
}

fn devices(mask: String) -> Result<DeviceMask, ApiError> {
    let parsed = mask.parse::<DeviceMask>();
    parsed.map_err(|bad| invalid("require_device_mask", &format!("can't be read: {bad}")))
}

fn invalid(field: &str, problem: &str) -> ApiError {
    ApiError::invalid(format!("`placement.{field}` {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Wish, ApiError> {
        super::super::parse::<PlacementRequest>(json.as_bytes())?.check()
    }

    #[test]
    fn nothing_said_is_nothing_wished() {
        assert_eq!(parse("{}").unwrap(), Wish::default());
    }

    #[test]
    fn a_whole_wish_is_read() {
        let wish = parse(
            r#"{"mode":"prefer","prefer_pools":["a","b"],"avoid_pools":["c"],
                "require_device_mask":"0-1","allow_fallback":false}"#,
        );
        let expected = Wish {
            choice: Choice::Prefer(vec!["a".to_owned(), "b".to_owned()]),
            avoid: vec!["c".to_owned()],
            device_mask: "0,1".parse().ok(),
            fallback: Fallback::Forbidden,
        };
        assert_eq!(wish.unwrap(), expected);
        let pin = parse(r#"{"mode":"pin","pin_pool_id":"a","allow_fallback":true}"#).unwrap();
        assert_eq!(pin.choice, Choice::Pin("a".to_owned()));
        assert_eq!(pin.fallback, Fallback::Allowed);
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let check = |json: &str, field: &str| {
            let message = parse(json).unwrap_err().message;
            assert!(message.contains(field), "{json}: {message}");
        };
        check(r#"{"mode":"pin"}"#, "pin_pool_id");
        check(r#"{"pin_pool_id":"a"}"#, "pin_pool_id");
        check(
            r#"{"mode":"prefer","prefer_pools":["b"],"pin_pool_id":"a"}"#,
            "pin_pool_id",
        );
        check(r#"{"mode":"prefer"}"#, "prefer_pools");
        check(r#"{"prefer_pools":["a"]}"#, "prefer_pools");
        check(
            r#"{"mode":"pin","pin_pool_id":"a","prefer_pools":["b"]}"#,
            "prefer_pools",
        );
        check(
            r#"{"mode":"pin","pin_pool_id":"a","avoid_pools":["a"]}"#,
            "avoid_pools",
        );
        check(r#"{"require_device_mask":"0x3"}"#, "require_device_mask");
        check(r#"{"mode":"somewhere"}"#, "mode");
        check(r#"{"pin_pool":"a"}"#, "pin_pool");
        let crowd = vec!["a"; LISTED_MAX + 1];
        check(
            &serde_json::json!({"avoid_pools": crowd}).to_string(),
            "avoid_pools",
        );
    }
}
