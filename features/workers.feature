Feature: Workers
  Engines run where their devices are, and come and go. A worker says where its engine listens, and has
  tasks from then on; as long as it says so again it stays. What it may make the daemon call is what the
  operator allows, and nothing else.

  Background:
    Given an engine called alpha

  Scenario: a worker binds its engine and gets tasks
    Given a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "engine_version": "1.2.3", "device_mask": "0", "model_ref": "scripted"}
      """
    Then the answer is 200
    And the body holds
      | ok         | true        |
      | identity   | "localhost" |
      | pool_id    | "gpu"       |
      | replica_id | "w1"        |
    And GET /v2/pools/gpu/health comes to hold
      | ready               | true |
      | metrics.slots_total | 2    |
      | replicas.0.state    | "ready" |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events?verbose=true
    Then each started event of the client holds
      | pool_id    | "gpu" |
      | replica_id | "w1"  |
    And each end event of the client holds
      | tokens_out | 8 |

  Scenario: saying so again changes nothing
    Given a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client sends the same again
    Then the answer is 200
    And GET /v2/pools/gpu/health comes to hold
      | replicas.1          | nothing |
      | metrics.slots_total | 2       |

  Scenario: a worker that says something new is bound anew
    Given a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 5, "model_ref": "scripted"}
      """
    Then the answer is 200
    And GET /v2/pools/gpu/health comes to hold
      | ready               | true    |
      | replicas.1          | nothing |
      | metrics.slots_total | 5       |

  Scenario: a worker that falls silent is unbound
    Given a daemon started with --worker-heartbeat-timeout-ms 300
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    Then the answer is 200
    And GET /v2/pools/gpu/health comes to hold
      | replicas | []    |
      | ready    | false   |
    When the client enqueues a task
      | model_ref | "scripted" |
    Then the answer is 503 POOL_UNAVAILABLE

  Scenario: a text may be as long as it was asked to be
    Given a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref  | "scripted" |
      | max_tokens | 30000      |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 30000 |

  Scenario: a session goes where its last turn was
    Given an engine called beta
    And an engine called slow started with --tokens-per-s 40
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{slow}", "slots": 1, "model_ref": "scripted"}
      """
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w2", "engine": "openai", "url": "{beta}", "slots": 1, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_free | 2 |
    And the client enqueues the task long
      | model_ref  | "scripted" |
      | max_tokens | 4000       |
    And the client enqueues the task first
      | model_ref  | "scripted"                             |
      | session_id | "11111111-2222-4333-8444-555555555555" |
    And the client reads /v2/tasks/{first}/events
    And the client sends POST /v2/tasks/{long}/cancel
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_free | 2 |
    When the client enqueues the task second
      | model_ref  | "scripted"                             |
      | session_id | "11111111-2222-4333-8444-555555555555" |
    Then GET /v2/tasks/{first} comes to hold
      | placement.replica_id | "w2" |
    And GET /v2/tasks/{second} comes to hold
      | placement.replica_id | "w2"        |
      | state                | "completed" |
    When the client enqueues the task third
      | model_ref | "scripted" |
    Then GET /v2/tasks/{third} comes to hold
      | placement.replica_id | "w1" |

  Scenario: a worker that leaves finishes what it has
    Given an engine called slow started with --tokens-per-s 40
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{slow}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref  | "scripted" |
      | max_tokens | 40         |
    And the client opens /v2/tasks/{task}/events
    And the client has received 1 token
    When the client sends DELETE /v2/workers/gpu/w1
    Then the answer is 204
    And GET /v2/pools/gpu/health comes to hold
      | ready | false |
    When the client reads on to the end
    Then each end event of the client holds
      | tokens_out | 40 |
    And GET /v2/pools/gpu/health comes to hold
      | replicas | []    |
    When the client sends DELETE /v2/workers/gpu/w1
    Then the answer is 404 NOT_FOUND

  Scenario: an engine that dies takes its running tasks along, and comes back
    Given an engine called slow started with --tokens-per-s 40
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{slow}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref  | "scripted" |
      | max_tokens | 4000       |
    And the client opens /v2/tasks/{task}/events
    And the client has received 1 token
    When the engine slow is killed
    And the client reads on to the end
    Then each error event of the client holds
      | code      | "WORKER_RESET" |
      | retriable | true           |
    And GET /v2/pools/gpu/health comes to hold
      | ready            | false     |
      | replicas.0.state | "unready" |

  Scenario: an engine that fails task after task is left alone for a while, however healthy it says it is
    Given an engine called sick started with --fault status:500
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{sick}", "slots": 1, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client enqueues tasks until one is answered 503
      | model_ref | "scripted" |
    Then the answer is 503 POOL_UNAVAILABLE
    And GET /v2/pools/gpu/health comes to hold
      | ready      | false                            |
      | last_error | mentions fail one after the other |
    And a line of the log comes to hold
      | event      | "engine_failed" |
      | replica_id | "w1"            |
      | reason     | mentions 500    |

  Scenario: a caller's trace reaches the engine
    Given every request carries traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then the engine alpha comes to hear of 00-4bf92f3577b34da6a3ce929d0e0e4736-

  Scenario Outline: a worker can't make the daemon call <where>
    Given a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "<url>", "slots": 2, "model_ref": "m"}
      """
    Then the answer is <status> <code>
    And GET /v2/pools/gpu/health comes to hold
      | code | "POOL_NOT_FOUND" |

    Examples:
      | where                   | url                             | status | code           |
      | the metadata of a cloud | http://169.254.169.254/latest   | 403    | FORBIDDEN      |
      | a neighbour's network   | http://10.0.0.7:8000            | 403    | FORBIDDEN      |
      | a file                  | file:///etc/passwd              | 400    | INVALID_PARAMS |
      | with somebody's secret  | http://me:secret@127.0.0.1:8000 | 400    | INVALID_PARAMS |

  Scenario Outline: a worker names its <field> well, or not at all
    Given a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": <pool>, "replica_id": "w1", "engine": "<engine>", "url": "{alpha}", "slots": <slots>, "model_ref": "m"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions <field> |

    Examples:
      | field   | pool      | engine   | slots |
      | pool_id | "a b"     | openai   | 1     |
      | pool_id | "default" | openai   | 1     |
      | engine  | "gpu"     | embedded | 1     |
      | engine  | "gpu"     | nothing  | 1     |
      | slots   | "gpu"     | openai   | 0     |

  # It would stand in every series of the replica.
  Scenario Outline: a worker that says too much is refused
    Given a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 1,
       "engine_version": "<version>", "model_ref": "m"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions engine_version |

    Examples:
      | version     |
      |             |
      | 1.0\\n2.0 |

  Scenario: only who knows the workers' token or has a key for it may bind
    Given Ann has a key for data
    And Wes has a key for worker
    And a daemon started with --keys {dir}/keys.toml
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "m"}
      """
    Then the answer is 401 MISSING_KEY
    When Ann sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "m"}
      """
    Then the answer is 403 FORBIDDEN
    When Wes sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "m"}
      """
    Then the answer is 200
    And the body holds
      | identity | "key:wes" |

  Scenario: the workers' token opens the way for workers and nothing else
    Given a daemon started with --worker-token a-token-for-workers
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "m"}
      """
    Then the answer is 401 MISSING_KEY
    Given every request carries Authorization: Bearer a-token-for-workers
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "m"}
      """
    Then the answer is 200

  Scenario: a pool of servers is given another model if they have it
    Given a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client sends POST /v2/pools/gpu/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 200
    When the client enqueues a task
      | model_ref | "another" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
    When the engine alpha is killed
    And the client sends POST /v2/pools/gpu/reload
      """
      {"new_model_ref": "a third"}
      """
    Then the answer is 409 RELOAD_FAILED
