Feature: Artifacts
  What plans, runs and streams leave behind is kept under a name that anybody can compute: the SHA-256
  of its canonical JSON. Whoever has stored an artifact has it; for everybody else it does not exist.

  Scenario: an artifact is stored and read back
    Given a daemon
    When the client sends POST /v2/artifacts
      """
      {"kind": "plan", "content": {"steps": ["walk", "run"], "budget": 1.50}, "tags": ["b", "a"],
       "metadata": {"author": "Ann"}}
      """
    Then the answer is 201
    And the body holds
      | id         | a text          |
      | kind       | "plan"          |
      | digest     | mentions sha256 |
      | created_ms | an integer      |
      | tags       | ["a", "b"]      |
    And the body's id is called artifact
    When the client sends GET /v2/artifacts/{artifact}
    Then the answer is 200
    And the body holds
      | id       | "{artifact}"                               |
      | kind     | "plan"                                     |
      | content  | {"steps": ["walk", "run"], "budget": 1.50} |
      | metadata | {"author": "Ann"}                          |

  Scenario: the id is the SHA-256 of the canonical JSON
    Given a daemon
    When the client sends POST /v2/artifacts
      """
      {"kind": "plan", "content": "walk"}
      """
    Then the body holds
      | id | "28f2221b66e2b2e24f5f1c542bee972d261b0f48d7e8f9fc4a70b147c5c062bf" |

  Scenario: the same content twice has the same id, however it is written
    Given a daemon
    And the client sends POST /v2/artifacts
      """
      {"kind": "diff", "content": {"old": 1, "new": 2e2}}
      """
    When the client sends POST /v2/artifacts
      """
      { "content": { "new": 200.0, "old": 1.0 }, "kind": "diff" }
      """
    Then the answer is 201
    And the answer is the same as before

  Scenario Outline: what is no artifact is refused by its field
    Given a daemon
    When the client sends POST /v2/artifacts
      """
      <body>
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions <field> |

    Examples:
      | body                                          | field   |
      | {"content": 1}                                | kind    |
      | {"kind": "poem", "content": 1}                | kind    |
      | {"kind": "plan"}                              | content |
      | {"kind": "plan", "content": 1, "tag": ["x"]}  | tag     |

  Scenario: an unknown artifact is not found
    Given a daemon
    When the client sends GET /v2/artifacts/0000
    Then the answer is 404 NOT_FOUND

  Scenario: another caller's artifact is absent, and an operator sees it
    Given Ann has a key for data
    And Ben has a key for data
    And Olga has a key for data,control
    And a daemon started with --keys {dir}/keys.toml
    When Ann sends POST /v2/artifacts
      """
      {"kind": "logs", "content": "a line"}
      """
    Then the body's id is called artifact
    When Ben sends GET /v2/artifacts/{artifact}
    Then the answer is 404 NOT_FOUND
    When Olga sends GET /v2/artifacts/{artifact}
    Then the answer is 200
    When Ben sends POST /v2/artifacts
      """
      {"kind": "logs", "content": "a line"}
      """
    Then the body holds
      | id | "{artifact}" |
    When Ben sends GET /v2/artifacts/{artifact}
    Then the answer is 200

  Scenario: an artifact outlives the daemon
    Given a daemon
    When the client sends POST /v2/artifacts
      """
      {"kind": "other", "content": null}
      """
    Then the body's id is called artifact
    Given a daemon started with --transcripts off
    When the client sends GET /v2/artifacts/{artifact}
    Then the answer is 200

  Scenario: the oldest artifact makes way when there are too many
    Given a daemon started with --artifacts-max 2 --transcripts off
    When the client sends POST /v2/artifacts
      """
      {"kind": "other", "content": "first"}
      """
    Then the body's id is called first
    When the client sends POST /v2/artifacts
      """
      {"kind": "other", "content": "second"}
      """
    Then the body's id is called second
    When the client sends POST /v2/artifacts
      """
      {"kind": "other", "content": "third"}
      """
    And the client sends GET /v2/artifacts/{first}
    Then the answer is 404 NOT_FOUND
    When the client sends GET /v2/artifacts/{second}
    Then the answer is 200
