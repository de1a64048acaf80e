Feature: Control plane
  An operator, or the program that stands in for one, must be able to ask what is running, how well,
  and what it can do, without reading logs and without disturbing anybody's task.

  Background:
    Given a daemon started with --slots 3

  Scenario: capabilities are exposed
    When the client sends GET /v2/meta/capabilities
    Then the answer is 200
    And the body holds
      | api_version                   | a text     |
      | engines.0.engine              | "mock"     |
      | engines.0.engine_version      | a text     |
      | engines.0.ctx_max             | an integer |
      | engines.0.supported_workloads | ["completion", "chat", "embedding", "rerank"] |
      | engines.0.concurrency         | 3          |
      | engines.0.features            | a list     |
      | engines.0.rate_limits.admission_capacity | 16 |

  Scenario: pool health shows status and metrics
    When the client sends GET /v2/pools/default/health
    Then the answer is 200
    And the body holds
      | live                 | true       |
      | ready                | true       |
      | draining             | false      |
      | last_error           | nothing    |
      | metrics.queue_depth  | 0          |
      | metrics.slots_total  | 3          |
      | metrics.slots_free   | 3          |
      | metrics.tokens_per_s | a number   |
      | replicas.0           | an object  |

  Scenario: the pools are listed
    When the client sends GET /v2/pools
    Then the answer is 200
    And the body holds
      | pools.0.pool_id | "default" |

  Scenario: the version is told
    When the client sends GET /v2/meta/version
    Then the answer is 200
    And the body holds
      | api_version  | a text |
      | build_commit | a text |
      | build_time   | a text |

  Scenario: an unknown pool is not found
    When the client sends GET /v2/pools/nowhere/health
    Then the answer is 404 POOL_NOT_FOUND

  Scenario Outline: probes answer while the daemon is well
    When the client sends GET <probe>
    Then the answer is 200

    Examples:
      | probe    |
      | /livez   |
      | /readyz  |
      | /healthz |

  Scenario: drain starts
    When the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 60000}
      """
    Then the answer is 202
    And the body holds
      | pool_id  | "default" |
      | draining | true      |
    When the client sends GET /v2/pools/default/health
    Then the body holds
      | live     | true  |
      | ready    | false |
      | draining | true  |
    When the client sends GET /readyz
    Then the answer is 503
    When the client enqueues a task
    Then the answer is 503 POOL_DRAINING
    And the headers hold
      | Retry-After | at least 1 |
    And the body holds
      | retriable      | true       |
      | retry_after_ms | at least 1 |

  Scenario: a drained pool is taken back
    Given the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 0}
      """
    When the client sends POST /v2/pools/default/undrain
    Then the answer is 202
    And the body holds
      | draining | false |
    When the client enqueues a task
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario Outline: a drain needs its deadline
    When the client sends POST /v2/pools/default/drain
      """
      <body>
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions deadline_ms |
    When the client sends GET /v2/pools/default/health
    Then the body holds
      | draining | false |

    Examples:
      | body                  |
      | {}                    |
      | {"deadline_ms": -1}   |
      | {"deadline_ms": null} |

  Scenario Outline: what is not there can't be changed
    When the client sends POST /v2/pools/nowhere/<change>
      """
      {"deadline_ms": 1, "new_model_ref": "mock", "force": true}
      """
    Then the answer is 404 POOL_NOT_FOUND

    Examples:
      | change  |
      | drain   |
      | undrain |
      | reload  |
      | purge   |

  Scenario: reload is atomic success
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 200
    And the body holds
      | pool_id   | "default" |
      | model_ref | "another" |
    When the client enqueues a task
      | model_ref | "another" |
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
    When the client enqueues a task
      | model_ref | "mock" |
    Then the answer is 404 MODEL_NOT_FOUND

  Scenario: reload fails and rolls back
    Given a daemon started with --engine embedded --slots 2
    And a file cut.gguf that holds the beginning of a model
    And the client enqueues a task
      | max_tokens | 40 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 1 token
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "file:{dir}/cut.gguf"}
      """
    Then the answer is 409 RELOAD_FAILED
    And the body holds
      | message   | mentions old model |
      | retriable | false              |
    When Ann reads on to the end
    Then Ann has seen a stream in order
    And GET /v2/pools/default/health comes to hold
      | ready      | true    |
      | last_error | nothing |
    When the client enqueues a task
    Then the answer is 202

  Scenario: a change without a body that can be read changes nothing
    When the client sends POST /v2/pools/default/reload
      """
      {"model": "another"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions model |

  Scenario: a purged pool is refused until it is given a model
    When the client sends POST /v2/pools/default/purge
      """
      {"purge_engine": true}
      """
    Then the answer is 202
    And GET /v2/pools/default/health comes to hold
      | live               | false  |
      | ready              | false  |
      | replicas.0.state   | "gone" |
    When the client enqueues a task
    Then the answer is 503 POOL_UNAVAILABLE
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "mock"}
      """
    Then the answer is 200
    When the client enqueues a task
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: a purge says what it is to remove
    When the client sends POST /v2/pools/default/purge
      """
      {"force": true}
      """
    Then the answer is 400 INVALID_PARAMS
