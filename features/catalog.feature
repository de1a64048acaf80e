Feature: Catalog
  The catalog says which models may be used. A retired model, one whose file has changed, or one that
  nobody trusted has signed is refused before it costs a slot, under each of its names. Files are
  hashed beside the streams, never before them.

  Scenario: a model is registered and read back
    Given a daemon
    When the client sends POST /v2/catalog/models
      """
      {"id": "tale-1", "source_url": "mock", "tags": ["small"], "sbom": {"spdx": "2.3"},
       "digest": "sha256:97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c"}
      """
    Then the answer is 201
    When the client sends GET /v2/catalog/models/tale-1
    Then the answer is 200
    And the body holds
      | id               | "tale-1"        |
      | digest           | mentions sha256 |
      | tags             | ["small"]       |
      | sbom             | {"spdx": "2.3"} |
      | state            | "Active"        |
      | created_ms       | an integer      |
      | last_verified_ms | nothing         |
      | signed           | false           |

  Scenario: a model without an id is told what is missing
    Given a daemon
    When the client sends POST /v2/catalog/models
      """
      {"source_url": "mock"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | "id required" |

  # It becomes a label of a metric, and stands in lines that people read.
  Scenario: a model is not called by what can't be seen
    Given a daemon
    When the client sends POST /v2/catalog/models
      """
      {"id": "tale\u001b[2J\n", "source_url": "mock"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions `id` |

  Scenario: the same registration again is safe, another of the same id is not
    Given a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "tale-1", "source_url": "mock"}
      """
    When the client sends the same again
    Then the answer is 201
    And the answer is the same as before
    When the client sends POST /v2/catalog/models
      """
      {"id": "tale-1", "source_url": "file:/elsewhere.gguf"}
      """
    Then the answer is 409 CONFLICT

  Scenario Outline: an unknown model is not found
    Given a daemon
    When the client sends <request>
    Then the answer is 404 MODEL_NOT_FOUND

    Examples:
      | request                                |
      | GET /v2/catalog/models/nobody          |
      | POST /v2/catalog/models/nobody/verify  |
      | DELETE /v2/catalog/models/nobody       |

  Scenario: a model that was removed is gone
    Given a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "tale-1"}
      """
    When the client sends DELETE /v2/catalog/models/tale-1
    Then the answer is 204
    When the client sends DELETE /v2/catalog/models/tale-1
    Then the answer is 404 MODEL_NOT_FOUND

  Scenario: the catalog outlives the daemon
    Given a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "hf:tales/tale-1", "source_url": "mock"}
      """
    And a daemon started with --transcripts off
    When the client sends GET /v2/catalog/models/hf:tales%2Ftale-1
    Then the answer is 200

  Scenario: a task may call a model by its id in the catalog
    Given a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "tale-1", "source_url": "mock"}
      """
    When the client enqueues a task
      | model_ref | "tale-1" |
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order

  Scenario: a model that no pool serves is unavailable, not unknown
    Given a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "tale-1"}
      """
    When the client enqueues a task
      | model_ref | "tale-1" |
    Then the answer is 503 POOL_UNAVAILABLE

  Scenario Outline: a retired model is refused under each of its names, and can be taken back
    Given a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "tale-1", "source_url": "mock"}
      """
    When the client sends POST /v2/catalog/models/tale-1/state
      """
      {"state": "Retired"}
      """
    Then the answer is 202
    And the body holds
      | state | "Retired" |
    When the client enqueues a task
      | model_ref | "<name>" |
    Then the answer is 503 POOL_UNAVAILABLE
    And the headers hold
      | Retry-After | at least 1 |
    And the metric tasks_rejected_total comes to 1
    When the client sends POST /v2/catalog/models/tale-1/state
      """
      {"state": "Active"}
      """
    And the client enqueues a task
      | model_ref | "<name>" |
    Then the answer is 202

    Examples:
      | name   |
      | tale-1 |
      | mock   |

  Scenario: a retirement with a deadline takes effect at the deadline
    Given a daemon started with --admission-capacity 10000 --mock-tokens-per-s 0
    And the client sends POST /v2/catalog/models
      """
      {"id": "mock"}
      """
    When the client sends POST /v2/catalog/models/mock/state
      """
      {"state": "Retired", "deadline_ms": 3600000}
      """
    Then the answer is 202
    And the body holds
      | retires_ms | an integer |
    When the client enqueues a task
    Then the answer is 202
    When the client sends POST /v2/catalog/models/mock/state
      """
      {"state": "Retired", "deadline_ms": 200}
      """
    And the client enqueues tasks until one is answered 503
    Then the answer is 503 POOL_UNAVAILABLE

  Scenario: a file that is what its digest says is verified
    Given a file tale.gguf that holds "a model"
    And a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "mock", "source_url": "file:{dir}/tale.gguf",
       "digest": "sha256:97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c"}
      """
    When the client sends POST /v2/catalog/models/mock/verify
    Then the answer is 202
    And GET /v2/catalog/models/mock comes to hold
      | verdict          | "verified" |
      | last_verified_ms | an integer |
    And the metric catalog_verifications_total comes to 1
    When the client enqueues a task
    Then the answer is 202

  Scenario: a file that is not what its digest says makes the model unusable
    Given a file tale.gguf that holds "another model"
    And a daemon
    And the client sends POST /v2/catalog/models
      """
      {"id": "mock", "source_url": "file:{dir}/tale.gguf",
       "digest": "sha256:97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c"}
      """
    When the client sends POST /v2/catalog/models/mock/verify
    Then GET /v2/catalog/models/mock comes to hold
      | verdict          | "mismatch" |
      | last_verified_ms | an integer |
    When the client enqueues a task
    Then the answer is 400 UNTRUSTED_ARTIFACT

  Scenario: the strict policy refuses what nobody has signed
    Given a daemon
    And every request carries X-Trust-Policy: strict
    When the client sends POST /v2/catalog/models
      """
      {"id": "mock",
       "digest": "sha256:97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c"}
      """
    Then the answer is 400 UNTRUSTED_ARTIFACT
    When the client sends GET /v2/catalog/models/mock
    Then the answer is 404 MODEL_NOT_FOUND

  Scenario: the strict policy takes what a trusted key has signed
    Given a file trust.toml that holds "key = [{ name = 'release', ed25519 = '9cb3c600f7ccd12d79c5d6028061bc733a5fbab73495eb26728bdf4cc6fa9299' }]"
    And a daemon started with --trusted-keys {dir}/trust.toml
    When the client sends POST /v2/catalog/models
      """
      {"id": "mock", "trust_policy": "strict",
       "digest": "sha256:97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c",
       "signatures": ["ed25519:b5aaebc26e4ca45d9bf92536e13b27c5bfe1e83287c067da7a140e325db2dc76c0c2f60b32bd94c9a0f9d5552f7bece97580d32c184bbdf216ccadd49ffde60d"]}
      """
    Then the answer is 201
    And the body holds
      | signed | true |
    When the client enqueues a task
    Then the answer is 202

  Scenario: a model whose signer is no longer trusted is refused
    Given a file trust.toml that holds "key = [{ name = 'release', ed25519 = '9cb3c600f7ccd12d79c5d6028061bc733a5fbab73495eb26728bdf4cc6fa9299' }]"
    And a daemon started with --trusted-keys {dir}/trust.toml
    And the client sends POST /v2/catalog/models
      """
      {"id": "mock", "trust_policy": "strict",
       "digest": "sha256:97ff8a35544dcf40ad84047074439dd6aa3a0be469ea578a1b1c017d939ec61c",
       "signatures": ["ed25519:b5aaebc26e4ca45d9bf92536e13b27c5bfe1e83287c067da7a140e325db2dc76c0c2f60b32bd94c9a0f9d5552f7bece97580d32c184bbdf216ccadd49ffde60d"]}
      """
    And a daemon started with --transcripts off
    When the client enqueues a task
    Then the answer is 400 UNTRUSTED_ARTIFACT

  Scenario: only who has control may change the catalog
    Given Ann has a key for data
    And a daemon started with --keys {dir}/keys.toml
    When Ann sends POST /v2/catalog/models
      """
      {"id": "tale-1"}
      """
    Then the answer is 403 FORBIDDEN
