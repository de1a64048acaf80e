Feature: Logs
  A log line is for a program to find and for a person to read. One id, the caller's own, leads from
  admission to the end of the stream. What was asked and what was answered are nobody's business:
  they are never written down.

  Background:
    Given a daemon started with --shutdown-grace-ms 60000
    And every request carries X-Correlation-Id: tale-0042
    And every request carries traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    And the client enqueues a task
      | prompt     | "A secret garden behind the mill"      |
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client reads /v2/tasks/{task}/events

  Scenario: every line of a task's life carries the ids of its request
    When the daemon receives SIGTERM
    Then the daemon exits with code 0
    And every line of the log about {task} holds
      | correlation_id | "tale-0042"                        |
      | trace_id       | "4bf92f3577b34da6a3ce929d0e0e4736" |
      | session_id     | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | identity       | "localhost"                        |
      | engine         | "mock"                             |
      | engine_version | a text                             |
      | pool_id        | "default"                          |
      | human          | a text                             |

  Scenario: correlation id propagation to logs
    Then a line of the log comes to hold
      | correlation_id     | "tale-0042"  |
      | job_id             | "{task}"     |
      | identity           | "localhost"  |
      | queue_position     | an integer   |
      | predicted_start_ms | a number     |
      | human              | a text       |
    And a line of the log comes to hold
      | correlation_id | "tale-0042" |
      | job_id         | "{task}"    |
      | engine         | "mock"      |
      | pool_id        | "default"   |
      | replica_id     | "r0"        |
      | tokens_out     | nothing     |
    And a line of the log comes to hold
      | correlation_id | "tale-0042" |
      | job_id         | "{task}"    |
      | tokens_out     | at least 1  |
      | decode_time_ms | a number    |
      | human          | a text      |

  # After its end the daemon can add nothing that this would miss.
  Scenario: every line is JSON, and no line tells the prompt
    When the daemon receives SIGTERM
    Then the daemon exits with code 0
    And every line of the log is a JSON object
    And the log never mentions "secret garden"

  Scenario: a refusal is logged under the caller's id
    Given the client enqueues a task
      | max_tokens | 0 |
    Then a line of the log comes to hold
      | correlation_id | "tale-0042"                        |
      | trace_id       | "4bf92f3577b34da6a3ce929d0e0e4736" |
      | job_id         | nothing                            |
      | human          | a text                             |

  Scenario: a refusal tells what it is about
    Given the client sends POST /v2/pools/default/drain
      """
      {"deadline_ms": 60000}
      """
    And the client enqueues a task
      | task_id    | "7d444840-9dc0-41d1-b245-5ffdce74fad2" |
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client sends GET /v2/tasks/7d444840-9dc0-41d1-b245-5ffdce74fad2
    Then a line of the log comes to hold
      | event          | "refusal"                              |
      | code           | "POOL_DRAINING"                        |
      | correlation_id | "tale-0042"                            |
      | identity       | "localhost"                            |
      | job_id         | "7d444840-9dc0-41d1-b245-5ffdce74fad2" |
      | session_id     | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | engine         | "mock"                                 |
      | engine_version | a text                                 |
      | pool_id        | "default"                              |
      | human          | a text                                 |
    And a line of the log comes to hold
      | event  | "refusal"                              |
      | code   | "TASK_NOT_FOUND"                       |
      | job_id | "7d444840-9dc0-41d1-b245-5ffdce74fad2" |

  Scenario: a cancel tells where the task ran and how far it came
    Given the client enqueues the task endless
      | max_tokens | 100000 |
    And the client opens /v2/tasks/{endless}/events
    And the client has received 2 tokens
    And the client sends POST /v2/tasks/{endless}/cancel
    Then a line of the log comes to hold
      | event      | "cancel"    |
      | job_id     | "{endless}" |
      | replica_id | "r0"        |
      | tokens_out | at least 2  |
      | reason     | "requested" |
