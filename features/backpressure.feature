Feature: Backpressure
  A queue that grows without bound serves nobody. A full one refuses, and the refusal is advice: how
  long to wait, worked out from the queue itself, in the header that every client knows and in
  milliseconds for those who look closer.

  Scenario: the queue is full when those who wait expect as many tokens as they may
    Given a daemon started with --slots 1 --admission-tokens-max 100 --mock-tokens-per-s 1
    And the client enqueues the task running
      | max_tokens | 400 |
    And the client opens /v2/tasks/{running}/events
    And the client has received 1 token
    And the client enqueues a task
      | max_tokens      | 400 |
      | expected_tokens | 60  |
    When the client enqueues a task
      | max_tokens      | 400 |
      | expected_tokens | 60  |
    Then the answer is 429 ADMISSION_REJECT
    When the client enqueues a task
      | max_tokens      | 400 |
      | expected_tokens | 40  |
    Then the answer is 202

  Scenario: queue saturation returns advisory 429
    Given a daemon started with --slots 1 --admission-capacity 2 --mock-first-token-ms 600000
    When the client enqueues tasks until one is answered 429
    Then the answer is 429 ADMISSION_REJECT
    And the headers hold
      | Retry-After  | at least 1 |
      | X-Backoff-Ms | at least 1 |
    And the body holds
      | policy_label   | a text     |
      | retriable      | true       |
      | retry_after_ms | at least 1 |

  Scenario: admission reject code
    Given a daemon started with --slots 1 --admission-capacity 2 --admission-policy reject --mock-first-token-ms 600000
    When the client enqueues tasks until one is answered 429
    Then the answer is 429 ADMISSION_REJECT
    And the body holds
      | policy_label | "reject" |

  Scenario: drop-LRU code
    Given a daemon started with --slots 1 --admission-capacity 2 --admission-policy drop-lru --mock-first-token-ms 600000
    And the client enqueues the task running
    And GET /v2/tasks/{running} comes to hold
      | state | "running" |
    And the client enqueues the task oldest
    And the client enqueues the task newer
    When the client enqueues the task newest
    Then the answer is 202
    When the client reads /v2/tasks/{oldest}/events
    Then the client has seen a stream in order
    And each error event of the client holds
      | code | "QUEUE_FULL_DROP_LRU" |

  Scenario: a newcomer that may drop nobody is refused
    Given a daemon started with --slots 1 --admission-capacity 2 --admission-policy drop-lru --mock-first-token-ms 600000
    And the client enqueues the task running
    And GET /v2/tasks/{running} comes to hold
      | state | "running" |
    And the client enqueues the task second
    And the client enqueues the task third
    When the client enqueues tasks until one is answered 429
      | priority | "batch" |
    Then the answer is 429 QUEUE_FULL_DROP_LRU
    And the body holds
      | policy_label | "drop-lru" |

  Scenario: `started` fields present while backpressure occurs
    Given a daemon started with --slots 1 --admission-capacity 2 --mock-tokens-per-s 20
    And the client enqueues a task
      | max_tokens | 2000 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 1 token
    When the client enqueues tasks until one is answered 429
      | max_tokens | 2000 |
    Then the answer is 429 ADMISSION_REJECT
    And each started event of Ann holds
      | queue_position     | an integer |
      | predicted_start_ms | a number   |
