Feature: Settings
  What the daemon is told stands in one file, in variables and in flags. A slip of the pen is told before any
  harm is done, and what has changed is taken over while streams run on.

  Scenario Outline: a flag counts more than a variable, and that more than the file
    Given the settings file says
      """
      slots = 5
      engine = "mock"
      """
    When someone runs <line>
    Then it prints <slots> slots each

    Examples:
      | line                                                                          | slots |
      | orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/d                     | 5     |
      | ORCHD_SLOTS=6 orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/d       | 6     |
      | ORCHD_SLOTS=6 orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/d --slots 7 | 7 |

  Scenario Outline: what is written wrongly is refused with its line
    Given the settings file says
      """
      # The slots of every pool.
      <line>
      """
    When someone starts a daemon with --slots 1
    Then it refuses with exit code 2 and a remedy that mentions <remedy>
    And it refuses with exit code 2 and a remedy that mentions orchestratord.toml, line 2

    Examples:
      | line              | remedy                |
      | slotz = 4         | did you mean `slots`? |
      | slot = "many"     | did you mean `slots`? |
      | [pool]            | [[pool]]              |

  Scenario Outline: a number out of its bounds is refused
    Given the settings file says
      """
      [[pool]]
      id = "a"
      engine = "mock"
      <line>
      """
    When someone starts a daemon with --slots 1
    Then it refuses with exit code 2 and a remedy that mentions <remedy>

    Examples:
      | line                   | remedy               |
      | slots = 0              | from 1 to 4096       |
      | replicas = 65          | from 1 to 64         |
      | admission_capacity = 0 | give a number from 1 |

  Scenario: what is said to an engine that knows nothing of it is refused
    Given the settings file says
      """
      [[pool]]
      id = "a"
      engine = "embedded"
      model = "mine"
      """
    When someone starts a daemon with --slots 1
    Then it refuses with exit code 2 and a remedy that mentions `model_file`

  Scenario: check tells of every pool what it would be
    Given the settings file says
      """
      slots = 3

      [[pool]]
      id = "near"
      engine = "embedded"

      [[pool]]
      id = "far"
      engine = "vllm"
      model = "large"
      urls = ["http://127.0.0.1:9"]
      slots = 32

      [[pool]]
      id = "own"
      engine = "llamacpp"
      model = "small"
      start = true
      replicas = 2
      """
    When someone runs orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/data
    Then it prints pool `near` serves the model `tales` (embedded engine, 1 in this process, 3 slots each
    And it prints pool `far` serves the model `large` (vllm engine, at http://127.0.0.1:9, 32 slots each
    And it prints pool `own` serves the model `small` (llamacpp engine, 2 that the daemon starts

  Scenario: check prints what the daemon then starts
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "two words"
      replicas = 2
      device_mask = "1"
      env = { SECRET = "swordfish" }
      command = ["{mock_engine}", "--addr", "{host}:{port}", "--model", "{model}", "--slots", "{slots}"]
      ready_timeout_ms = 90000
      """
    When someone runs orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/data --slots 3
    Then it prints r1 runs {mock_engine} --addr 127.0.0.1:PORT --model 'two words' --slots 3
    And it prints with CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1 HIP_VISIBLE_DEVICES=1
    And it prints and the pool's SECRET
    And it prints it must answer /v1/models within 90000 ms
    And it prints announced in .runtime/engines/own-r1.json
    And it prints prints into {dir}/data/engines/own-r1.log
    When someone runs orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/data --json
    Then it prints "variables":["SECRET"]
    And it prints "ready_timeout_ms":90000

  Scenario: check tells which program is not there
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["no-such-server", "--port", "{port}"]
      """
    When someone runs orchestratord check --addr 127.0.0.1:0 --data-dir {dir}/data
    Then it refuses with exit code 2 and a remedy that mentions PATH
    And it prints r0 runs no-such-server --port PORT

  Scenario: two pools serve two models
    Given the settings file says
      """
      [[pool]]
      id = "one"
      engine = "mock"
      model = "first"

      [[pool]]
      id = "two"
      engine = "mock"
      model = "second"
      slots = 7
      """
    And a daemon started with --slots 3
    And GET /v2/pools/one/health comes to hold
      | metrics.slots_total | 3 |
    And GET /v2/pools/two/health comes to hold
      | metrics.slots_total | 7 |
    When the client enqueues a task
      | model_ref | "second" |
    And the client reads /v2/tasks/{task}/events?verbose=true
    Then each started event of the client holds
      | pool_id | "two" |

  Scenario: SIGHUP lets a new key in while a stream runs
    Given Alice has a key for data
    And a daemon started with --keys {dir}/keys.toml --mock-tokens-per-s 50
    And Alice enqueues the task running
      | max_tokens | 60 |
    And Alice opens /v2/tasks/{running}/events
    And Alice has received 1 token
    And Ben has a key for data
    And Ben sends GET /v2/tasks
    When the daemon receives SIGHUP and renews its settings
    And Ben sends GET /v2/tasks
    Then the answer is 200
    When Alice reads on to the end
    Then each end event of Alice holds
      | tokens_out | 60 |

  Scenario: SIGHUP shuts a key out that is not there any more
    Given Alice has a key for data
    And a daemon started with --keys {dir}/keys.toml
    And a file keys.toml that holds ""
    And Ben has a key for data
    When the daemon receives SIGHUP and renews its settings
    And Alice sends GET /v2/tasks
    Then the answer is 403 INVALID_KEY

  Scenario: SIGHUP moves limits
    Given the settings file says
      """
      admission_capacity = 5
      body_max_bytes = 1000000
      """
    And a daemon started with --slots 1
    And the settings file says
      """
      admission_capacity = 2
      session_turns_max = 1
      shards = 1
      """
    When the daemon receives SIGHUP and renews its settings
    Then GET /v2/meta/capabilities comes to hold
      | engines.0.rate_limits.admission_capacity | 2 |
    And a line of the log comes to hold
      | event      | "settings_renewed"  |
      | at_restart | mentions shards     |

  Scenario: SIGHUP adds, replaces and retires pools, and no stream feels it
    Given the settings file says
      """
      mock_tokens_per_s = 50

      [[pool]]
      id = "kept"
      engine = "mock"
      model = "kept"

      [[pool]]
      id = "changed"
      engine = "mock"
      model = "before"

      [[pool]]
      id = "removed"
      engine = "mock"
      model = "gone"
      """
    And a daemon started with --slots 1
    And Ann enqueues the task changing
      | model_ref  | "before" |
      | max_tokens | 60       |
    And Ann opens /v2/tasks/{changing}/events
    And Ann has received 1 token
    And Ben enqueues the task going
      | model_ref  | "gone" |
      | max_tokens | 60     |
    And Ben opens /v2/tasks/{going}/events
    And Ben has received 1 token
    And Cleo enqueues the task waiting
      | model_ref  | "gone" |
    And the settings file says
      """
      mock_tokens_per_s = 50

      [[pool]]
      id = "kept"
      engine = "mock"
      model = "kept"

      [[pool]]
      id = "changed"
      engine = "mock"
      model = "after"
      slots = 3

      [[pool]]
      id = "added"
      engine = "mock"
      model = "fresh"
      """
    When the daemon receives SIGHUP and renews its settings
    Then GET /v2/pools/changed/health comes to hold
      | metrics.slots_total | 3 |
    And a line of the log comes to hold
      | event   | "pool_replaced" |
      | pool_id | "changed"       |
    And GET /v2/pools/added/health comes to hold
      | ready | true |
    When the client sends GET /v2/pools/removed/health
    Then the answer is 404 POOL_NOT_FOUND
    When the client enqueues a task
      | model_ref | "gone" |
    Then the answer is 404 MODEL_NOT_FOUND
    When the client enqueues the task second
      | model_ref | "after" |
    And Dora reads /v2/tasks/{second}/events
    And Ann reads on to the end
    And Ben reads on to the end
    And Cleo reads /v2/tasks/{waiting}/events
    Then each end event of Ann holds
      | tokens_out | 60 |
    And each end event of Ben holds
      | tokens_out | 60 |
    And each end event of Cleo holds
      | tokens_out | 8 |
    And each end event of Dora holds
      | tokens_out | 8 |

  Scenario: a pool that does not come up as the settings say stays as it was
    Given the settings file says
      """
      [[pool]]
      id = "one"
      engine = "mock"
      model = "steady"
      """
    And a daemon started with --slots 1
    And the settings file says
      """
      [[pool]]
      id = "one"
      engine = "mock"
      model = "broken"
      mock_fault = "refuse"
      """
    When the daemon receives SIGHUP and renews its settings
    Then a line of the log comes to hold
      | event   | "pool_kept" |
      | pool_id | "one"       |
    When the client enqueues a task
      | model_ref | "steady" |
    Then the answer is 202

  Scenario: servers that the settings name are followed
    Given an engine called alpha
    And an engine called beta
    And the settings file says
      """
      [[pool]]
      id = "far"
      engine = "openai"
      model = "scripted"
      urls = ["{alpha}"]
      slots = 2
      """
    And a daemon started with --slots 1
    And GET /v2/pools/far/health comes to hold
      | ready | true |
    And the settings file says
      """
      [[pool]]
      id = "far"
      engine = "openai"
      model = "scripted"
      urls = ["{beta}"]
      slots = 3
      """
    When the daemon receives SIGHUP and renews its settings
    Then GET /v2/pools/far/health comes to hold
      | metrics.slots_total | 3       |
      | replicas.1          | nothing |
    When the engine alpha is killed
    And the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: engines that the daemon starts come and go with their pools
    Given the settings file says
      """
      [[pool]]
      id = "always"
      engine = "mock"
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And the settings file says
      """
      [[pool]]
      id = "always"
      engine = "mock"

      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["sh", "-c", "echo $$ >> {dir}/pids; exec {mock_engine} --addr {host}:{port}"]
      """
    When the daemon receives SIGHUP and renews its settings
    Then GET /v2/pools/own/health comes to hold
      | ready | true |
    When the settings file says
      """
      [[pool]]
      id = "always"
      engine = "mock"
      """
    And the daemon receives SIGHUP and renews its settings
    Then the process of the file pids comes to be gone

  Scenario: an engine that comes up while its pool retires serves what waits, and goes with it
    Given the settings file says
      """
      [[pool]]
      id = "always"
      engine = "mock"

      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["sh", "-c", "echo $$ >> {dir}/pids; while [ ! -e {dir}/go ]; do sleep 0.05; done; exec {mock_engine} --addr {host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And the client enqueues the task waiting
      | model_ref  | "scripted" |
    When the settings file says
      """
      [[pool]]
      id = "always"
      engine = "mock"
      """
    And the daemon receives SIGHUP and renews its settings
    Given a file go that holds "ahead"
    When Ben reads /v2/tasks/{waiting}/events
    Then each end event of Ben holds
      | tokens_out | 8 |
    And the process of the file pids comes to be gone
    When the client sends GET /v2/pools
    Then the body holds
      | pools.0.pool_id | "always" |
      | pools.1         | nothing  |

  Scenario: engines that the daemon starts are replaced when their settings change
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      slots = 2
      command = ["sh", "-c", "echo $$ >> {dir}/pids; exec {mock_engine} --addr {host}:{port} --slots {slots}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready               | true |
      | metrics.slots_total | 2    |
    When the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      slots = 3
      command = ["sh", "-c", "echo $$ >> {dir}/pids; exec {mock_engine} --addr {host}:{port} --slots {slots}"]
      """
    And the daemon receives SIGHUP and renews its settings
    Then GET /v2/pools/own/health comes to hold
      | ready               | true    |
      | metrics.slots_total | 3       |
      | replicas.1          | nothing |
    And the file pids comes to have 2 lines
    And the first 1 process of the file pids comes to be gone

  Scenario Outline: a file that can't be used changes nothing
    Given the settings file says
      """
      [[pool]]
      id = "one"
      engine = "mock"
      model = "first"
      """
    And a daemon started with --slots 1
    And the settings file says
      """
      <file>
      """
    When the daemon receives SIGHUP and refuses its settings
    Then a line of the log comes to hold
      | event  | "settings_refused"  |
      | reason | mentions <reason>   |
    When the client enqueues a task
      | model_ref | "first" |
    Then the answer is 202

    Examples:
      | file                                                          | reason       |
      | slotz = 4                                                     | line 1       |
      | admission_capacity = 0                                        | is 0         |
      | pool = [{id = "x", engine = "embedded", model_file = "/no"}]  | can't be read |
      | keys = "no-such-file.toml"                                    | keys file    |
