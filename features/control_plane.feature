Feature: Control plane
  An operator, or the program that stands in for one, must be able to ask what is running, how well,
  and what it can do, without reading logs and without disturbing anybody's task.

  Background:
    Given a daemon started with --slots 3

  Scenario: capabilities are exposed
    When the client sends GET /v2/meta/capabilities
    Then the answer is 200
    And the body holds
      | api_version                   | a text     |
      | engines.0.engine              | "mock"     |
      | engines.0.engine_version      | a text     |
      | engines.0.ctx_max             | an integer |
      | engines.0.supported_workloads | a list     |
      | engines.0.concurrency         | an integer |

  Scenario: pool health shows status and metrics
    When the client sends GET /v2/pools/default/health
    Then the answer is 200
    And the body holds
      | live                 | true       |
      | ready                | true       |
      | draining             | false      |
      | last_error           | nothing    |
      | metrics.queue_depth  | 0          |
      | metrics.slots_total  | 3          |
      | metrics.slots_free   | 3          |
      | metrics.tokens_per_s | a number   |
      | replicas.0           | an object  |

  Scenario: the pools are listed
    When the client sends GET /v2/pools
    Then the answer is 200
    And the body holds
      | pools.0.pool_id | "default" |

  Scenario: the version is told
    When the client sends GET /v2/meta/version
    Then the answer is 200
    And the body holds
      | api_version  | a text |
      | build_commit | a text |
      | build_time   | a text |

  Scenario: an unknown pool is not found
    When the client sends GET /v2/pools/nowhere/health
    Then the answer is 404 POOL_NOT_FOUND

  Scenario Outline: probes answer while the daemon is well
    When the client sends GET <probe>
    Then the answer is 200

    Examples:
      | probe    |
      | /livez   |
      | /readyz  |
      | /healthz |
