//! The models that the daemon knows of, as published: admission reads this and never the disk.
//!
//! A `model_ref` that is the id of a model means that model, and its source says which pool serves
//! it. Any other reference means what a pool serves, and so every model of the same source: retired
//! under one name, it can't be had under another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::snapshot::Pool;
use crate::api::catalog::{ModelSpec, ModelState, ModelView, TrustPolicy, Verdict};

/// A registered model, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    /// What was registered.
    pub spec: ModelSpec,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// See [`ModelState`].
    pub state: ModelState,
    /// From when on a retired one is refused, in milliseconds since 1970.
    pub retires_ms: Option<u64>,
    /// When its file was last hashed, in milliseconds since 1970.
    pub last_verified_ms: Option<u64>,
    /// What the last look at its file came to.
    pub verdict: Option<Verdict>,
    /// Whether a key that is trusted now has signed its digest; the keys may be others after a
    /// restart.
    #[serde(skip)]
    pub signed: bool,
}

/// Why a task may not use a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It was retired.
    Retired,
    /// Its file is not what its digest says.
    Mismatch,
    /// Its policy is strict and nobody trusted has signed it.
    Unsigned,
}

impl Model {
    /// Why tasks may not use it at this time, if they may not.
    pub fn unusable(&self, now_ms: u64) -> Option<Unusable> {
        let retired = self.state == ModelState::Retired;
        if retired && self.retires_ms.is_none_or(|retires| retires <= now_ms) {
            return Some(Unusable::Retired);
        }
        if self.verdict == Some(Verdict::Mismatch) {
            return Some(Unusable::Mismatch);
        }
        let strict = self.spec.trust_policy == TrustPolicy::Strict;
        (strict && !self.signed).then_some(Unusable::Unsigned)
    }

    /// As callers read it.
    pub fn view(&self) -> ModelView<'_> {
        let spec = &self.spec;
        ModelView {
            id: &spec.id,
            digest: spec.digest,
            source_url: spec.source_url.as_deref(),
            tags: &spec.tags,
            manifests: &spec.manifests,
            signatures: &spec.signatures,
            sbom: spec.sbom.as_ref(),
            trust_policy: spec.trust_policy,
            state: self.state,
            retires_ms: self.retires_ms,
            created_ms: self.created_ms,
            last_verified_ms: self.last_verified_ms,
            verdict: self.verdict,
            signed: self.signed,
        }
    }
}

/// All models. A change makes a new one, which shares what did not change.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    models: BTreeMap<String, Arc<Model>>,
    /// Ids by source.
    sources: HashMap<String, Vec<String>>,
    /// Looks at files so far, by what they came to and the engine of the pool that serves the model.
    pub verifications: BTreeMap<(Verdict, &'static str), u64>,
}

impl Catalog {
    /// The model of that id.
    pub fn model(&self, id: &str) -> Option<&Arc<Model>> {
        self.models.get(id)
    }

    /// Every model, by its id.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Puts a model in, in the place of one of the same id.
    pub fn put(&mut self, model: Arc<Model>) {
        self.remove(&model.spec.id);
        if let Some(source) = &model.spec.source_url {
            let ids = self.sources.entry(source.clone()).or_default();
            ids.push(model.spec.id.clone());
        }
        self.models.insert(model.spec.id.clone(), model);
    }

    /// Takes a model out.
    pub fn remove(&mut self, id: &str) {
        let removed = self.models.remove(id);
        let Some(source) = removed.and_then(|model| model.spec.source_url.clone()) else {
            return;
        };
        if let Some(ids) = self.sources.get_mut(&source) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.sources.remove(&source);
            }
        }
    }

    /// Whether the pool serves what the reference means.
    pub fn means(&self, model_ref: &str, pool: &Pool) -> bool {
        let source = || self.model(model_ref)?.spec.source_url.as_deref();
        pool.serves(model_ref) || source().is_some_and(|source| pool.serves(source))
    }

    /// Why a task may not use what the reference means on this pool, if it may not.
    pub fn unusable(&self, model_ref: &str, pool: &Pool, now_ms: u64) -> Option<Unusable> {
        if self.is_empty() {
            return None;
        }
        if let Some(model) = self.model(model_ref) {
            return model.unusable(now_ms);
        }
        let names = std::iter::once(&pool.model).chain(&pool.model_aliases);
        names
            .flat_map(|name| self.named(name))
            .find_map(|model| model.unusable(now_ms))
    }

    /// Models of that id or source.
    fn named(&self, name: &str) -> impl Iterator<Item = &Arc<Model>> {
        let of_source = self.sources.get(name).into_iter().flatten();
        let of_source = of_source.filter_map(|id| self.models.get(id));
        self.models.get(name).into_iter().chain(of_source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, source: Option<&str>) -> Model {
        let body = serde_json::json!({"id": id, "source_url": source});
        Model {
            spec: ModelSpec::parse(body.to_string().as_bytes()).unwrap(),
            created_ms: 0,
            state: ModelState::Active,
            retires_ms: None,
            last_verified_ms: None,
            verdict: None,
            signed: false,
        }
    }

    #[test]
    fn a_retirement_takes_effect_at_its_deadline() {
        let retired = Model {
            state: ModelState::Retired,
            retires_ms: Some(1000),
            ..model("tale", None)
        };
        assert_eq!(retired.unusable(999), None);
        assert_eq!(retired.unusable(1000), Some(Unusable::Retired));
    }

    #[test]
    fn only_a_mismatch_makes_a_looked_at_model_unusable() {
        let after = |verdict| {
            let looked_at = Model {
                verdict: Some(verdict),
                ..model("tale", None)
            };
            looked_at.unusable(0)
        };
        assert_eq!(after(Verdict::Verified), None);
        assert_eq!(after(Verdict::Unreadable), None);
        assert_eq!(after(Verdict::Mismatch), Some(Unusable::Mismatch));
    }

    #[test]
    fn a_strict_model_needs_a_signature_that_counts_now() {
        let mut strict = model("tale", None);
        strict.spec.trust_policy = TrustPolicy::Strict;
        assert_eq!(strict.unusable(0), Some(Unusable::Unsigned));
        strict.signed = true;
        assert_eq!(strict.unusable(0), None);
    }

    #[test]
    fn a_model_that_goes_takes_its_source_with_it() {
        let mut catalog = Catalog::default();
        catalog.put(Arc::new(model("tale", Some("file:/t.gguf"))));
        catalog.put(Arc::new(model("fable", Some("file:/t.gguf"))));
        assert_eq!(catalog.named("file:/t.gguf").count(), 2);
        catalog.put(Arc::new(model("fable", None)));
        assert_eq!(catalog.named("file:/t.gguf").count(), 1);
        catalog.remove("tale");
        assert_eq!(catalog.named("file:/t.gguf").count(), 0);
        assert_eq!(catalog.len(), 1);
    }
}
