Feature: Cancel during stream
  Once the daemon has said that a task is canceled, not one more token of it is sent to anybody. The
  stream says so and ends, and the slot is free for the next task, whatever the engine is doing.

  Scenario: prevents further tokens
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues a task
      | max_tokens | 2000 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the client sends POST /v2/tasks/{task}/cancel
    Then the answer is 204
    And no token reaches Ann any more
    And Ann has seen a stream in order
    And each error event of Ann holds
      | code | "CANCELED" |

  Scenario: every reader sees the same end
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues a task
      | max_tokens | 2000 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the client sends POST /v2/tasks/{task}/cancel
    And Ann reads on to the end
    And Ben reads /v2/tasks/{task}/events
    Then Ann and Ben have seen the same bytes

  Scenario: the slot is free again
    Given a daemon started with --slots 1 --mock-tokens-per-s 20
    And the client enqueues the task endless
      | max_tokens | 2000 |
    And Ann opens /v2/tasks/{endless}/events
    And Ann has received 1 token
    And the client enqueues the task next
      | max_tokens | 2 |
    When the client sends POST /v2/tasks/{endless}/cancel
    And Ben reads /v2/tasks/{next}/events
    Then Ben has seen a stream in order
    And each end event of Ben holds
      | tokens_out | 1 to 2 |
    And the metric active_leases comes to 0

  Scenario: an engine that hangs cannot hold on to a canceled task
    Given a daemon started with --slots 1 --mock-fault hang-after:3
    And the client enqueues a task
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the client sends POST /v2/tasks/{task}/cancel
    And Ann reads on to the end
    Then Ann has seen 3 tokens
    And each error event of Ann holds
      | code | "CANCELED" |
    And the metric active_leases comes to 0
