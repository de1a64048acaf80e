Feature: Engines that take too long
  Every wait for an engine has a bound of its own. Until it has begun to answer, the task runs elsewhere if
  it can; from then on what was said can't be taken back, and the task ends with an error that says so.

  Scenario: an engine that does not begin to answer fails nobody as long as there is another
    Given an engine called sick started with --fault silent
    And an engine called sound
    And a daemon started with --engine-first-byte-timeout-ms 100
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{sick}", "slots": 1, "model_ref": "scripted"}
      """
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w2", "engine": "openai", "url": "{sound}", "slots": 1, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_free | 2 |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events?verbose=true
    Then the client has seen a stream in order
    And each started event of the client holds
      | replica_id | "w2" |
    And a line of the log comes to hold
      | event      | "retry" |
      | replica_id | "w1"    |

  Scenario Outline: a task whose engine <does> ends with <code>
    Given an engine called alpha started with <engine>
    And a daemon started with <bound>
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 1, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_free | 1 |
    And the client enqueues a task
      | model_ref  | "scripted" |
      | max_tokens | 1000       |
    When the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code      | "<code>" |
      | retriable | true     |
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_free | 1 |

    Examples:
      | does                      | engine               | bound                              | code           |
      | does not begin to answer  | --fault silent       | --engine-first-byte-timeout-ms 100 | WORKER_RESET   |
      | falls silent              | --fault hang-after:3 | --decode-timeout-ms 100            | DECODE_TIMEOUT |
      | takes too long as a whole | --tokens-per-s 40    | --engine-total-timeout-ms 100      | DECODE_TIMEOUT |

  Scenario: bounds are checked before anything starts
    When someone starts a daemon with --engine-connect-timeout-ms 0
    Then it refuses with exit code 2 and a remedy that mentions at least 1
