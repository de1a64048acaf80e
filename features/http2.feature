Feature: HTTP/2
  A page that follows many tasks at once should not need a connection for each. So the port speaks
  HTTP/2 as well, to clients that know it beforehand, and says the same there: the same answers, the
  same events, the same refusals. One connection carries strangers' streams side by side behind a
  proxy, and none of them may hold up another.

  Scenario: a task is enqueued and streamed whole
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client enqueues a task
      | max_tokens | 12 |
    Then the answer is 202
    And the headers hold
      | Location          | "/v2/tasks/{task}" |
      | Content-Length    | at least 1         |
      | Connection        | nothing            |
      | Transfer-Encoding | nothing            |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each end event of the client holds
      | tokens_out | 12 |

  Scenario: many streams over one connection read the same task
    Given a daemon started with --mock-tokens-per-s 100
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens | 20 |
    When 100 readers read /v2/tasks/{task}/events at once
    Then every reader has seen the same stream in order

  Scenario: a task is read from whichever core the reader is connected to
    Given a daemon started with --shards 2 --slots 4 --admission-capacity 256 --mock-tokens-per-s 100
    When 16 connections of HTTP/2 enqueue a task each and read the tasks of all
      | max_tokens | 8 |
    Then every reader has seen the same stream in order

  Scenario: a reader that was cut off goes on after the last event it saw
    Given a daemon started with --mock-tokens-per-s 50
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens | 20 |
    When Ann opens /v2/tasks/{task}/events
    And Ann has received 4 tokens
    And Ann hangs up
    And Ann reads /v2/tasks/{task}/events after event 3
    And Ben reads /v2/tasks/{task}/events
    Then Ben has seen a stream in order
    And Ann has seen what Ben saw after event 3

  Scenario: no token follows a cancel
    Given a daemon started with --mock-tokens-per-s 100
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens | 2000 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the client sends POST /v2/tasks/{task}/cancel
    Then the answer is 204
    And no token reaches Ann any more
    And each error event of Ann holds
      | code | "CANCELED" |

  # Wherever the task lives, it is read over one connection and canceled over another.
  Scenario Outline: no token follows a cancel from elsewhere
    Given a daemon started with --shards 2 --mock-tokens-per-s <pace>
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens | 100000 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When every request goes over a connection of its own again
    And the client sends POST /v2/tasks/{task}/cancel
    Then the answer is 204
    And no token reaches Ann any more

    Examples:
      | pace |
      | 200  |
      | 1000 |

  Scenario: a task that ends with its readers ends when its last stream is reset
    Given a daemon started with --mock-tokens-per-s 20
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens    | 2000     |
      | on_disconnect | "cancel" |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 2 tokens
    When Ann hangs up
    Then GET /v2/tasks/{task} comes to hold
      | state | "canceled" |

  # The text is several times longer than a window: Ann's is shut long before the end.
  Scenario: a stream whose window is shut stalls nobody else
    Given a daemon started with --mock-tokens-per-s 0
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens | 8000 |
    When Ann opens /v2/tasks/{task}/events
    And Ben reads /v2/tasks/{task}/events
    Then Ben has seen a stream in order
    When the client sends GET /v2/tasks/{task}
    Then the answer is 200
    When Ann reads on to the end
    Then Ann and Ben have seen the same bytes

  Scenario: a stream whose window stays shut is given up
    Given a daemon started with --mock-tokens-per-s 0 --write-timeout-ms 200
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens    | 8000     |
    When Ann opens /v2/tasks/{task}/events
    Then the stream of Ann comes to be reset
    When the client sends GET /v2/tasks/{task}
    Then the answer is 200

  Scenario Outline: a refusal is the same as ever
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client sends <method> <path>
    Then the answer is <status> <code>

    Examples:
      | method | path                 | status | code               |
      | GET    | /v2/nothing          | 404    | NOT_FOUND          |
      | GET    | /v2/tasks/7/events   | 404    | TASK_NOT_FOUND     |
      | PUT    | /livez               | 405    | METHOD_NOT_ALLOWED |
      | POST   | /v2/tasks            | 411    | INVALID_PARAMS     |
      | GET    | /v2/tasks?limit=none | 400    | INVALID_PARAMS     |

  Scenario: HEAD is answered like GET, without the body
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client sends HEAD /v2/meta/version
    Then the answer is 200
    And the body is empty
    And the headers hold
      | Content-Length | at least 1 |

  Scenario: a body that is too long is refused
    Given a daemon started with --body-max-bytes 1000
    And every request goes over one connection of HTTP/2
    When the client stores an artifact of 2000 bytes
    Then the answer is 413
    When the client stores an artifact of 200 bytes
    Then the answer is 201

  Scenario: bodies that are longer than a window arrive side by side
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client stores 30 artifacts of 300000 bytes at once
    Then every answer is 201

  Scenario: a body that does not come is not waited for
    Given a daemon started with --body-timeout-ms 200
    And every request goes over one connection of HTTP/2
    When the client begins a task and sends no body
    Then the answer is 408 INVALID_PARAMS
    When the client sends GET /livez
    Then the answer is 200

  Scenario: a head that is too long is refused, and the connection goes on
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client sends GET /livez with a field of 40000 characters
    Then the answer is 431
    When the client sends GET /livez
    Then the answer is 200

  Scenario: a head beyond all measure ends the connection
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client sends GET /livez with a field of 600000 characters
    Then the connection comes to its end

  # CVE-2023-44487.
  Scenario: a client that begins requests only to take them back is cut off
    Given a daemon
    And every request goes over one connection of HTTP/2
    When the client begins tasks and resets them until it is cut off
    Then the connection is said farewell to with ENHANCE_YOUR_CALM

  Scenario: a connection without a stream is closed in its time
    Given a daemon started with --idle-timeout-ms 200
    And every request goes over one connection of HTTP/2
    Then the connection is said farewell to with NO_ERROR
    And the connection comes to its end

  Scenario: a daemon that stops says so, and finishes what it streams
    Given a daemon started with --shutdown-grace-ms 60000 --mock-tokens-per-s 50
    And every request goes over one connection of HTTP/2
    And the client enqueues a task
      | max_tokens | 100 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the daemon receives SIGTERM
    Then the connection is said farewell to with NO_ERROR
    When Ann reads on to the end
    Then Ann has seen a stream in order
    And each end event of Ann holds
      | tokens_out | 100 |
    And the daemon exits with code 0

  Scenario: a connection that rests hears of the stop as well
    Given a daemon started with --shutdown-grace-ms 60000 --mock-tokens-per-s 50
    And the client enqueues a task
      | max_tokens | 100 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    And every request goes over one connection of HTTP/2
    When the daemon receives SIGTERM
    Then the connection is said farewell to with NO_ERROR
    When Ann reads on to the end
    Then Ann has seen a stream in order
    And the daemon exits with code 0
