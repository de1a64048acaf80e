//! Plain requests and what is claimed about their answers.

use cucumber::gherkin::Step;
use cucumber::{given, then, when};
use serde_json::{Map, Value, json};

use crate::claim::{Claim, eventually};
use crate::client::{self, Answer};
use crate::expectation::Expectations;
use crate::world::World;

#[given(regex = r"^every request carries ([\w-]+): (.+)$")]
fn carry(world: &mut World, name: String, value: String) {
    world.carried.push((name, value));
}

#[given(regex = r"^(the client|[A-Z][a-z]+) sends (GET|HEAD|POST|PUT|DELETE) (/\S*)$")]
#[when(regex = r"^(the client|[A-Z][a-z]+) sends (GET|HEAD|POST|PUT|DELETE) (/\S*)$")]
fn send(world: &mut World, caller: String, method: String, path: String, #[step] step: &Step) {
    let request = world
        .compose(&caller, &method, &path, step.docstring.as_deref())
        .holds();
    world.send(request).holds();
}

/// The next page begins where the last one has said.
#[when(regex = r"^(the client|[A-Z][a-z]+) turns the page with GET (/\S+)$")]
fn turn_page(world: &mut World, caller: String, path: String) {
    let page = world.answer().and_then(Answer::json).holds();
    let cursor = page["next_cursor"].as_str();
    let cursor = cursor.ok_or("the last answer names no next page").holds();
    let path = format!("{path}&cursor={cursor}");
    let request = world.compose(&caller, "GET", &path, None).holds();
    world.send(request).holds();
}

#[when(regex = r"^the client stores an artifact of (\d+) bytes$")]
fn store_artifact(world: &mut World, bytes: usize) {
    let body = json!({"kind": "other", "content": "x".repeat(bytes)}).to_string();
    let request = world.compose("the client", "POST", "/v2/artifacts", Some(&body));
    world.send(request.holds()).holds();
}

#[when("the client sends the same again")]
fn send_again(world: &mut World) {
    let request = world.request.clone();
    world
        .send(request.ok_or("nothing has been sent yet").holds())
        .holds();
}

#[when(regex = r"^the client sends a task whose prompt has (\d+) characters$")]
fn send_long_task(world: &mut World, characters: usize) {
    let task = json!({"model_ref": "mock", "prompt": "a".repeat(characters), "max_tokens": 4});
    let request = world.compose("the client", "POST", "/v2/tasks", Some(&task.to_string()));
    let request = request.holds();
    world.send(request).holds();
}

/// A task that has been accepted is called `{task}`, or by the name that the step gives it.
#[given(regex = r"^(the client|[A-Z][a-z]+) enqueues (?:a task|the task ([a-z]+))$")]
#[when(regex = r"^(the client|[A-Z][a-z]+) enqueues (?:a task|the task ([a-z]+))$")]
fn enqueue(world: &mut World, caller: String, name: String, #[step] step: &Step) {
    let request = world.compose_task(&caller, step).holds();
    let answer = world.send(request).holds();
    if answer.status == 202 {
        let task = answer.json().holds()["task_id"].as_str().map(str::to_owned);
        let task = task.ok_or("a 202 names no task_id").holds();
        let name = if name.is_empty() { "task" } else { &name };
        world.words.insert(name.to_owned(), task);
    }
}

#[given(regex = r"^([A-Z][a-z]+) floods the queue with (\d+) tasks$")]
fn flood(world: &mut World, caller: String, tasks: usize, #[step] step: &Step) {
    let request = world.compose_task(&caller, step).holds();
    for _ in 0..tasks {
        let answer = world.send(request.clone()).holds();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

#[given(regex = r"^(the client|[A-Z][a-z]+) enqueues tasks until one is answered (\d+)$")]
#[when(regex = r"^(the client|[A-Z][a-z]+) enqueues tasks until one is answered (\d+)$")]
fn enqueue_until(world: &mut World, caller: String, status: u16, #[step] step: &Step) {
    let request = world.compose_task(&caller, step).holds();
    let answered = eventually(|| match world.send(request.clone())? {
        answer if answer.status == status => Ok(()),
        answer => Err(format!("tasks are still answered {}", answer.status)),
    });
    answered.holds();
}

#[then(regex = r"^the answer is (\d+)(?: ([A-Z_]+))?$")]
fn answered(world: &mut World, status: u16, code: String) {
    check_answer(world, status, &code).holds();
}

/// Beside its status: any answer is traceable, and any error has the contract's one shape.
pub(super) fn check_answer(world: &World, status: u16, code: &str) -> Result<(), String> {
    let answer = world.answer()?;
    let text = answer.text();
    if answer.status != status {
        return Err(format!("the answer is {}: {text}", answer.status));
    }
    let traced = answer.header("x-correlation-id");
    let traced = traced.ok_or("the answer carries no X-Correlation-Id")?;
    let mut carried = world.carried.iter();
    let asked = carried.find(|(name, _)| name == "X-Correlation-Id");
    if asked.is_some_and(|(_, id)| id != traced) {
        return Err(format!("the answer is traced as {traced}"));
    }
    if status < 400 {
        return Ok(());
    }
    if text.contains(&world.words["dir"]) {
        return Err(format!("an error tells paths: {text}"));
    }
    check_error(answer, code, traced)
}

fn check_error(answer: &Answer, code: &str, correlation_id: &str) -> Result<(), String> {
    let content_type = answer.header("content-type").unwrap_or_default();
    if !content_type.starts_with("application/json") {
        return Err(format!("an error is JSON, not `{content_type}`"));
    }
    let quoted = |text: &str| Value::from(text).to_string();
    let code = if code.is_empty() {
        "a text".to_owned()
    } else {
        quoted(code)
    };
    let row = |path: &str, cell: &str| vec![path.to_owned(), cell.to_owned()];
    let shape = [
        row("code", &code),
        row("message", "a text"),
        row("retriable", "true or false"),
        row("correlation_id", &quoted(correlation_id)),
    ];
    Expectations::read(&shape)?.check(&answer.json()?)
}

#[then("the answer is the same as before")]
fn same_answer(world: &mut World) {
    let [.., before, last] = world.answers.as_slice() else {
        panic!("there are no two answers to compare");
    };
    assert_eq!((last.status, last.json()), (before.status, before.json()));
}

#[then("the body holds")]
fn body_holds(world: &mut World, step: &Step) {
    let body = world.answer().and_then(Answer::json).holds();
    world.expectations(step).holds().check(&body).holds();
}

#[then("the body is empty")]
fn body_is_empty(world: &mut World) {
    let answer = world.answer().holds();
    assert!(answer.body.is_empty(), "{}", answer.text());
}

/// Fields are looked up in lower case; a value made of digits counts as a number.
#[then("the headers hold")]
fn headers_hold(world: &mut World, step: &Step) {
    let typed = |value: &str| {
        value
            .parse::<u64>()
            .map_or_else(|_| value.into(), Value::from)
    };
    let fields = world.answer().holds().headers.iter();
    let fields = fields.map(|(name, value)| (name.to_lowercase(), typed(value)));
    let headers = Value::Object(fields.collect::<Map<_, _>>());
    let mut rows = world.rows(step).holds();
    rows.iter_mut()
        .for_each(|row| row[0].make_ascii_lowercase());
    let expected = Expectations::read(&rows).holds();
    expected.check(&headers).holds();
}

#[given(regex = r"^GET (/\S*)(?: by ([A-Z][a-z]+))? comes to hold$")]
#[then(regex = r"^GET (/\S*)(?: by ([A-Z][a-z]+))? comes to hold$")]
fn comes_to_hold(world: &mut World, path: String, caller: String, #[step] step: &Step) {
    let addr = world.addr().holds();
    let request = world.compose(&caller, "GET", &path, None).holds();
    let expected = world.expectations(step).holds();
    eventually(|| expected.check(&client::send(addr, &request)?.json()?)).holds();
}

/// What a scanner would send: values that break out of quotes, lines and numbers, no two alike.
#[when(regex = r"^the client sends (\d+) requests with odd names for everything$")]
fn send_odd(world: &mut World, count: usize) {
    for at in 0..count {
        let odd = format!("\"}} 1\n# TYPE evil_{at} counter\n\\{at}\u{1f980}");
        let task = json!({"model_ref": odd, "engine": odd, "prompt": "Hi"});
        let named =
            json!({"model_ref": "mock", "prompt": "Hi", "priority": odd, odd.as_str(): odd});
        let traced = [
            ("X-Correlation-Id".to_owned(), format!("evil\"}}{at}")),
            (
                "traceparent".to_owned(),
                format!("00-{at:032x}-{at:016x}-01"),
            ),
        ];
        for (method, path, body) in [
            ("POST", "/v2/tasks".to_owned(), Some(task.to_string())),
            ("POST", "/v2/tasks".to_owned(), Some(named.to_string())),
            ("GET", format!("/v2/pools/evil%22%7D{at}/health"), None),
            ("GET", format!("/evil%22%7D{at}?{at}={at}"), None),
            ("DELETE", format!("/v2/sessions/evil%22%7D{at}"), None),
        ] {
            let request = world.compose("the client", method, &path, body.as_deref());
            let mut request = request.holds();
            request.headers.extend(traced.clone());
            let answer = world.send(request).holds();
            assert!(answer.status < 500, "{}", answer.text());
        }
    }
}
