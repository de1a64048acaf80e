Feature: Reload
  A model is replaced under load as if nothing had happened: the new one is brought up and tried out
  beside the old, and only then gets the traffic. Whoever reads from the old one reads to the end. If
  anything goes wrong the old one has never stopped.

  Scenario Outline: a model that is not there is told without naming a path
    Given a daemon started with --engine embedded
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "<model>"}
      """
    Then the answer is 409 RELOAD_FAILED
    And the body holds
      | message | mentions <cause> |

    Examples:
      | model                 | cause |
      | file:/nowhere/at-all  | file  |
      | somebody-elses        | name  |

  Scenario: a stream of the old model outlives the reload
    Given a daemon started with --slots 1 --mock-tokens-per-s 50
    And the client enqueues the task running
      | max_tokens | 60 |
    And Ann opens /v2/tasks/{running}/events
    And Ann has received 1 token
    And the client enqueues the task waiting
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 200
    When the client enqueues the task fresh
      | model_ref | "another" |
    And Cleo reads /v2/tasks/{fresh}/events
    And Ann reads on to the end
    And Ben reads /v2/tasks/{waiting}/events
    Then each end event of Ann holds
      | tokens_out | 60 |
    And each end event of Ben holds
      | tokens_out | 8 |
    And each end event of Cleo holds
      | tokens_out | 8 |

  Scenario: a dead engine is replaced by one that works
    Given a daemon started with --mock-fault die-after:3
    And the client enqueues a task
    And the client reads /v2/tasks/{task}/events
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 200

  Scenario: an engine that does not come up is not put in place
    Given a daemon started with --mock-fault refuse
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 409 RELOAD_FAILED
