//! Pools beside the daemon's own: each of one engine, which registers itself.

use cucumber::gherkin::Step;
use cucumber::given;
use serde_json::{Value, json};

use crate::claim::{Claim, eventually};
use crate::client;
use crate::engine::Engine;
use crate::world::World;

/// It serves the model of the daemon's own pool; its engine's address is called by its name. The rows of the table are put over what its engine
/// says of itself.
#[given(regex = r"^a pool called ([a-z]+)(?: whose engine was started with (--.+))?$")]
fn add(world: &mut World, pool: String, arguments: String, #[step] step: &Step) {
    let engine = Engine::start(world.dir.path(), &pool, &arguments).holds();
    let mut worker = json!({
        "pool_id": pool, "replica_id": "r0", "engine": "openai", "url": engine.url, "slots": 1,
        "model_ref": world.words.get("model"),
    });
    for field in world.rows(step).holds() {
        let [name, value] = field.as_slice() else {
            panic!("a field is | name | JSON |, not {field:?}");
        };
        worker[name] = serde_json::from_str::<Value>(value)
            .map_err(|_| format!("{name}: `{value}` is not JSON"))
            .holds();
    }
    let body = Some(worker.to_string());
    let request = world.compose(
        "the client",
        "POST",
        "/v2/workers/register",
        body.as_deref(),
    );
    let answer = world.send(request.holds()).holds();
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.words.insert(pool.clone(), engine.url.clone());
    world.engines.insert(pool.clone(), engine);
    let (addr, health) = (world.addr().holds(), format!("/v2/pools/{pool}/health"));
    let is_ready = eventually(|| match client::get(addr, &health)?.json()? {
        health if health["ready"] == true => Ok(()),
        health => Err(format!("{pool} is not ready: {health}")),
    });
    is_ready.holds();
}
