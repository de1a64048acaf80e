Feature: Budget headers
  Whoever pays wants to know what is left before the bill comes. Every answer to a task and every
  stream says it, in three headers; the stream's metrics say it as it shrinks.

  Scenario: on enqueue
    Given a daemon started with --session-tokens-budget 1000 --session-time-budget-ms 60000 --session-cost-budget 2.5 --cost-per-1k-tokens 1
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 100                                    |
    Then the answer is 202
    And the headers hold
      | X-Budget-Tokens-Remaining  | 900   |
      | X-Budget-Time-Remaining-Ms | 60000 |
      | X-Budget-Cost-Remaining    | "2.4" |

  Scenario: on stream
    Given a daemon started with --session-tokens-budget 1000
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 100                                    |
    When the client reads /v2/tasks/{task}/events
    Then the answer is 200
    And the headers hold
      | X-Budget-Tokens-Remaining  | 900         |
      | X-Budget-Time-Remaining-Ms | "unlimited" |
      | X-Budget-Cost-Remaining    | "unlimited" |
    And each metrics event of the client holds
      | tokens_budget_remaining  | 900     |
      | time_budget_remaining_ms | nothing |
      | cost_budget_remaining    | nothing |

  Scenario: without a session nothing is bounded
    Given a daemon started with --session-tokens-budget 1000
    When the client enqueues a task
    Then the headers hold
      | X-Budget-Tokens-Remaining  | "unlimited" |
      | X-Budget-Time-Remaining-Ms | "unlimited" |
      | X-Budget-Cost-Remaining    | "unlimited" |

  Scenario: what was set aside and not used comes back
    Given a daemon started with --session-tokens-budget 1000
    And the client enqueues a task
      | session_id      | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | prompt          | "four words of prompt"                 |
      | max_tokens      | 6                                      |
      | expected_tokens | 5                                      |
    And the client reads /v2/tasks/{task}/events
    Then GET /v2/sessions/9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11 comes to hold
      | tokens_budget_remaining | 990 |

  Scenario Outline: what a budget does not cover is refused before it is queued
    Given a daemon started with <budget>
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 60                                     |
    And the client reads /v2/tasks/{task}/events
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 60                                     |
    Then the answer is 429 BUDGET_EXHAUSTED
    And the headers hold
      | Retry-After  | at least 1 |
      | X-Backoff-Ms | at least 1 |
    And the body holds
      | message   | mentions <which> |
      | retriable | false            |

    Examples:
      | budget                                                  | which |
      | --session-tokens-budget 100                             | token |
      | --session-time-budget-ms 1                              | time  |
      | --session-cost-budget 0.0001 --cost-per-1k-tokens 0.001 | cost  |
