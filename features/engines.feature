Feature: Engines
  Engines of several kinds run behind the daemon, each with a protocol of its own. A caller sees none of
  that: the same events come from all of them, and an engine that fails is an error that says whose fault it
  was, never half an answer that looks whole.

  Scenario Outline: <workload> work is done by an engine that speaks <protocol>
    Given an engine called alpha started with --protocol <protocol>
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "<engine>", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref  | "scripted"   |
      | workload   | "<workload>" |
      | prompt     | <prompt>     |
      | messages   | <messages>   |
      | inputs     | <inputs>     |
      | max_tokens | <max_tokens> |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each end event of the client holds
      | tokens_out          | <tokens>   |
      | finish_reason       | "<finish>" |
      | usage.prompt_tokens | at least 1 |
    And the engine alpha comes to hear of <path>

    Examples:
      | workload   | protocol | engine   | prompt | messages                             | inputs          | max_tokens | tokens | finish | path                 |
      | completion | openai   | openai   | "a b"  | null                                 | null            | 5          | 5      | length | /v1/completions      |
      | chat       | openai   | vllm     | null   | [{"role": "user", "content": "a b"}] | null            | 5          | 5      | length | /v1/chat/completions |
      | embedding  | openai   | vllm     | null   | null                                 | ["a", "b"]      | null       | 2      | stop   | /v1/embeddings       |
      | rerank     | openai   | openai   | null   | null                                 | ["a", "b", "c"] | null       | 2      | stop   | /v1/rerank           |
      | completion | llamacpp | llamacpp | "a b"  | null                                 | null            | 5          | 5      | length | "/completion"        |
      | chat       | llamacpp | llamacpp | null   | [{"role": "user", "content": "a b"}] | null            | 5          | 5      | length | /v1/chat/completions |

  Scenario: a pool tells what its servers tell of themselves
    Given an engine called alpha started with --protocol llamacpp --slots 2
    And a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "llamacpp", "url": "{alpha}", "slots": 9, "model_ref": "scripted"}
      """
    Then GET /v2/pools comes to hold
      | pools.1.pool_id                     | "gpu"          |
      | pools.1.ctx_max                     | at least 1     |
      | pools.1.engine_version              | mentions mock- |
      | pools.1.metrics.slots_free          | 2              |
      | pools.1.replicas.0.slots_total      | 2              |
      | pools.1.replicas.0.requests_running | 0              |
      | pools.1.replicas.0.requests_waiting | 0              |
    And a line of the log comes to hold
      | event         | "fewer_slots" |
      | slots_claimed | 9             |
      | slots         | 2             |
    When the client enqueues a task
      | model_ref | "scripted" |
      | ctx       | 4294967295 |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions ctx |

  # Asked for another, it would answer 404 at best, and with the wrong model at worst.
  Scenario: a server that lists its models, and not ours, gets no tasks
    Given an engine called alpha started with --model another
    And a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "vllm", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready      | false                                     |
      | last_error | "it does not serve the model `scripted`" |

  Scenario Outline: an engine with --fault <fault> fails nobody as long as there is another
    Given an engine called sick started with --fault <fault>
    And an engine called sound
    And a daemon
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
    And each end event of the client holds
      | tokens_out | 8 |
    And a line of the log comes to hold
      | event      | "retry" |
      | replica_id | "w1"    |

    Examples:
      | fault       |
      | status:500  |
      | status:429  |
      | status:401  |
      | status:307  |
      | status:200  |
      | status:204  |
      | garbage     |
      | close       |
      | cut-after:0 |
      | huge-token  |

  Scenario Outline: an engine with --fault <fault> is an error, and says so
    Given an engine called alpha started with --fault <fault>
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref  | "scripted" |
      | max_tokens | 20         |
    When the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code    | "<code>"           |
      | message | mentions <message> |
    And the client has seen <tokens> tokens

    Examples:
      | fault       | code           | message | tokens |
      | garbage     | WORKER_RESET   | engine  | 0      |
      | status:500  | WORKER_RESET   | engine  | 0      |
      | status:400  | INVALID_PARAMS | refused | 0      |
      | status:307  | WORKER_RESET   | engine  | 0      |
      | close       | WORKER_RESET   | engine  | 0      |
      | die-after:3 | WORKER_RESET   | engine  | 3      |
      | cut-after:3 | WORKER_RESET   | engine  | 3      |
      | huge-token  | WORKER_RESET   | engine  | 0      |

  Scenario Outline: an engine with --fault <fault> is waited for no longer than it may be silent
    Given an engine called alpha started with --fault <fault>
    And a daemon started with --decode-timeout-ms 300
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref | "scripted" |
    When the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code | "DECODE_TIMEOUT" |
    And the client has seen <tokens> tokens

    Examples:
      | fault        | tokens |
      | silent       | 0      |
      | drip-head    | 0      |
      | drip-body    | 0      |
      | hang-after:3 | 3      |

  # Its slot serves the next task, which starts as soon as the text before it has ended.
  Scenario Outline: an engine with --fault <fault> gives the text that was asked for
    Given an engine called alpha started with --fault <fault>
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "<engine>", "url": "{alpha}", "slots": 1, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues the task before
      | model_ref  | "scripted" |
      | max_tokens | 3          |
    And the client enqueues the task after
      | model_ref  | "scripted" |
      | max_tokens | 3          |
    When the client reads /v2/tasks/{before}/events
    And the client reads /v2/tasks/{after}/events
    Then each end event of the client holds
      | tokens_out    | 3        |
      | finish_reason | "length" |
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_free | 1 |

    Examples:
      | fault   | engine |
      | endless | openai |
      | endless | vllm   |
      | unended | openai |

  Scenario: an engine is told that its text is wanted no more
    Given an engine called alpha started with --fault endless --tokens-per-s 40
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref  | "scripted" |
      | max_tokens | 100        |
    And the client opens /v2/tasks/{task}/events
    And the client has received 1 token
    When the client sends POST /v2/tasks/{task}/cancel
    Then the engine alpha comes to hear of left_after_tokens
