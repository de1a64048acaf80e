//! What an engine is started with: its command line and what is added to its environment.
//!
//! `orchestratord check` prints what this says, and the supervisor starts it: they can't differ.

use std::{collections::BTreeMap, env, ffi::OsString, fmt};

use orchestratord_gpu::command::Blanks;
use schemars::JsonSchema;
use serde::Deserialize;

use super::process::ProcessSettings;
use crate::settings::pool::PoolSettings;

/// Where engines listen: nobody but the daemon is to speak to them.
pub const HOST: &str = "127.0.0.1";
/// The beginning of the names of the daemon's own variables.
const OWN_PREFIX: &str = "ORCHD_";
/// The token with which workers register.
const WORKER_TOKEN: &str = "AUTH_TOKEN";
/// The devices that CUDA shows to a program (NVIDIA, CUDA C++ Programming Guide, "CUDA Environment
/// Variables").
const CUDA_DEVICES: &str = "CUDA_VISIBLE_DEVICES";
/// How CUDA counts them: the fastest first, unless told to count as the driver does, and so do we.
const CUDA_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
/// The devices that HIP shows (AMD, ROCm documentation, "GPU isolation techniques").
const HIP_DEVICES: &str = "HIP_VISIBLE_DEVICES";

/// Variables of an engine's environment that somebody has set. Values may be secrets: they are neither
/// logged nor printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Variables {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The first that no process can have, by its name (environ(7)).
    pub fn impossible(&self) -> Option<&str> {
        let is_possible = |name: &str, value: &str| {
            !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
        };
        let mut variables = self.0.iter();
        let found = variables.find(|(name, value)| !is_possible(name, value));
        found.map(|(name, _)| name.as_str())
    }
}

/// An engine as it is started.
#[derive(Debug)]
pub struct Launch<'p> {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The variables that say which devices it sees; none if nothing was said.
    pub devices: Vec<(&'static str, String)>,
    /// What the settings add to its environment, which counts more.
    pub variables: &'p Variables,
}

impl<'p> Launch<'p> {
    /// The pool's engine of that number, as this replica, with this model, listening on this port.
    pub fn of(
        pool: &PoolSettings,
        process: &'p ProcessSettings,
        model: &str,
        (engine, replica_id): (usize, &str),
        port: &str,
    ) -> Self {
        let devices = pool.device_mask_of(engine).map(|mask| mask.to_string());
        let words = process.command.fill(&Blanks {
            host: HOST,
            port,
            model,
            slots: pool.slots,
            devices: devices.as_deref().unwrap_or_default(),
            pool: &pool.id,
            replica: replica_id,
        });
        let said = &process.variables.0;
        let seen = devices.map_or_else(Vec::new, |mask| {
            let (order, by_bus) = CUDA_ORDER;
            vec![
                (order, by_bus.to_owned()),
                (CUDA_DEVICES, mask.clone()),
                (HIP_DEVICES, mask),
            ]
        });
        Self {
            words,
            devices: seen
                .into_iter()
                .filter(|(name, _)| !said.contains_key(*name))
                .collect(),
            variables: &process.variables,
        }
    }

    /// All that is added to its environment.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let devices = self.devices.iter();
        let said = self.variables.0.iter();
        devices
            .map(|(name, value)| (*name, value.as_str()))
            .chain(said.map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// The variables of our environment that are no engine's business: they hold keys, or settings of ours.
pub fn kept_back() -> impl Iterator<Item = OsString> {
    let names = env::vars_os().map(|(name, _)| name);
    names.filter(|name| {
        name == WORKER_TOKEN || name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes())
    })
}
