//! What a scraper is told of the models.

use std::collections::BTreeMap;

use super::{Page, escaped};
use crate::{
    api::catalog::ModelState,
    shared::{catalog::Catalog, snapshot::Snapshot},
};

/// Models that pools serve and those of the catalog; the catalog knows better.
pub(super) fn models(page: &mut Page, snapshot: &Snapshot, catalog: &Catalog) {
    let help = "1 for the state that the model is in.";
    page.gauge("model_state", help, |sample| {
        let served = snapshot.pools.iter().map(|pool| pool.model.as_str());
        let mut states: BTreeMap<&str, ModelState> =
            served.map(|model| (model, ModelState::Active)).collect();
        states.extend(
            catalog
                .models()
                .map(|model| (model.spec.id.as_str(), model.state)),
        );
        for (model, state) in states {
            let labels = format!("model_id=\"{}\",state=\"{state}\"", escaped(model));
            sample(&labels, 1);
        }
    });
}

/// Looks at models' files, by what they came to.
pub(super) fn verifications(page: &mut Page, catalog: &Catalog) {
    let help = "Models' files compared with their digests.";
    page.counter("catalog_verifications_total", help, |sample| {
        for ((verdict, engine), count) in &catalog.verifications {
            let (result, reason) = verdict.labels();
            let labels = format!("result=\"{result}\",reason=\"{reason}\",engine=\"{engine}\"");
            sample(&labels, *count);
        }
    });
}
