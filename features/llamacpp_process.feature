Feature: llama.cpp that the daemon starts
  One settings file and one command are all that is needed from a model file to a text: the daemon starts
  llama.cpp's own server as a process, and starts it again when it dies.

  Scenario: one settings file and one command
    Given llama-server is installed
    And the settings file says
      """
      [[pool]]
      id = "own"
      engine = "llamacpp"
      model = "tales"
      model_file = "{shipped_model}"
      start = true
      slots = 2
      """
    And a daemon started with --config orchestratord.toml
    When the client enqueues a task
      | model_ref | "tales" |
    And the client reads /v2/tasks/{task}/events?verbose=true
    Then the client has seen a stream in order
    And each started event of the client holds
      | pool_id    | "own" |
      | replica_id | "r0"  |
    And each end event of the client holds
      | tokens_out | 8 |
    And GET /v2/pools/own/health comes to hold
      | ready               | true |
      | metrics.slots_total | 2    |

  Scenario: a server that is killed is started again
    Given llama-server is installed
    And the settings file says
      """
      [[pool]]
      id = "own"
      engine = "llamacpp"
      model = "tales"
      command = ["sh", "-c", "echo $$ >> {dir}/pids; while [ -e {dir}/hold ]; do sleep 0.05; done; exec llama-server --host {host} --port {port} --model {shipped_model} --parallel {slots} --metrics"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready | true |
    And a file hold that holds "on"
    When the process of the file pids is killed
    Then GET /v2/pools/own/health comes to hold
      | ready      | false             |
      | last_error | mentions it ended |
    And the file pids comes to have 2 lines
    When the file hold is removed
    Then GET /v2/pools/own/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "tales" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
