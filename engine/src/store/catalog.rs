//! Changes of the catalog: register, retire, record what a look at a file came to, remove.

use std::sync::Arc;

use super::{
    Fault,
    books::{Books, MODELS},
    settings::StoreSettings,
    verification::Looked,
};
use crate::{
    api::{
        self,
        catalog::{ModelSpec, ModelState, StateRequest, TrustPolicy, Verdict},
        error::{ApiError, Code},
    },
    shared::catalog::Model,
};

/// Models that the catalog holds: each is a series of a metric, and all are in memory.
const MODELS_MAX: usize = 1000;

/// Whether a key that is trusted now has signed the model's digest.
pub fn is_signed(spec: &ModelSpec, settings: &StoreSettings) -> bool {
    spec.digest
        .is_some_and(|digest| settings.trusted.vouch(&digest, &spec.signatures))
}

/// The sentence for a model that doesn't exist.
pub fn model_not_found() -> ApiError {
    ApiError::new(Code::ModelNotFound, "there is no such model in the catalog")
}

/// Puts a model into the catalog. The same again is answered the same again.
///
/// # Errors
///
/// When the disk fails; within, when the policy asks for a signature that is not there, the id is
/// another model's, or the catalog is full.
pub fn register(
    books: &mut Books<'_>,
    spec: ModelSpec,
    asked: TrustPolicy,
) -> Result<Result<Arc<Model>, ApiError>, Fault> {
    let signed = is_signed(&spec, books.settings);
    let strict = [asked, spec.trust_policy].contains(&TrustPolicy::Strict);
    if strict && !signed {
        return Ok(Err(ApiError::new(
            Code::UntrustedArtifact,
            "the strict trust policy needs an ed25519 signature of `digest` by a key that this \
             daemon trusts (--trusted-keys)",
        )));
    }
    if let Some(model) = books.ledger.catalog.model(&spec.id) {
        let known = Arc::clone(model);
        return Ok(if known.spec == spec {
            Ok(known)
        } else {
            Err(ApiError::new(
                Code::Conflict,
                "`id` is another model's; choose a new one, or delete that one first",
            ))
        });
    }
    if books.ledger.catalog.len() >= MODELS_MAX {
        let message = format!("the catalog holds {MODELS_MAX} models; delete one first");
        return Ok(Err(ApiError::new(Code::Conflict, message)));
    }
    let model = Model {
        spec,
        created_ms: books.now_ms,
        state: ModelState::Active,
        retires_ms: None,
        last_verified_ms: None,
        verdict: None,
        signed,
    };
    put(books, model).map(Ok)
}

/// Retires a model, from a deadline on, or takes it back.
///
/// # Errors
///
/// When the disk fails; within, when there is no such model.
pub fn set_state(
    books: &mut Books<'_>,
    id: &str,
    request: StateRequest,
) -> Result<Result<Arc<Model>, ApiError>, Fault> {
    let Some(model) = books.ledger.catalog.model(id) else {
        return Ok(Err(model_not_found()));
    };
    let retires_ms = books.now_ms.saturating_add(request.deadline_ms);
    let model = Model {
        state: request.state,
        retires_ms: (request.state == ModelState::Retired).then_some(retires_ms),
        ..(**model).clone()
    };
    put(books, model).map(Ok)
}

/// Takes a model out of the catalog.
///
/// # Errors
///
/// When the disk fails; within, when there is no such model.
pub fn remove(books: &mut Books<'_>, id: &str) -> Result<Result<(), ApiError>, Fault> {
    if books.ledger.catalog.model(id).is_none() {
        return Ok(Err(model_not_found()));
    }
    books.write(MODELS)?.remove(id)?;
    Arc::make_mut(&mut books.ledger.catalog).remove(id);
    Ok(Ok(()))
}

/// Records what a look at a model's file came to. One that was replaced meanwhile is left alone:
/// it was another file that was looked at.
///
/// # Errors
///
/// When the disk fails.
pub fn record(books: &mut Books<'_>, looked: &Looked) -> Result<(), Fault> {
    let counts = &mut Arc::make_mut(&mut books.ledger.catalog).verifications;
    *counts.entry((looked.verdict, looked.engine)).or_default() += 1;
    let Some(model) = books.ledger.catalog.model(&looked.spec.id) else {
        return Ok(());
    };
    if model.spec != looked.spec {
        return Ok(());
    }
    let was_hashed = matches!(looked.verdict, Verdict::Verified | Verdict::Mismatch);
    let mut model = (**model).clone();
    if was_hashed {
        model.last_verified_ms = Some(books.now_ms);
    }
    // What can't be looked at is no better than it was.
    if was_hashed || model.verdict != Some(Verdict::Mismatch) {
        model.verdict = Some(looked.verdict);
    }
    put(books, model).map(drop)
}

fn put(books: &mut Books<'_>, model: Model) -> Result<Arc<Model>, Fault> {
    let model = Arc::new(model);
    let bytes = api::json(&*model);
    books
        .write(MODELS)?
        .insert(model.spec.id.as_str(), bytes.as_slice())?;
    Arc::make_mut(&mut books.ledger.catalog).put(Arc::clone(&model));
    Ok(model)
}
