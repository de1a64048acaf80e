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

  Scenario: a model is not called by what can't be seen
    Given a daemon
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "another\u0000\u202e"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions new_model_ref |

  Scenario: an engine that does not come up is not put in place
    Given a daemon started with --mock-fault refuse
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 409 RELOAD_FAILED

  Scenario: engines that the daemon starts are replaced by ones with the new model
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "first"
      replicas = 2
      command = ["sh", "-c", "echo $$ >> {dir}/pids; echo {model} >> {dir}/models; exec {mock_engine} --addr {host}:{port} --tokens-per-s 50"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready               | true |
      | metrics.slots_total | 8    |
    And the client enqueues the task running
      | model_ref  | "first" |
      | max_tokens | 60      |
    And Ann opens /v2/tasks/{running}/events
    And Ann has received 1 token
    When the client sends POST /v2/pools/own/reload
      """
      {"new_model_ref": "file:/models/second.gguf"}
      """
    Then the answer is 200
    And the body holds
      | model_ref  | "file:/models/second.gguf" |
      | replicas.1 | a text                     |
      | replicas.2 | nothing                    |
    And the file models holds the lines
      | /models/second.gguf |
    When the client enqueues the task fresh
      | model_ref | "file:/models/second.gguf" |
    And Cleo reads /v2/tasks/{fresh}/events
    And Ann reads on to the end
    Then each end event of Ann holds
      | tokens_out | 60 |
    And each end event of Cleo holds
      | tokens_out | 8 |
    And the first 2 processes of the file pids come to be gone
    And the file pids comes to have 4 lines

  Scenario Outline: a new engine that <fails> costs the old one nothing
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "good"
      command = ["sh", "{dir}/start", "{model}", "{mock_engine}", "{host}:{port}"]
      """
    And a file start that says
      """
      echo $$ >> {dir}/pids
      case "$1" in
        absent) exit 3 ;;
        broken) exec "$2" --addr "$3" --fault status:500 ;;
      esac
      exec "$2" --addr "$3"
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready | true |
    When the client sends POST /v2/pools/own/reload
      """
      {"new_model_ref": "<model>"}
      """
    Then the answer is 409 RELOAD_FAILED
    And the body holds
      | message | mentions <cause> |
    And the process of the file pids comes to be gone
    When the client enqueues a task
      | model_ref | "good" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
    When the client sends GET /v2/pools
    Then the body holds
      | pools.0.model_ref  | "good"  |
      | pools.0.replicas.1 | nothing |
      | pools.1            | nothing |

    Examples:
      | fails              | model  | cause     |
      | does not come up   | absent | status: 3 |
      | does not generate  | broken | 500       |
