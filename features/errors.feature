Feature: Error taxonomy
  Every refusal has one shape: a code for programs, a sentence for people, whether trying again can
  help, and the id under which the log knows it. Nothing of the inside shows. There are no magic
  requests that pretend an error; each of these has a real cause.

  Scenario Outline: invalid params 400 names the field
    Given a daemon
    When the client enqueues a task
      | <field> | <value> |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message   | mentions <field> |
      | retriable | false            |

    Examples:
      | field      | value              |
      | max_tokens | 0                  |
      | max_tokens | "twelve"           |
      | priority   | "urgent"           |
      | workload   | "painting"         |
      | task_id    | "not-a-uuid"       |
      | ctx        | -1                 |
      | inputs     | ["one", "another"] |

  Scenario: a field that nobody knows is refused by name
    Given a daemon
    When the client enqueues a task
      | max_tokenz | 12 |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions max_tokenz |

  # Whoever prints the sentence must not be printed on: no cursor moves, no line ends, no text turns around.
  Scenario: what can't be seen in a name is told as an escape
    Given a daemon
    When the client sends POST /v2/tasks
      """
      {"model_ref": "mock", "prompt": "a", "\u001b[2J\u202e": 1}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions 202e |

  Scenario Outline: a body that is not a task is refused
    Given a daemon
    When the client sends POST /v2/tasks
      """
      <body>
      """
    Then the answer is 400 INVALID_PARAMS

    Examples:
      | body                        |
      | {"model_ref": "mock",       |
      | ["mock"]                    |
      | {"prompt": "without model"} |
      | {"model_ref": "mock"}       |

  Scenario: another content type than JSON is refused
    Given a daemon
    And every request carries Content-Type: text/plain
    When the client enqueues a task
    Then the answer is 415

  Scenario: an unknown route is not found
    Given a daemon
    When the client sends GET /v2/nowhere
    Then the answer is 404 NOT_FOUND

  Scenario: a wrong method is told which ones are right
    Given a daemon
    When the client sends DELETE /v2/meta/version
    Then the answer is 405
    And the headers hold
      | Allow | mentions GET |

  Scenario: a body over the limit is refused before it is sent
    Given a daemon
    When the client writes
      """
      POST /v2/tasks HTTP/1.1
      Host: localhost
      Content-Type: application/json
      Content-Length: 4000000000
      """
    Then the next answer is 413

  Scenario: an unknown model is not found
    Given a daemon
    When the client enqueues a task
      | model_ref | "nobody-trained-this" |
    Then the answer is 404 MODEL_NOT_FOUND

  Scenario Outline: an unknown task is not found
    Given a daemon
    When the client sends GET /v2/tasks/00000000-0000-4000-8000-000000000000<part>
    Then the answer is 404 TASK_NOT_FOUND

    Examples:
      | part    |
      |         |
      | /events |

  Scenario Outline: infeasible deadline rejected
    Given a daemon
    When the client enqueues a task
      | deadline_ms | <deadline> |
    Then the answer is 400 DEADLINE_UNMET

    Examples:
      | deadline |
      | 0        |
      | -5       |

  Scenario: an error is traced under the caller's own id
    Given a daemon
    And every request carries X-Correlation-Id: tale-404
    When the client sends GET /v2/nowhere
    Then the answer is 404 NOT_FOUND
    And the body holds
      | correlation_id | "tale-404" |

  Scenario: pool unavailable 503
    Given a daemon started with --mock-fault refuse
    When the client enqueues tasks until one is answered 503
    Then the answer is 503 POOL_UNAVAILABLE
    And the headers hold
      | Retry-After  | at least 1 |
      | X-Backoff-Ms | at least 1 |
    And the body holds
      | retriable | true |

  Scenario: a probe that fails is told when to come back too
    Given a daemon started with --mock-fault refuse
    When the client sends GET /readyz
    Then the answer is 503 POOL_UNREADY
    And the headers hold
      | Retry-After  | at least 1 |
      | X-Backoff-Ms | at least 1 |
    And the body holds
      | retry_after_ms | at least 1 |

  Scenario: an engine that nobody runs is not waited for
    Given a daemon
    When the client enqueues a task
      | engine | "triton" |
    Then the answer is 404 MODEL_NOT_FOUND
    And the body holds
      | message   | mentions engine |
      | retriable | false           |

  Scenario: an engine that never gave a token fails its task
    Given a daemon started with --mock-fault die-after:0
    And the client enqueues a task
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And the client has seen 0 tokens
    And each error event of the client holds
      | code    | a text |
      | message | a text |

  Scenario: an engine that dies in mid-text ends the stream after what it gave
    Given a daemon started with --mock-fault die-after:3
    And the client enqueues a task
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And the client has seen 3 tokens
    And each error event of the client holds
      | code | "WORKER_RESET" |

  Scenario: internal error 500
    Given a daemon
    And the client enqueues a task
      | max_tokens | 100000 |
    And the client opens /v2/tasks/{task}/events
    And the client has received 2 tokens
    When the daemon's disk is full
    And the client stores an artifact of 200000 bytes
    Then the answer is 500 INTERNAL
    And the body holds
      | retriable | false |
    And a line of the log comes to hold
      | event | "store_failed" |
      | error | a text         |
    When the client has received 10 tokens
    And the client sends POST /v2/tasks/{task}/cancel
    Then the answer is 204
    When the client reads on to the end
    Then the client has seen a stream in order
    When the daemon's disk has room again
    And the client stores an artifact of 200000 bytes
    Then the answer is 201
    When the client enqueues a task
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
