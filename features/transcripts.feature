Feature: SSE transcript persistence
  What a stream amounted to is known after it has ended: every finished stream leaves an artifact. By
  default it says how the stream went and no word of what was asked or generated; an operator may
  want more, or nothing.

  Scenario: streaming persists transcript
    Given a daemon
    And the client enqueues a task
      | session_id | "6f1c3a52-9a1f-4f0e-8d52-3d4c7e1b2a90" |
      | prompt     | "a secret wish"                        |
      | max_tokens | 5                                      |
    When the client reads /v2/tasks/{task}/events
    And the client learns the transcript_artifact_id of /v2/tasks/{task}, called transcript
    And the client sends GET /v2/artifacts/{transcript}
    Then the answer is 200
    And the body holds
      | kind                      | "transcript" |
      | tags                      | ["session:6f1c3a52-9a1f-4f0e-8d52-3d4c7e1b2a90", "task:{task}"] |
      | content.task_id           | "{task}" |
      | content.state             | "completed" |
      | content.tokens_out        | 5 |
      | content.timings.ended_ms  | an integer |
      | content.placement.pool_id | "default" |
      | content.prompt            | nothing |
      | content.events            | nothing |

  Scenario: a full transcript has the prompt and every event
    Given a daemon started with --transcripts full
    And the client enqueues a task
      | prompt     | "a secret wish" |
      | max_tokens | 3               |
    When the client reads /v2/tasks/{task}/events
    And the client learns the transcript_artifact_id of /v2/tasks/{task}, called transcript
    And the client sends GET /v2/artifacts/{transcript}
    Then the body holds
      | content.prompt            | "a secret wish" |
      | content.events.0.event | "started"       |
      | content.events.1.event | "token"         |
      | content.events.1.data  | an object       |

  Scenario: a canceled stream leaves one too
    Given a daemon
    And the client enqueues a task
      | max_tokens | 100000 |
    And the client opens /v2/tasks/{task}/events
    And the client has received 2 tokens
    When the client sends POST /v2/tasks/{task}/cancel
    And the client learns the transcript_artifact_id of /v2/tasks/{task}, called transcript
    And the client sends GET /v2/artifacts/{transcript}
    Then the body holds
      | content.state             | "canceled" |
      | content.error             | "CANCELED" |

  Scenario: another caller's transcript is absent
    Given Ann has a key for data
    And Ben has a key for data
    And a daemon started with --keys {dir}/keys.toml
    And Ann enqueues a task
    And Ann reads /v2/tasks/{task}/events
    When Ann learns the transcript_artifact_id of /v2/tasks/{task}, called transcript
    And Ben sends GET /v2/artifacts/{transcript}
    Then the answer is 404 NOT_FOUND
    When Ann sends GET /v2/artifacts/{transcript}
    Then the answer is 200

  Scenario: transcripts can be left out
    Given a daemon started with --transcripts off
    And the client enqueues a task
    When the client reads /v2/tasks/{task}/events
    And the client sends POST /v2/artifacts
      """
      {"kind": "other", "content": "what comes after it"}
      """
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | state                  | "completed" |
      | transcript_artifact_id | nothing     |
