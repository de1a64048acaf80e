Feature: Task list
  What have I asked for, and how does it stand? A list answers without anybody having kept the ids.
  It shows its caller their own tasks, the newest first, a page at a time.

  Scenario: a caller lists their tasks, wherever they live
    Given a daemon started with --shards 2 --slots 1 --mock-first-token-ms 600000
    And the client enqueues the task first
    And GET /v2/tasks/{first} comes to hold
      | state | "running" |
    And the client enqueues the task second
    When the client sends GET /v2/tasks?state=queued
    Then the answer is 200
    And the body holds
      | tasks.0.task_id | "{second}" |
      | tasks.1         | nothing    |
      | next_cursor     | nothing    |
    When the client sends GET /v2/tasks?state=running&pool=default
    Then the body holds
      | tasks.0.task_id | "{first}" |
      | tasks.1         | nothing   |
    When the client sends GET /v2/tasks?pool=nowhere
    Then the body holds
      | tasks.0 | nothing |

  Scenario: a list is read a page at a time
    Given a daemon
    And the client enqueues a task
    And the client enqueues a task
    And the client enqueues a task
    When the client sends GET /v2/tasks?limit=2
    Then the body holds
      | tasks.0     | an object |
      | tasks.1     | an object |
      | tasks.2     | nothing   |
      | next_cursor | a text    |
    When the client turns the page with GET /v2/tasks?limit=2
    Then the body holds
      | tasks.0     | an object |
      | tasks.1     | nothing   |
      | next_cursor | nothing   |

  Scenario: what has ended is listed after a crash, each once
    Given a daemon
    And the client enqueues the task first
    And the client reads /v2/tasks/{first}/events
    And the client enqueues the task second
    And the client sends POST /v2/tasks/{second}/cancel
    When the daemon is killed
    And the daemon is started again with --finished-tasks-max 1
    And the client enqueues the task third
    And the client reads /v2/tasks/{third}/events
    And the client sends GET /v2/tasks?limit=2
    Then the body holds
      | tasks.0.task_id     | "{third}"                       |
      | tasks.1.task_id     | "{second}"                      |
      | tasks.1.state       | "canceled"                      |
      | tasks.1.streams.sse | "/v2/tasks/{second}/events"     |
      | tasks.2             | nothing                         |
    When the client turns the page with GET /v2/tasks?limit=2
    Then the body holds
      | tasks.0.task_id | "{first}" |
      | tasks.1         | nothing   |
      | next_cursor     | nothing   |
    When the client sends GET /v2/tasks?state=canceled
    Then the body holds
      | tasks.0.task_id | "{second}" |
      | tasks.1         | nothing    |
    When the client sends GET /v2/tasks?pool=nowhere
    Then the body holds
      | tasks.0 | nothing |

  Scenario: a list shows nobody else's tasks, but to who has control
    Given Ann has a key for data
    And Ben has a key for data
    And Olga has a key for data,control
    And a daemon started with --keys {dir}/keys.toml
    And Ann enqueues a task
    When Ben sends GET /v2/tasks
    Then the body holds
      | tasks.0 | nothing |
    When Ann sends GET /v2/tasks
    Then the body holds
      | tasks.0.task_id | "{task}" |
    When Olga sends GET /v2/tasks
    Then the body holds
      | tasks.0.task_id | "{task}" |

  Scenario Outline: what can't be listed is told by name
    Given a daemon
    When the client sends GET /v2/tasks?<query>
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions <field> |

    Examples:
      | query         | field  |
      | state=asleep  | state  |
      | limit=0       | limit  |
      | limit=1001    | limit  |
      | limit=many    | limit  |
      | cursor=beyond | cursor |
