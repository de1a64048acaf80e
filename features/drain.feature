Feature: Drain
  A pool is taken out of service without cutting anybody off: newcomers are sent away at once, those
  who were let in are served. Only when the deadline has passed is the rest ended, and told so.

  Scenario: what was let in before the drain is served
    Given a daemon started with --slots 1 --mock-tokens-per-s 50
    And the client enqueues the task running
      | max_tokens | 20 |
    And Ann opens /v2/tasks/{running}/events
    And Ann has received 1 token
    And the client enqueues the task waiting
    When the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 600000}
      """
    And Ann reads on to the end
    And Ben reads /v2/tasks/{waiting}/events
    Then each end event of Ann holds
      | tokens_out | 20 |
    And each end event of Ben holds
      | tokens_out | 8 |

  Scenario: what is left at the deadline is ended and told so
    Given a daemon started with --slots 1 --mock-tokens-per-s 50
    And the client enqueues the task running
      | max_tokens | 100000 |
    And Ann opens /v2/tasks/{running}/events
    And Ann has received 1 token
    And the client enqueues the task waiting
    And Ben opens /v2/tasks/{waiting}/events
    When the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 200}
      """
    And Ann reads on to the end
    And Ben reads on to the end
    Then Ann has seen a stream in order
    And each error event of Ann holds
      | code      | "POOL_DRAINING" |
      | retriable | true            |
    And each error event of Ben holds
      | code | "POOL_DRAINING" |
    And GET /v2/pools/default/health comes to hold
      | draining            | true |
      | metrics.queue_depth | 0    |
      | metrics.slots_free  | 1    |

  Scenario: a drain that was called off ends nobody
    Given a daemon started with --slots 1 --mock-tokens-per-s 50
    And the client enqueues a task
      | max_tokens | 40 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 1 token
    And the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 300}
      """
    When the client sends POST /v2/pools/default/undrain
    And Ann reads on to the end
    Then each end event of Ann holds
      | tokens_out | 40 |

  Scenario: what waits goes to another pool of the model
    Given a daemon started with --slots 1 --mock-first-token-ms 600000
    And the client enqueues the task running
    And GET /v2/tasks/{running} comes to hold
      | state | "running" |
    And the client enqueues the task waiting
    And the client enqueues the task pinned
      | placement | {"mode": "pin", "pin_pool_id": "default"} |
    And Ann opens /v2/tasks/{waiting}/events?verbose=true
    And a pool called left
    When the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 600000}
      """
    And Ann reads on to the end
    Then Ann has seen a stream in order
    And each started event of Ann holds
      | pool_id | "left" |
    And each end event of Ann holds
      | tokens_out | 8 |
    And GET /v2/tasks/{waiting} comes to hold
      | state             | "completed" |
      | placement.pool_id | "left"      |
    And GET /v2/tasks/{pinned} comes to hold
      | state             | "queued"  |
      | placement.pool_id | "default" |
    And GET /v2/pools/default/health comes to hold
      | metrics.queue_depth | 1 |
    And a line of the log comes to hold
      | event        | "move"      |
      | job_id       | "{waiting}" |
      | pool_id      | "left"      |
      | from_pool_id | "default"   |

  Scenario: what waits beyond what the other pool can hold is served where it is
    Given a daemon started with --shards 1 --slots 1 --mock-tokens-per-s 50 --admission-capacity 3
    And the client enqueues the task running
      | max_tokens | 100000 |
    And GET /v2/tasks/{running} comes to hold
      | state | "running" |
    And the client enqueues the task first
    And the client enqueues the task second
    And the client enqueues the task third
    And a pool called left whose engine was started with --first-token-ms 600000
    And the client enqueues the task held
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    And GET /v2/tasks/{held} comes to hold
      | state | "running" |
    And the client enqueues the task full
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    And the client enqueues the task fuller
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    When the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 600000}
      """
    Then GET /v2/pools/left/health comes to hold
      | metrics.queue_depth | 3 |
    And GET /v2/pools/default/health comes to hold
      | metrics.queue_depth | 2 |
    When the client sends POST /v2/tasks/{running}/cancel
    And Ann reads /v2/tasks/{third}/events
    Then each end event of Ann holds
      | tokens_out | 8 |
    And GET /v2/tasks/{third} comes to hold
      | placement.pool_id | "default" |

  Scenario: a purge does not take what is in use
    Given a daemon started with --slots 1 --mock-first-token-ms 600000
    And the client enqueues a task
    And Ann opens /v2/tasks/{task}/events
    When the client sends POST /v2/pools/default/purge
      """
      {"purge_engine": true}
      """
    Then the answer is 409 IN_USE
    When the client sends POST /v2/pools/default/purge
      """
      {"purge_engine": true, "force": true}
      """
    Then the answer is 202
    When Ann reads on to the end
    Then each error event of Ann holds
      | code | "POOL_DRAINING" |
    And GET /v2/pools/default/health comes to hold
      | live | false |

  Scenario: a purge may wait for what is in use
    Given a daemon started with --slots 1 --mock-tokens-per-s 50
    And the client enqueues a task
      | max_tokens | 20 |
    And Ann opens /v2/tasks/{task}/events
    When the client sends POST /v2/pools/default/purge
      """
      {"purge_engine": true, "drain_first": true}
      """
    Then the answer is 202
    When Ann reads on to the end
    Then each end event of Ann holds
      | tokens_out | 20 |
    And GET /v2/pools/default/health comes to hold
      | live | false |
