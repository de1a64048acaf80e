//! Another caller's things: tried on every route that names one, and answered as if there were none.
//!
//! The routes are those of `/openapi.json`. A route of which nobody has said here whose things it names is a breach, so that none
//! is forgotten. Whatever Ben does, Ann's things are afterwards as they were.

use std::time::Instant;

use orchestratord_bench::Failure;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::findings::{Findings, require};
use crate::request::bare;
use crate::stage::Stage;
use crate::things::{ABSENT, SESSION, Things};
use crate::wire::{Answer, Wire};

pub(crate) fn play(stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
    let callers = [("ann", "data"), ("ben", "data"), ("olga", "data,control")];
    let (file, keys) = stage.keys("strangers", &callers)?;
    let arguments = [
        "--engine=mock",
        "--slots=1",
        "--mock-tokens-per-s=100",
        "--finished-tasks-max=1",
        "--transcripts=full",
        "--keys",
        &file,
    ];
    let victim = stage.daemon("strangers", "json", &arguments)?;
    let mut callers = keys.into_iter().map(|key| Caller {
        addr: victim.addr,
        key,
    });
    let (Some(ann), Some(ben), Some(olga)) = (callers.next(), callers.next(), callers.next())
    else {
        return Err(Failure("three keys were made".to_owned()));
    };
    let things = Things::of(&ann)?;
    let before = things.states(&ann)?;
    let routes = ann.get("/openapi.json")?.json();
    for (method, path) in routes_with_ids(&routes) {
        routes_tell_nothing(&method, &path, &ben, &things, findings);
    }
    for (state, task) in &things.tasks {
        findings.tried(
            &format!("the id of a {state} task"),
            takes_no_id(&ann, &ben, task),
        );
        findings.tried(
            &format!("a {state} task for an operator"),
            olga.sees(&format!("/v2/tasks/{task}")),
        );
    }
    findings.tried(
        "a session for an operator",
        olga.sees(&format!("/v2/sessions/{SESSION}")),
    );
    findings.tried(
        "an artifact for an operator",
        olga.sees(&format!("/v2/artifacts/{}", things.artifact)),
    );
    findings.tried(
        "a list from another's cursor",
        lists_own(&ann, &ben, &things),
    );
    findings.tried("a session of the same name", has_own_session(&ann, &ben));
    findings.tried("a parent that is another's", tells_no_parent(&ben, &things));
    let after = things.states(&ann)?;
    findings.tried(
        "all of it",
        require(before == after, || {
            format!("what was {before:?} is {after:?}")
        }),
    );
    tell_timing(&ben, &things)
}

/// Each method of each path that names something.
fn routes_with_ids(routes: &Value) -> Vec<(String, String)> {
    let paths = routes["paths"].as_object().into_iter().flatten();
    let with_ids = paths.filter(|(path, _)| path.contains('{'));
    let methods = with_ids.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        let methods = methods.map(|(method, _)| method.to_uppercase());
        methods
            .filter(|method| method != "PARAMETERS")
            .map(move |method| (method, path.clone()))
    });
    methods
        .flat_map(|(method, path)| {
            let head = (method == "GET").then(|| ("HEAD".to_owned(), path.clone()));
            head.into_iter().chain([(method, path)])
        })
        .collect()
}

fn routes_tell_nothing(
    method: &str,
    path: &str,
    ben: &Caller,
    things: &Things,
    findings: &mut Findings,
) {
    let name = format!("{method} {path}");
    let Some(behind) = things.behind(path) else {
        let unknown = Err(Failure("nobody has said whose its things are".to_owned()));
        return findings.tried(&name, unknown);
    };
    for (known, absent) in behind {
        for more in [
            &[][..],
            &[("Last-Event-ID", "0")],
            &[("Last-Event-ID", "x")],
        ] {
            findings.tried(&name, looks_absent(method, path, ben, known, &absent, more));
        }
    }
}

fn looks_absent(
    method: &str,
    path: &str,
    ben: &Caller,
    known: &str,
    absent: &str,
    more: &[(&str, &str)],
) -> Result<(), Failure> {
    let Some((start, rest)) = path.split_once('{') else {
        return Ok(());
    };
    let end = rest.split_once('}').map_or("", |(_, end)| end);
    let ask = |id: &str| -> Result<_, Failure> {
        let answer = Wire::open(ben.addr)?.ask_for(
            method,
            &bare(
                method,
                &format!("{start}{id}{end}"),
                &[&[("X-API-Key", &*ben.key)], more].concat(),
            ),
        )?;
        Ok(comparable(answer, id))
    };
    let (known, absent) = (ask(known)?, ask(absent)?);
    require(known == absent, || {
        format!("another's was answered {known:?}, and none {absent:?}")
    })
}

/// Without the id that was asked for, and what differs from one request to the next.
fn comparable(answer: Answer, id: &str) -> (u16, Vec<(String, String)>, Value) {
    let shown = |text: &str| text.replace(id, "ID");
    let changing = ["date", "x-correlation-id"];
    let mut body: Value =
        serde_json::from_str(&shown(&String::from_utf8_lossy(&answer.body))).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("correlation_id");
    }
    let fields = answer
        .fields
        .iter()
        .filter(|(name, _)| !changing.contains(&&*name.to_lowercase()));
    let fields = fields.map(|(name, value)| (name.clone(), shown(&String::from_utf8_lossy(value))));
    (answer.status, fields.collect(), body)
}

/// Who takes an id that is another's learns that it is taken, as of their own, and nothing else; also with the very
/// request that made it.
fn takes_no_id(ann: &Caller, ben: &Caller, taken: &str) -> Result<(), Failure> {
    let task = |id: &str, tokens: u32| json!({"task_id": id, "model_ref": "mock", "prompt": "Ann's own", "max_tokens": tokens});
    let own = ben.enqueue(&task(&uuid_like(taken), 1))?;
    let of_own = comparable(ben.post("/v2/tasks", &task(&own, 2))?, &own);
    for tokens in [1, 20_000] {
        let of_another = comparable(ben.post("/v2/tasks", &task(taken, tokens))?, taken);
        require(of_own.0 == 409 && of_own == of_another, || {
            format!("another's was answered {of_another:?}, and one's own {of_own:?}")
        })?;
    }
    require(ann.state(taken)?["task_id"] == taken, || {
        "its owner does not see it any more".to_owned()
    })
}

/// An id that nobody has: the same with its end turned around.
fn uuid_like(id: &str) -> String {
    let (start, end) = id.split_at(id.len() - 12);
    start.chars().chain(end.chars().rev()).collect()
}

fn lists_own(ann: &Caller, ben: &Caller, things: &Things) -> Result<(), Failure> {
    let page = ann.get("/v2/tasks?limit=1")?.json();
    let cursor = page["next_cursor"].as_str().unwrap_or_default();
    require(!cursor.is_empty(), || {
        format!("a page of two has no cursor: {page}")
    })?;
    for target in [
        "/v2/tasks".to_owned(),
        format!("/v2/tasks?cursor={cursor}"),
        "/v2/tasks?state=running&pool=default".to_owned(),
    ] {
        let listed = ben.get(&target)?.json().to_string();
        let told = things.tasks.iter().find(|(_, task)| listed.contains(task));
        require(told.is_none(), || format!("{target} tells of {told:?}"))?;
    }
    Ok(())
}

fn has_own_session(ann: &Caller, ben: &Caller) -> Result<(), Failure> {
    let turns = |caller: &Caller| -> Result<Value, Failure> {
        Ok(caller.get(&format!("/v2/sessions/{SESSION}"))?.json()["turns"].clone())
    };
    let before = turns(ann)?;
    ben.enqueue(&json!({"model_ref": "mock", "prompt": "Ben's own", "max_tokens": 1, "session_id": SESSION}))?;
    let (own, others) = (turns(ben)?, turns(ann)?);
    require(own == 1 && others == before, || {
        format!("Ben's has {own} turns, and Ann's {others} and not {before}")
    })
}

fn tells_no_parent(ben: &Caller, things: &Things) -> Result<(), Failure> {
    let store = |parent: &str| -> Result<_, Failure> {
        let artifact = json!({"kind": "other", "content": "Ben's own", "parent": parent});
        let answer = ben.post("/v2/artifacts", &artifact)?;
        let code = answer.json()["code"].clone();
        Ok((answer.status, code))
    };
    let (known, absent) = (
        store(&things.artifact)?,
        store(&"0".repeat(things.artifact.len()))?,
    );
    require(known == absent, || {
        format!("another's was answered {known:?}, and none {absent:?}")
    })
}

/// How long an answer takes is told and not judged: it depends on the machine.
fn tell_timing(ben: &Caller, things: &Things) -> Result<(), Failure> {
    let mut all = vec![("absent", ABSENT)];
    all.extend(things.tasks.iter().map(|(state, task)| (*state, &**task)));
    for (state, task) in all {
        let mut wire = Wire::open(ben.addr)?;
        let request = bare(
            "GET",
            &format!("/v2/tasks/{task}"),
            &[("X-API-Key", &ben.key)],
        );
        let mut took = (0..101)
            .map(|_| {
                let began = Instant::now();
                wire.ask(&request).map(|_| began.elapsed())
            })
            .collect::<Result<Vec<_>, _>>()?;
        took.sort_unstable();
        println!(
            "           404 of a task that is {state} takes {:.2} ms",
            took[50].as_secs_f64() * 1e3
        );
    }
    Ok(())
}
