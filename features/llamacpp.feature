Feature: llama.cpp
  What is promised of engines holds for a real one: llama.cpp's own server, with the model that ships with the
  daemon. Its texts arrive as it wrote them, what it refuses is refused in its sense, and what nobody wants any
  more is not computed.

  Background:
    Given a llama.cpp server called alpha started with --parallel 2 --metrics
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "cpp", "replica_id": "w1", "engine": "llamacpp", "url": "{alpha}", "slots": 2, "model_ref": "real"}
      """
    And GET /v2/pools/cpp/health comes to hold
      | ready | true |

  Scenario: a greedy completion is the engine's own, to the letter
    When the client enqueues a task
      | model_ref   | "real"             |
      | prompt      | "Once upon a time" |
      | max_tokens  | 40                 |
      | temperature | 0                  |
      | seed        | 7                  |
    And the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each end event of the client holds
      | finish_reason           | "length" |
      | tokens_out              | 40       |
      | usage.prompt_tokens     | 5        |
      | usage.completion_tokens | 40       |
    And the client has seen the text that the engine alpha answers to POST /completion
      """
      {"prompt": "Once upon a time", "n_predict": 40, "temperature": 0, "seed": 7}
      """

  Scenario: a greedy chat is the engine's own, to the letter
    When the client enqueues a task
      | model_ref   | "real"                                                |
      | workload    | "chat"                                                |
      | prompt      | null                                                  |
      | messages    | [{"role": "user", "content": "Tell me about a fox."}] |
      | max_tokens  | 40                                                    |
      | temperature | 0                                                     |
      | seed        | 7                                                     |
    And the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each end event of the client holds
      | usage.prompt_tokens     | at least 1 |
      | usage.completion_tokens | at least 1 |
    And the client has seen the text that the engine alpha answers to POST /v1/chat/completions
      """
      {"messages": [{"role": "user", "content": "Tell me about a fox."}], "max_tokens": 40, "temperature": 0, "seed": 7}
      """

  Scenario: what it tells of itself is told on
    Then GET /v2/pools comes to hold
      | pools.1.pool_id        | "cpp"        |
      | pools.1.ctx_max        | 512          |
      | pools.1.engine_version | "b0-unknown" |
    And the metrics come to mention engine_version="b0-unknown"

  Scenario: a prompt that is longer than its context is the caller's fault
    Given a text called long of 600 words
    When the client enqueues a task
      | model_ref | "real"   |
      | prompt    | "{long}" |
    And the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code      | "INVALID_PARAMS" |
      | retriable | false            |

  Scenario Outline: <workload> work that it was not started for is refused, and it says so
    When the client enqueues a task
      | model_ref  | "real"       |
      | workload   | "<workload>" |
      | prompt     | null         |
      | max_tokens | null         |
      | inputs     | ["a", "b"]   |
    And the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code      | "INVALID_PARAMS" |
      | retriable | false            |
    And the client has seen 0 tokens

    Examples:
      | workload  |
      | embedding |
      | rerank    |

  Scenario Outline: <workload> work is done by a server that was started for it
    Given a llama.cpp server called beta started with --embeddings --pooling <pooling>
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "vectors", "replica_id": "w1", "engine": "llamacpp", "url": "{beta}", "slots": 1, "model_ref": "vectors"}
      """
    And GET /v2/pools/vectors/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref  | "vectors"       |
      | workload   | "<workload>"    |
      | prompt     | null            |
      | max_tokens | null            |
      | inputs     | ["a", "b", "c"] |
    And the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And the client has seen <results> tokens
    And each end event of the client holds
      | usage.prompt_tokens | at least 1 |

    Examples:
      | workload  | pooling | results |
      | embedding | mean    | 3       |
      | rerank    | rank    | 2       |

  Scenario: a slot is free again as soon as its text is wanted no more
    Given a file endless.gguf that holds the shipped model without an end
    And a llama.cpp server called beta started with --model {dir}/endless.gguf --ctx-size 32768
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "endless", "replica_id": "w1", "engine": "llamacpp", "url": "{beta}", "slots": 1, "model_ref": "endless"}
      """
    And GET /v2/pools/endless/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref  | "endless" |
      | max_tokens | 30000     |
    And the client opens /v2/tasks/{task}/events
    And the client has received 1 token
    And the engine beta comes to answer GET /slots with
      | 0.is_processing | true |
    When the client sends POST /v2/tasks/{task}/cancel
    And the client reads on to the end
    Then each error event of the client holds
      | code | "CANCELED" |
    And the engine beta comes to answer GET /slots with
      | 0.is_processing | false |
    When the client enqueues a task
      | model_ref  | "endless" |
      | max_tokens | 8         |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: a server that dies is missed, and taken back when it has returned
    When the engine alpha is killed
    Then GET /v2/pools/cpp/health comes to hold
      | ready      | false  |
      | last_error | a text |
    Given a llama.cpp server called alpha started with --parallel 2 --metrics
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "cpp", "replica_id": "w1", "engine": "llamacpp", "url": "{alpha}", "slots": 2, "model_ref": "real"}
      """
    And GET /v2/pools/cpp/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "real" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
