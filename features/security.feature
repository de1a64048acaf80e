Feature: Security gates
  On loopback the daemon is open, because whoever can reach it already sits at the machine. Anywhere
  else a key is needed, and a key shows its holder only what is theirs: somebody else's task looks
  exactly like no task at all.

  Scenario: missing API key 401
    Given Ann has a key for data
    And a daemon started with --keys {dir}/keys.toml
    When the client enqueues a task
    Then the answer is 401 MISSING_KEY
    And the headers hold
      | WWW-Authenticate | a text |

  Scenario: invalid API key 403
    Given Ann has a key for data
    And Eve has made up a key
    And a daemon started with --keys {dir}/keys.toml
    When Eve enqueues a task
    Then the answer is 403 INVALID_KEY

  Scenario: a valid key opens what its scopes name
    Given Ann has a key for data
    And a daemon started with --keys {dir}/keys.toml
    When Ann enqueues a task
    Then the answer is 202
    When Ann reads /v2/tasks/{task}/events
    Then Ann has seen a stream in order

  Scenario: a key without the scope is forbidden
    Given Ann has a key for control
    And a daemon started with --keys {dir}/keys.toml
    When Ann enqueues a task
    Then the answer is 403 FORBIDDEN

  Scenario Outline: another caller's task is absent
    Given Ann has a key for data
    And Ben has a key for data
    And a daemon started with --keys {dir}/keys.toml
    And Ann enqueues a task
    When Ben sends <request>
    Then the answer is 404 TASK_NOT_FOUND

    Examples:
      | request                      |
      | GET /v2/tasks/{task}         |
      | GET /v2/tasks/{task}/events  |
      | POST /v2/tasks/{task}/cancel |

  Scenario: an operator sees the tasks of all
    Given Ann has a key for data
    And Olga has a key for data,control
    And a daemon started with --keys {dir}/keys.toml
    And Ann enqueues a task
    When Olga sends GET /v2/tasks/{task}
    Then the answer is 200

  Scenario: another caller's session is absent, but not to an operator
    Given Ann has a key for data
    And Ben has a key for data
    And Olga has a key for data,control
    And a daemon started with --keys {dir}/keys.toml
    And Ann enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    When Ben sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND
    When Ben sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 204
    When Olga sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 200
    When Olga sends DELETE /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 204
    When Ann sends GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11
    Then the answer is 404 NOT_FOUND

  Scenario: who asks more often than the key allows is told when to come back
    Given Ann has a key for data and 2 requests a minute
    And Ben has a key for data
    And a daemon started with --keys {dir}/keys.toml
    When Ann enqueues a task
    And Ann sends GET /v2/tasks/{task}
    Then the answer is 200
    When Ann sends GET /v2/tasks/{task}
    Then the answer is 429 RATE_LIMITED
    And the body holds
      | retriable      | true          |
      | policy_label   | "rate_limit"  |
      | retry_after_ms | a number      |
    And the headers hold
      | Retry-After | a number |
    When Ben sends GET /v2/tasks
    Then the answer is 200

  # Two wrong keys are enough to see what sixty do.
  Scenario: who tries key after key is told to come back, and who was let in before goes on
    Given Ann has a key for data
    And Eve has made up a key
    And a daemon started with --keys {dir}/keys.toml --auth-failures-per-minute 2
    And Ann sends GET /v2/tasks
    When Eve sends GET /v2/tasks
    Then the answer is 403 INVALID_KEY
    When Eve enqueues a task
    Then the answer is 403 INVALID_KEY
    When Eve sends GET /v2/tasks
    Then the answer is 429 RATE_LIMITED
    And the body holds
      | retriable      | true         |
      | policy_label   | "rate_limit" |
      | retry_after_ms | a number     |
    And the headers hold
      | Retry-After | a number |
    And a line of the log comes to hold
      | event    | "refusal"      |
      | code     | "RATE_LIMITED" |
      | network  | "127.0.0.1"    |
      | identity | nothing        |
    And the metric auth_failures_total comes to 3
    When Ann sends GET /v2/tasks
    Then the answer is 200
    When the client sends GET /v2/tasks
    Then the answer is 401 MISSING_KEY
    When the client sends GET /livez
    Then the answer is 200

  Scenario: after too many wrong keys a right one looks like them
    Given Ann has a key for data
    And Eve has made up a key
    And a daemon started with --keys {dir}/keys.toml --auth-failures-per-minute 1
    And Eve sends GET /v2/tasks
    When Ann sends GET /v2/tasks
    Then the answer is 429 RATE_LIMITED
    And the body holds
      | message | "too many keys that nobody has came from your address; come back later" |

  Scenario: an address that others can reach needs a key
    When someone starts a daemon with --addr 0.0.0.0:0
    Then it refuses with exit code 2 and a remedy that mentions keys new
