Feature: Fair share
  A pool that serves whoever came first belongs to whoever sends most. Callers who wait share it
  alike, by tokens: a flood delays nobody but the one who sent it, and what a newcomer is told of
  its place and its start is its own and not the flood's.

  Background:
    Given Ann has a key for data
    And Ben has a key for data
    And a daemon started with --keys {dir}/keys.toml --shards 2 --slots 1 --admission-capacity 100 --mock-fault hang-after:1
    And Ann enqueues the task running
    And Ann opens /v2/tasks/{running}/events
    And Ann has received 1 token
    And Ann enqueues the task flood
    And Ann floods the queue with 20 tasks

  Scenario: a newcomer's first task starts before the rest of a flood
    When Ben enqueues the task first
    Then the answer is 202
    And the body holds
      | queue_position | 0 |
    When Ann sends POST /v2/tasks/{running}/cancel
    And Ben opens /v2/tasks/{first}/events
    And Ben has received 1 token
    And Ann sends GET /v2/tasks/{flood}
    Then the body holds
      | state          | "queued" |
      | queue_position | 0        |

  Scenario: callers who wait take turns
    When Ben enqueues the task first
    And Ben enqueues the task second
    And Ann sends POST /v2/tasks/{running}/cancel
    And Ben opens /v2/tasks/{first}/events
    And Ben has received 1 token
    And Ben sends POST /v2/tasks/{first}/cancel
    And Ann opens /v2/tasks/{flood}/events
    And Ann has received 1 token
    And Ben sends GET /v2/tasks/{second}
    Then the body holds
      | state | "queued" |

  # Ann's running task and the others of her flood take half of the queue.
  Scenario: a flood leaves room for others
    When Ann enqueues tasks until one is answered 429
    Then the answer is 429 ADMISSION_REJECT
    And the body holds
      | policy_label | "admission_share" |
    And GET /v2/pools/default/health by Ann comes to hold
      | metrics.queue_depth | 50 |
    When Ben enqueues a task
    Then the answer is 202

  Scenario: batch makes way, whoever sends it
    When Ben enqueues the task patient
      | priority | "batch" |
    Then the body holds
      | queue_position | 21 |
    When Ann sends POST /v2/tasks/{running}/cancel
    And Ann opens /v2/tasks/{flood}/events
    And Ann has received 1 token
    And Ben sends GET /v2/tasks/{patient}
    Then the body holds
      | state | "queued" |
