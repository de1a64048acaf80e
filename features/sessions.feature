Feature: Session management
  A conversation is a session: it has so many turns, may spend so much, and is forgotten when nobody
  has spoken for a while. Its caller chooses its id, may look at it at any time, and may end it.

  Scenario: client queries and deletes session
    Given a daemon
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client reads /v2/tasks/{task}/events
    When the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 200
    And the body holds
      | ttl_ms_remaining         | at least 1 |
      | turns                    | 1          |
      | kv_bytes                 | 0          |
      | kv_warmth                | a number   |
      | kv_migrated              | false      |
      | tokens_budget_remaining  | nothing    |
      | time_budget_remaining_ms | nothing    |
      | cost_budget_remaining    | nothing    |
    When the client sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 204
    And the body is empty
    When the client sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 204
    When the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND

  Scenario Outline: a session that nobody has begun is not found
    Given a daemon
    When the client sends GET /v2/sessions/<id>
    Then the answer is 404 NOT_FOUND

    Examples:
      | id                                   |
      | 9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11 |
      | not-an-id                            |

  Scenario: a session is forgotten when nobody speaks
    Given a daemon started with --session-ttl-ms 200
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client reads /v2/tasks/{task}/events
    Then GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11 comes to hold
      | code | "NOT_FOUND" |

  Scenario: a session has so many turns
    Given a daemon started with --session-turns-max 2
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    Then the answer is 429 BUDGET_EXHAUSTED
    And the headers hold
      | Retry-After  | at least 1 |
      | X-Backoff-Ms | at least 1 |
    And the body holds
      | message        | mentions turns   |
      | policy_label   | "session_budget" |
      | retriable      | false            |
      | retry_after_ms | at least 1       |

  Scenario: a task that is not let in is no turn
    Given a daemon started with --slots 1 --admission-capacity 1 --mock-first-token-ms 600000
    And the client enqueues tasks until one is answered 429
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    Then the answer is 429 ADMISSION_REJECT
    When the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the body holds
      | turns | 0 |

  Scenario: each caller has sessions of their own
    Given Ann has a key for data
    And Ben has a key for data
    And a daemon started with --keys {dir}/keys.toml
    And Ann enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    When Ben sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND
    When Ben sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 204
    When Ann sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 200

  Scenario: the next turn finds what the last one has computed
    Given a daemon started with --engine embedded --slots 1
    And the client enqueues the task first
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | prompt     | "Once upon a time there was a fox"     |
    And Ann reads /v2/tasks/{first}/events
    And GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11 comes to hold
      | kv_bytes  | at least 1 |
      | kv_warmth | 1.0 |
    When the client enqueues the task second
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | prompt     | "Once upon a time there was a fox"     |
    And Ben reads /v2/tasks/{second}/events?verbose=true
    Then each started event of Ben holds
      | kv_warmth | 1.0 |
    And each end event of Ben holds
      | usage.cached_tokens | at least 1 |
    And each end event of Ann holds
      | usage.cached_tokens | 0 |
    When the client enqueues the task third
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | prompt     | "Once upon a time there was a fox"     |
      | kv_hint    | "cold"                                 |
    And Cleo reads /v2/tasks/{third}/events?verbose=true
    Then each started event of Cleo holds
      | kv_warmth | 0.0 |
    And each end event of Cleo holds
      | usage.cached_tokens | 0 |

  Scenario: a deleted session leaves nothing behind
    Given a daemon started with --engine embedded --slots 1
    And the client enqueues the task first
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And Ann reads /v2/tasks/{first}/events
    And GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11 comes to hold
      | kv_warmth | 1.0 |
    When the client sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    And the client enqueues the task second
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And Ben reads /v2/tasks/{second}/events
    Then each end event of Ben holds
      | usage.cached_tokens | 0 |

  Scenario: more sessions than may be are refused for a while
    Given a daemon started with --sessions-max 1
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e12" |
    Then the answer is 429 RATE_LIMITED
    And the headers hold
      | Retry-After  | at least 1 |
      | X-Backoff-Ms | at least 1 |
    And the body holds
      | policy_label   | "rate_limit" |
      | retriable      | true         |
      | retry_after_ms | at least 1   |

  Scenario: a session goes on after a crash, but for its cache
    Given a daemon started with --session-tokens-budget 1000 --session-turns-max 2 --mock-first-token-ms 5
    And the client enqueues the task first
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 100                                    |
      | prompt     | "Once"                                 |
    And the client reads /v2/tasks/{first}/events
    When the daemon is killed
    And the daemon is started again with --session-tokens-budget 5000 --session-turns-max 2
    And the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the body holds
      | turns                   | 1          |
      | ttl_ms_remaining        | at least 1 |
      | tokens_budget_remaining | 899        |
      | kv_bytes                | 0          |
      | kv_warmth               | 0.0        |
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    Then the answer is 429 BUDGET_EXHAUSTED

  Scenario: a turn that waits through a crash counts once, and is paid for once
    Given a daemon started with --session-tokens-budget 1000 --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task first
      | max_tokens | 5000 |
    And Ann opens /v2/tasks/{first}/events
    And Ann has received 1 token
    And the client enqueues the task second
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 100                                    |
    When the daemon is killed
    And the daemon is started again with --slots 1 --mock-first-token-ms 600000
    And the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the body holds
      | turns                   | 1   |
      | tokens_budget_remaining | 900 |
    When the client sends POST /v2/tasks/{second}/cancel
    And the daemon is killed
    And the daemon is started again with --slots 1
    And the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the body holds
      | turns                   | 1    |
      | tokens_budget_remaining | 1000 |

  Scenario: a session that was deleted stays so after a crash, whatever was under way in it
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task first
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 5000                                   |
    And the client enqueues the task second
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 5                                      |
    And the client sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    When the daemon is killed
    And the daemon is started again with --slots 1
    And the client sends POST /v2/tasks/{first}/cancel
    And the client reads /v2/tasks/{second}/events
    And the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND

  Scenario: a session whose time is over while no daemon runs is forgotten
    Given a daemon started with --session-ttl-ms 600000
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client reads /v2/tasks/{task}/events
    When the daemon is killed
    And the daemon is started again with --session-ttl-ms 1
    And the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND

  Scenario: where tasks are not to survive, sessions don't
    Given a daemon started with --durability off
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client reads /v2/tasks/{task}/events
    When the daemon is killed
    And the daemon is started again with --durability off
    And the client sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND
