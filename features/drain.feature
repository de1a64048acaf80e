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
