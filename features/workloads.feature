Feature: Workloads
  A task says what kind of work it is, and brings the one field that this needs: a prompt to continue,
  the messages of a chat to answer, or texts to embed or to rank. Whatever it is, it waits, streams and
  ends like any other task. A field that does not belong is refused by name, never ignored.

  Scenario Outline: a chat is answered
    Given a daemon started with --engine <engine>
    And the client enqueues a task
      | workload    | "chat" |
      | prompt      | null   |
      | messages    | [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "What is an owl?"}] |
      | max_tokens  | 40     |
      | temperature | 0      |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each token event of the client holds
      | t | a text |
    And each end event of the client holds
      | tokens_out          | 1 to 40    |
      | usage.prompt_tokens | at least 1 |

    Examples:
      | engine   |
      | mock     |
      | embedded |

  Scenario: the shipped model answers the last message, and comes to an end by itself
    Given a daemon started with --engine embedded
    And the client enqueues a task
      | workload    | "chat" |
      | prompt      | null   |
      | messages    | [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "What is an owl?"}] |
      | max_tokens  | 200    |
      | temperature | 0      |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a text that mentions owl
    And each end event of the client holds
      | finish_reason | "stop" |

  Scenario Outline: each text becomes a vector
    Given a daemon started with --engine <engine>
    And the client enqueues a task
      | workload   | "embedding" |
      | prompt     | null        |
      | max_tokens | null        |
      | inputs     | ["The moon is round.", "The sea", "The moon is round."] |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And the client has seen 3 vectors of one length
    And tokens 0 and 2 of the client are the same
    And tokens 0 and 1 of the client are different
    And each end event of the client holds
      | tokens_out          | 3          |
      | finish_reason       | "stop"     |
      | usage.prompt_tokens | at least 3 |

    Examples:
      | engine   |
      | mock     |
      | embedded |

  Scenario Outline: documents are told how well they answer a query
    Given a daemon started with --engine <engine>
    And the client enqueues a task
      | workload   | "rerank" |
      | prompt     | null     |
      | max_tokens | null     |
      | inputs     | ["What is an owl?", "The sea", "What is an owl?", "Five"] |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And the client has seen 3 scores, the highest at 1

    Examples:
      | engine   |
      | mock     |
      | embedded |

  Scenario: a text that the model has no room for is the caller's to shorten
    Given a daemon started with --engine embedded --context-tokens 16
    And the client enqueues a task
      | workload   | "embedding" |
      | prompt     | null        |
      | max_tokens | null        |
      | inputs     | ["one", "a b c d e f g h i j k l m n o p q r s t u v w x y z"] |
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And the client has seen 0 tokens
    And each error event of the client holds
      | code      | "INVALID_PARAMS" |
      | retriable | false            |

  Scenario Outline: exactly the field that the workload needs
    Given a daemon
    When the client enqueues a task
      | workload   | <workload> |
      | prompt     | null       |
      | max_tokens | null       |
      | <field>    | <value>    |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions `<named> |

    Examples:
      | workload     | field    | value                                | named            |
      | "completion" | seed     | 1                                    | prompt           |
      | "completion" | messages | [{"role": "user", "content": "Hi"}]  | messages         |
      | "chat"       | seed     | 1                                    | messages         |
      | "chat"       | prompt   | "Hi"                                 | prompt           |
      | "chat"       | messages | []                                   | messages         |
      | "chat"       | messages | [{"role": "owl", "content": "Hoo"}]  | messages[0].role |
      | "chat"       | messages | [{"role": "user"}]                   | messages[0]      |
      | "embedding"  | messages | [{"role": "user", "content": "Hi"}]  | messages         |
      | "embedding"  | inputs   | []                                   | inputs           |
      | "rerank"     | inputs   | ["a query, and nothing to rank"]     | inputs           |

  Scenario Outline: how tokens are chosen is no matter of a task that generates none
    Given a daemon
    When the client enqueues a task
      | workload   | "embedding" |
      | prompt     | null        |
      | max_tokens | null        |
      | inputs     | ["Hi"]      |
      | <field>    | <value>     |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions `<field> |

    Examples:
      | field       | value |
      | max_tokens  | 8     |
      | temperature | 0.5   |
      | stop        | "."   |

  Scenario: a kind of work that no pool of the model does is refused by its name
    Given a file tales.gguf that holds the shipped model with a chat template that can't be read
    And a daemon started with --engine embedded --model {dir}/tales.gguf
    When the client sends GET /v2/meta/capabilities
    Then the body holds
      | engines.0.supported_workloads | ["completion", "embedding", "rerank"] |
    When the client enqueues a task
      | workload | "chat" |
      | prompt   | null   |
      | messages | [{"role": "user", "content": "Hello!"}] |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions chat |

  Scenario: a full transcript has what was asked, whatever it was
    Given a daemon started with --transcripts full
    And the client enqueues a task
      | workload   | "rerank" |
      | prompt     | null     |
      | max_tokens | null     |
      | inputs     | ["a secret query", "a secret document"] |
    When the client reads /v2/tasks/{task}/events
    And the client learns the transcript_artifact_id of /v2/tasks/{task}, called transcript
    And the client sends GET /v2/artifacts/{transcript}
    Then the body holds
      | content.workload | "rerank" |
      | content.inputs   | ["a secret query", "a secret document"] |
      | content.prompt   | nothing |
