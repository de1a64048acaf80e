Feature: Durability
  A 202 is a promise, and so is the end of a stream: neither is taken back by a crash. What was accepted is
  served once, in its turn, or ends with an error that says why; what has ended stays so.

  Scenario: tasks that wait survive a crash, and one that somebody has read of ends with an error
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task first
      | max_tokens | 5000 |
    And Ann opens /v2/tasks/{first}/events
    And Ann has received 1 token
    And the client enqueues the task second
      | max_tokens | 3 |
    And the client enqueues the task third
      | max_tokens | 4 |
    When the daemon is killed
    And the daemon is started again with --slots 1
    And Ben reads /v2/tasks/{third}/events
    Then Ben has seen a stream in order
    And each end event of Ben holds
      | tokens_out | 4 |
    When the client sends GET /v2/tasks/{second}
    Then the body holds
      | state | "completed" |
    When the client sends GET /v2/tasks/{first}
    Then the body holds
      | state               | "failed"       |
      | error               | "WORKER_RESET" |
      | placement.pool_id   | "default"      |
      | timings.admitted_ms | at least 1     |

  Scenario: what has ended stays so
    Given a daemon
    And the client enqueues a task
      | task_id    | "11111111-2222-4333-8444-555555555555" |
      | max_tokens | 5                                      |
    And the client reads /v2/tasks/{task}/events
    When the daemon is killed
    And the daemon is started again with --slots 1
    And the client sends GET /v2/tasks/{task}
    Then the answer is 200
    And the body holds
      | state      | "completed"                              |
      | tokens_out | 5                                        |
      | streams.sse | "/v2/tasks/11111111-2222-4333-8444-555555555555/events" |
    When the client sends GET /v2/tasks/{task}/events
    Then the answer is 404 NOT_FOUND
    And the body holds
      | message | mentions kept no longer |
    When the client sends POST /v2/tasks/{task}/cancel
    Then the answer is 204
    When the client enqueues a task
      | task_id    | "11111111-2222-4333-8444-555555555555" |
      | max_tokens | 5                                      |
    Then the answer is 202
    When the client enqueues a task
      | task_id    | "11111111-2222-4333-8444-555555555555" |
      | max_tokens | 6                                      |
    Then the answer is 409 CONFLICT

  Scenario: where transcripts are full, a stream that has ended is read from its start after a crash
    Given a daemon started with --transcripts full
    And the client enqueues a task
      | max_tokens | 12 |
    And Ann reads /v2/tasks/{task}/events
    When the daemon is killed
    And the daemon is started again with --transcripts full
    And Ben reads /v2/tasks/{task}/events
    Then Ben has seen a stream in order
    And Ann and Ben have seen the same text
    And each end event of Ben holds
      | tokens_out | 12 |
    When Cleo reads /v2/tasks/{task}/events after event 3
    Then Cleo has seen 10 tokens
    When the client sends HEAD /v2/tasks/{task}/events
    Then the answer is 200
    Given every request carries Last-Event-ID: 100000
    When the client sends GET /v2/tasks/{task}/events
    Then the answer is 204

  Scenario: where transcripts are full, a stream that memory has forgotten is read from its start
    Given a daemon started with --transcripts full --finished-tasks-max 1 --shards 1
    And the client enqueues the task first
      | max_tokens | 5 |
    And Ann reads /v2/tasks/{first}/events
    And the client enqueues the task second
    And the client reads /v2/tasks/{second}/events
    When Ben reads /v2/tasks/{first}/events
    Then Ben has seen a stream in order
    And Ann and Ben have seen the same text

  Scenario: a reader who comes back after a crash is told that the text is lost
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task first
      | max_tokens | 5000 |
    And the client enqueues the task second
    And Ann opens /v2/tasks/{first}/events
    And Ann has received 3 tokens
    And the client sends POST /v2/tasks/{second}/cancel
    When the daemon is killed
    And the daemon is started again with --slots 1
    And Ben reads /v2/tasks/{first}/events after event 3
    Then each error event of Ben holds
      | code      | "WORKER_RESET" |
      | engine    | "mock"         |
      | retriable | true           |
    When Cleo reads /v2/tasks/{second}/events
    Then each error event of Cleo holds
      | code | "CANCELED" |

  Scenario: what has ended is other callers' business as little as before
    Given Ann has a key for data
    And Ben has a key for data
    And a daemon started with --keys keys.toml
    And Ann enqueues a task
      | max_tokens | 5 |
    And Ann reads /v2/tasks/{task}/events
    When the daemon is killed
    And the daemon is started again with --keys keys.toml
    And Ben sends GET /v2/tasks/{task}
    Then the answer is 404 TASK_NOT_FOUND
    When Ann sends GET /v2/tasks/{task}
    Then the answer is 200

  Scenario: a task that was canceled does not come back
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task first
      | max_tokens | 5000 |
    And the client enqueues the task second
      | max_tokens | 5 |
    And the client sends POST /v2/tasks/{second}/cancel
    When the daemon is killed
    And the daemon is started again with --slots 1
    And the client sends GET /v2/tasks/{second}
    Then the body holds
      | state | "canceled" |

  Scenario: a daemon that stops leaves for the next what nobody has read of
    Given a daemon started with --slots 1 --mock-tokens-per-s 20 --shutdown-grace-ms 100
    And the client enqueues the task first
      | max_tokens | 5000 |
    And Ann opens /v2/tasks/{first}/events
    And Ann has received 1 token
    And the client enqueues the task second
      | max_tokens | 5 |
    When the daemon receives SIGTERM
    And Ann reads on to the end
    Then each error event of Ann holds
      | code | "POOL_DRAINING" |
    And the daemon exits with code 0
    When the daemon is started again with --slots 1
    And Ben reads /v2/tasks/{second}/events
    Then Ben has seen a stream in order
    And each end event of Ben holds
      | tokens_out | 5 |
    When the client sends GET /v2/tasks/{first}
    Then the body holds
      | error | "POOL_DRAINING" |

  Scenario: a task waits until the worker of its pool has come back
    Given an engine called alpha started with --tokens-per-s 20
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 1, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues the task first
      | model_ref  | "scripted" |
      | max_tokens | 5000       |
    And the client enqueues the task second
      | model_ref  | "scripted" |
      | max_tokens | 5          |
    When the daemon is killed
    And the daemon is started again with --slots 1
    And the client sends POST /v2/tasks/{first}/cancel
    And the client sends GET /v2/tasks/{second}
    Then the body holds
      | state             | "queued" |
      | placement.pool_id | "gpu"    |
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 1, "model_ref": "scripted"}
      """
    And Ben reads /v2/tasks/{second}/events
    Then each end event of Ben holds
      | tokens_out | 5 |

  Scenario: a task whose model nobody serves any more ends with an error
    Given a daemon started with --engine embedded --slots 1
    And the client enqueues the task first
      | max_tokens | 100000 |
    And the client enqueues the task second
      | max_tokens | 5 |
    When the daemon is killed
    And the daemon is started again with --engine mock
    Then GET /v2/tasks/{second} comes to hold
      | state | "failed"           |
      | error | "POOL_UNAVAILABLE" |

  Scenario: no promise is given that can't be kept
    Given a daemon
    When the daemon's disk is full
    And the client enqueues tasks until one is answered 500
    Then the answer is 500 INTERNAL
    When the daemon's disk has room again
    And the client enqueues a task
      | max_tokens | 5 |
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order

  Scenario: while the disk fails a stream goes on, and its end is written when the disk works again
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task first
      | max_tokens | 30 |
    And Ann opens /v2/tasks/{first}/events
    And Ann has received 1 token
    When the daemon's disk takes nothing
    And the client enqueues tasks until one is answered 500
    Then the answer is 500 INTERNAL
    When the client sends GET /readyz
    Then the answer is 503 POOL_UNREADY
    And the metric store_ready comes to 0
    When Ann reads on to the end
    Then Ann has seen a stream in order
    And each end event of Ann holds
      | tokens_out | 30 |
    When the daemon's disk has room again
    Then the metric store_ready comes to 1
    When the client sends GET /readyz
    Then the answer is 200
    When the daemon is killed
    And the daemon is started again with --slots 1
    And the client sends GET /v2/tasks/{first}
    Then the body holds
      | state      | "completed" |
      | tokens_out | 30          |

  Scenario: what a damaged file still holds goes on, and what it has lost is named
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task lost
      | max_tokens | 3 |
    And the client reads /v2/tasks/{lost}/events
    And the client enqueues the task first
      | max_tokens | 5000 |
    And Ann opens /v2/tasks/{first}/events
    And Ann has received 1 token
    And the client enqueues the task second
      | max_tokens | 4 |
    When the daemon is killed
    And a bit flips wherever the store's file tells of {lost}
    And the daemon is started again with --slots 1
    And Ben reads /v2/tasks/{second}/events
    Then Ben has seen a stream in order
    And each end event of Ben holds
      | tokens_out | 4 |
    When the client sends GET /v2/tasks/{first}
    Then the body holds
      | error | "WORKER_RESET" |
    When the client sends GET /v2/tasks/{lost}
    Then the answer is 404 TASK_NOT_FOUND
    And a line of the log comes to hold
      | event   | "store_damaged" |
      | damaged | a text          |
    And a line of the log comes to hold
      | event | "record_lost"   |
      | table | "task_outcomes" |
      | key   | "{lost}"        |

  Scenario: a file that can't be recognised is left to the operator
    Given a daemon
    When the daemon is killed
    And the store's file is cut off after 100 bytes
    And someone starts a daemon with --slots 1
    Then it refuses with exit code 2 and a remedy that mentions a backup

  Scenario: where nobody waits for the disk, a daemon that stops in order has written all the same
    Given a daemon started with --durability async
    And the client enqueues a task
      | max_tokens | 5 |
    And the client reads /v2/tasks/{task}/events
    When the daemon receives SIGTERM
    Then the daemon exits with code 0
    When the daemon is started again with --durability async
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | state      | "completed" |
      | tokens_out | 5           |

  Scenario: what is not to survive does not
    Given a daemon started with --durability off
    And the client enqueues a task
      | max_tokens | 5 |
    And the client reads /v2/tasks/{task}/events
    When the daemon is killed
    And the daemon is started again with --durability off
    And the client sends GET /v2/tasks/{task}
    Then the answer is 404 TASK_NOT_FOUND
