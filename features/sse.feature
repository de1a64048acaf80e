Feature: SSE details
  The stream is plain server-sent events, so any EventSource reads it. Beyond that it has a grammar
  that a client may lean on: `started`, then tokens with metrics between them, then exactly one `end`
  or `error`. Ids count the events without a gap, and each payload is one line of JSON.

  Scenario: frames and ordering
    Given a daemon
    And the client enqueues a task
      | max_tokens | 12 |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each token event of the client holds
      | i | an integer |
    And each end event of the client holds
      | tokens_out     | 1 to 12  |
      | decode_time_ms | a number |
      | decode_ms      | a number |
      | finish_reason  | a text   |
      | usage          | an object |

  Scenario: the headers keep caches and proxies from holding tokens back
    Given a daemon
    And every request carries X-Correlation-Id: tale-7
    And the client enqueues a task
    When the client opens /v2/tasks/{task}/events
    Then the answer is 200
    And the headers hold
      | Content-Type              | mentions text/event-stream |
      | Cache-Control             | "no-store"                 |
      | X-Accel-Buffering         | "no"                       |
      | X-Correlation-Id          | "tale-7"                   |
      | X-Budget-Tokens-Remaining | "unlimited"                |

  Scenario: `started` includes `queue_position` and `predicted_start_ms`
    Given a daemon
    And the client enqueues a task
    When the client reads /v2/tasks/{task}/events
    Then each started event of the client holds
      | queue_position     | an integer |
      | predicted_start_ms | a number   |
      | replica_id         | nothing    |

  Scenario: SSE exposes `on_time_probability`
    Given a daemon
    And the client enqueues a task
      | deadline_ms | 600000 |
    When the client reads /v2/tasks/{task}/events
    Then each metrics event of the client holds
      | on_time_probability | 0 to 1     |
      | queue_depth         | an integer |

  Scenario: a verbose stream also says where the task runs
    Given a daemon
    And the client enqueues a task
    When the client reads /v2/tasks/{task}/events?verbose=true
    Then the client has seen a stream in order
    And each started event of the client holds
      | queue_position     | an integer |
      | predicted_start_ms | a number   |
      | pool_id            | "default"  |
      | replica_id         | "r0"       |
