Feature: Cancel
  A client that no longer wants its text says so, and the place goes to somebody who does. Cancelling
  twice is as good as once, so a client that lost the first answer may simply ask again.

  # The engine takes its time: whoever has the one slot keeps it, everybody else waits.
  Background:
    Given a daemon started with --slots 1 --mock-first-token-ms 600000
    And the client enqueues the task first
    And GET /v2/tasks/{first} comes to hold
      | state | "running" |

  Scenario: client cancels queued task
    Given the client enqueues the task second
    When the client sends POST /v2/tasks/{second}/cancel
    Then the answer is 204
    And the body is empty
    And GET /v2/tasks/{second} comes to hold
      | state | "canceled" |
    When the client reads /v2/tasks/{second}/events
    Then the client has seen a stream in order
    And the client has seen 0 tokens
    And each error event of the client holds
      | code      | "CANCELED"    |
      | message   | a text        |
      | retriable | true or false |

  Scenario: client cancels running task before its first token
    When the client sends POST /v2/tasks/{first}/cancel
    Then the answer is 204
    When the client reads /v2/tasks/{first}/events
    Then each error event of the client holds
      | code | "CANCELED" |

  Scenario: cancel is idempotent
    When the client sends POST /v2/tasks/{first}/cancel
    Then the answer is 204
    When the client sends POST /v2/tasks/{first}/cancel
    Then the answer is 204

  Scenario: an unknown task cannot be canceled
    When the client sends POST /v2/tasks/00000000-0000-4000-8000-000000000000/cancel
    Then the answer is 404 TASK_NOT_FOUND

  Scenario: a task may ask to end with its last reader
    Given the client sends POST /v2/tasks/{first}/cancel
    And the client enqueues a task
      | on_disconnect | "cancel" |
    When Ann opens /v2/tasks/{task}/events
    And Ann hangs up
    Then GET /v2/tasks/{task} comes to hold
      | state | "canceled" |
