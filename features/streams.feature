Feature: Streams
  A client hands in a task and is told at once that it is accepted. The text comes on a stream of its
  own, and the stream belongs to the task, not to a connection: whoever asks for it, whenever, gets
  the same events from the first to the last. So a dropped connection costs nothing but the time to
  connect again, and a second screen may follow what the first one started.

  Scenario: client enqueues and streams tokens
    Given a daemon
    When the client enqueues a task
      | prompt     | "Tell me of the sea" |
      | max_tokens | 12                   |
    Then the answer is 202
    And the body holds
      | task_id             | a text                                   |
      | queue_position      | an integer                               |
      | predicted_start_ms  | a number                                 |
      | backoff_ms          | a number                                 |
      | streams.sse         | "/v2/tasks/{task}/events"                |
      | streams.sse_verbose | "/v2/tasks/{task}/events?verbose=true"   |
      | preparation.steps   | a list                                   |
    And the headers hold
      | Location                  | "/v2/tasks/{task}" |
      | X-Budget-Tokens-Remaining | "unlimited"        |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each end event of the client holds
      | tokens_out     | 1 to 12  |
      | decode_time_ms | a number |
      | finish_reason  | a text   |
    And GET /v2/tasks/{task} comes to hold
      | state | "completed" |

  Scenario: a late reader gets the whole sequence
    Given a daemon
    And the client enqueues a task
    When Ann reads /v2/tasks/{task}/events
    And Ben reads /v2/tasks/{task}/events
    Then Ann has seen a stream in order
    And Ann and Ben have seen the same bytes

  Scenario: two readers at once see the same bytes
    Given a daemon started with --mock-tokens-per-s 50
    And the client enqueues a task
      | max_tokens | 20 |
    When Ann opens /v2/tasks/{task}/events
    And Ann has received 2 tokens
    And Ben opens /v2/tasks/{task}/events
    And Ann reads on to the end
    And Ben reads on to the end
    Then Ann has seen a stream in order
    And Ann and Ben have seen the same bytes

  Scenario: a reader that was cut off goes on after the last event it saw
    Given a daemon started with --mock-tokens-per-s 50
    And the client enqueues a task
      | max_tokens | 20 |
    When Ann opens /v2/tasks/{task}/events
    And Ann has received 4 tokens
    And Ann hangs up
    And Ann reads /v2/tasks/{task}/events after event 3
    And Ben reads /v2/tasks/{task}/events
    Then Ben has seen a stream in order
    And Ann has seen what Ben saw after event 3

  # A browser asks again whenever a stream ends, until it is told that there is nothing (WHATWG HTML).
  Scenario: a reader that has seen the last event is told that none follows
    Given a daemon
    And the client enqueues a task
    And the client reads /v2/tasks/{task}/events
    And every request carries Last-Event-ID: 100000
    When the client sends GET /v2/tasks/{task}/events
    Then the answer is 204
    And the body is empty

  Scenario Outline: the same seed gives the same text
    Given a daemon started with --engine <engine>
    And the client enqueues a task
      | seed       | 7  |
      | max_tokens | 16 |
    And Ann reads /v2/tasks/{task}/events
    When the client enqueues a task
      | seed       | 7  |
      | max_tokens | 16 |
    And Ben reads /v2/tasks/{task}/events
    Then Ann has seen a stream in order
    And Ann and Ben have seen the same text

    Examples:
      | engine   |
      | mock     |
      | embedded |

  Scenario: a task that is sent twice is one task
    Given a daemon
    When the client enqueues a task
      | task_id | "2f1c1e0a-6b1d-4c55-9d0e-3a5a1b1f7c42" |
    Then the answer is 202
    And the body holds
      | task_id | "2f1c1e0a-6b1d-4c55-9d0e-3a5a1b1f7c42" |
    When the client sends the same again
    Then the answer is the same as before

  Scenario: another task under a taken id is refused
    Given a daemon
    And the client enqueues a task
      | task_id | "2f1c1e0a-6b1d-4c55-9d0e-3a5a1b1f7c42" |
    When the client enqueues a task
      | task_id | "2f1c1e0a-6b1d-4c55-9d0e-3a5a1b1f7c42" |
      | prompt  | "Another tale"                         |
    Then the answer is 409 CONFLICT
