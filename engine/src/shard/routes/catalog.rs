//! Models of the catalog: register, show, verify, retire, remove.
//!
//! What is asked about is read from the catalog as published; what changes it waits for the disk.

use std::sync::Arc;

use super::{Call, Outcome, Reply, later};
use crate::{
    api::{
        self,
        catalog::{ModelSpec, StateRequest, TrustPolicy},
        error::ApiError,
    },
    logs,
    shard::Shard,
    shared::catalog::Model,
    store::{catalog, verification::Verification},
};

/// `POST /v2/catalog/models`.
pub(super) fn register(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let policy = TrustPolicy::parse(call.request.fields.get("x-trust-policy"))?;
    let spec = ModelSpec::parse(&call.body)?;
    let answered = shard
        .shared
        .store
        .ask(move |books| catalog::register(books, spec, policy))?;
    let log = change(call, "register");
    Ok(later(answered, move |model: Arc<Model>| {
        log(&model.spec.id);
        Reply::json(201, &model.view())
    }))
}

/// `GET /v2/catalog/models/{id}`.
pub(super) fn show(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let model = find(shard, call)?;
    Ok(Outcome::Reply(Reply::json(200, &model.view())))
}

/// `POST /v2/catalog/models/{id}/verify`.
pub(super) fn verify(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let model = find(shard, call)?;
    shard.shared.store.verify(Verification {
        models: shard.shared.limits().models(),
        spec: model.spec.clone(),
        engine: engine(shard, &model),
    })?;
    change(call, "verify")(&model.spec.id);
    Ok(Outcome::Reply(Reply::json(202, &model.view())))
}

/// `POST /v2/catalog/models/{id}/state`.
pub(super) fn set_state(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let id = model_id(call);
    let request: StateRequest = api::parse(&call.body)?;
    let answered = shard
        .shared
        .store
        .ask(move |books| catalog::set_state(books, &id, request))?;
    let log = change(call, "state");
    Ok(later(answered, move |model: Arc<Model>| {
        log(&model.spec.id);
        Reply::json(202, &model.view())
    }))
}

/// `DELETE /v2/catalog/models/{id}`.
pub(super) fn remove(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let id = model_id(call);
    let removed = id.clone();
    let answered = shard
        .shared
        .store
        .ask(move |books| catalog::remove(books, &id))?;
    let log = change(call, "remove");
    Ok(later(answered, move |()| {
        log(&removed);
        Reply::empty(204)
    }))
}

fn model_id(call: &Call) -> String {
    call.segment(3).into_owned()
}

fn find(shard: &Shard, call: &Call) -> Result<Arc<Model>, ApiError> {
    let catalog = shard.shared.store.catalog();
    let model = catalog.model(&model_id(call)).map(Arc::clone);
    model.ok_or_else(catalog::model_not_found)
}

/// The engine of the pool that serves the model.
fn engine(shard: &Shard, model: &Model) -> &'static str {
    let (catalog, pools) = (shard.shared.store.catalog(), shard.shared.pools());
    let mut pools = pools.pools.iter();
    let serving = pools.find(|pool| catalog.means(&model.spec.id, pool));
    serving.map_or("", |pool| pool.engine)
}

/// Writes the line about a change of the catalog, once it is made.
fn change(call: &Call, what: &'static str) -> impl Fn(&str) + 'static {
    let (identity, correlation_id) = (call.caller().identity.clone(), call.correlation_id.clone());
    move |model_id| logs::catalog_changed(what, model_id, &identity, &correlation_id)
}
