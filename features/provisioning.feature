Feature: Provisioning
  A pool may say how its engines are started. The daemon starts them, waits until they answer, starts them
  again when they end, and takes them along when it goes. Tasks that come meanwhile wait, and are told
  what for.

  Scenario: an engine is started, bound and used
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      slots = 3
      command = ["{mock_engine}", "--addr", "{host}:{port}", "--model", "{model}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    When the client enqueues a task
      | model_ref | "scripted" |
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events?verbose=true
    Then each started event of the client holds
      | pool_id    | "own" |
      | replica_id | "r0"  |
    And each end event of the client holds
      | tokens_out | 8 |
    And GET /v2/pools/own/health comes to hold
      | ready               | true |
      | metrics.slots_total | 3    |
    When the client enqueues the task second
      | model_ref | "scripted" |
    Then the body holds
      | preparation.steps | [] |

  Scenario: who comes too early waits, and is told what for
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["sh", "-c", "while [ ! -e {dir}/go ]; do sleep 0.05; done; exec {mock_engine} --addr {host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    When the client enqueues a task
      | model_ref | "scripted" |
    Then the answer is 202
    And the body holds
      | preparation.steps.0.replica_id | "r0"             |
      | preparation.steps.0.human      | mentions started |
    And GET /v2/pools/own/health comes to hold
      | ready                    | false         |
      | metrics.queue_depth      | 1             |
      | preparation.steps.0.step | "await_ready" |
    When the client sends GET /v2/tasks/{task}
    Then the body holds
      | state                        | "queued"       |
      | preparation.steps.0.since_ms | an integer     |
      | preparation.steps.0.human    | mentions loads |
    When Ann opens /v2/tasks/{task}/events?verbose=true
    Then Ann comes to read a comment that mentions "step":"await_ready"
    Given a file go that holds "ahead"
    When Ann reads on to the end
    Then Ann has seen a stream in order
    And each end event of Ann holds
      | tokens_out | 8 |
    When the client sends GET /v2/pools/own/health
    Then the body holds
      | preparation.steps | [] |

  Scenario: an engine that ends is started again
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["sh", "-c", "echo $$ >> {dir}/pids; exec {mock_engine} --addr {host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready | true |
    When the process of the file pids is killed
    Then the file pids comes to have 2 lines
    And GET /v2/pools/own/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: an engine that can't be started ends what waits for it
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["sh", "-c", "echo no such model >&2; exit 3"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code | "POOL_UNAVAILABLE" |
    And GET /v2/pools/own/health comes to hold
      | ready                     | false             |
      | last_error                | mentions it ended |
      | preparation.steps.0.step  | "give_up"         |
      | preparation.steps.0.human | mentions status: 3 |
    And the file data/engines/own-r0.log comes to have 1 line
    When the client enqueues a task
      | model_ref | "scripted" |
    Then the answer is 503 POOL_UNAVAILABLE

  Scenario Outline: nothing that an engine has started outlives <what>
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      stop_grace_ms = 200
      command = ["sh", "{dir}/family", "{mock_engine}", "{host}:{port}"]
      """
    And a file family that says
      """
      worker="echo \$\$ >> {dir}/pids; exec sleep 1000"
      sh -c "$worker" &
      sh -c "trap '' TERM; $worker" &
      setsid sh -c "$worker" &
      while [ "$(wc -l < {dir}/pids)" -lt 3 ]; do sleep 0.05; done
      echo $$ >> {dir}/pids
      exec "$1" --addr "$2"
      """
    And a file pids that holds ""
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready | true |
    When <happens>
    Then the first 4 processes of the file pids come to be gone

    Examples:
      | what                        | happens                                |
      | a daemon that is told       | the daemon receives SIGTERM            |
      | a daemon that is dead       | the daemon is killed                   |
      | the engine itself           | the process of the file pids is killed |

  Scenario: an engine whose keeper is killed is ended and started again
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      command = ["sh", "-c", "sleep 1000 & echo $! >> {dir}/pids; echo $$ >> {dir}/pids; echo $PPID >> {dir}/pids; exec {mock_engine} --addr {host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | ready | true |
    When the process of the file pids is killed
    Then the first 3 processes of the file pids come to be gone
    And the file pids comes to have 6 lines
    And GET /v2/pools/own/health comes to hold
      | ready      | true             |
      | last_error | mentions signal: 9 |

  Scenario: an engine sees its devices, what its pool says, and no key of the daemon's
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "mock"
      model = "scripted"
      replicas = 2
      device_masks = ["0", "2-3"]
      env = { HIP_VISIBLE_DEVICES = "7", SECRET = "swordfish" }
      command = ["sh", "-c", "env > {dir}/{replica}; exec {mock_engine} --addr {host}:{port}"]
      """
    And the variable AUTH_TOKEN is opensesame
    And the variable ORCHD_LOG is debug
    And the variable LANG is C
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | metrics.slots_total | 8 |
    Then the file r0 holds the lines
      | CUDA_DEVICE_ORDER=PCI_BUS_ID |
      | CUDA_VISIBLE_DEVICES=0       |
      | HIP_VISIBLE_DEVICES=7        |
      | SECRET=swordfish             |
      | LANG=C                       |
    And the file r1 holds the lines
      | CUDA_VISIBLE_DEVICES=2,3 |
    And the file r0 never mentions AUTH_TOKEN
    And the file r0 never mentions ORCHD_
    And the log never mentions "swordfish"
    When the client sends GET /v2/pools
    Then the body holds
      | pools.0.device_mask | "0,2,3" |

  Scenario Outline: devices that can't be shared out are refused
    Given the settings file says
      """
      [[pool]]
      id = "own"
      engine = "llamacpp"
      model = "small"
      start = true
      replicas = 2
      <line>
      """
    When someone starts a daemon with --slots 1
    Then it refuses with exit code 2 and a remedy that mentions <remedy>

    Examples:
      | line                                                 | remedy            |
      | device_masks = ["0"]                                 | as many masks     |
      | device_masks = ["0", "x"]                            | numbers from 0    |
      | env = { "A=B" = "c" }                                | mend its `env`    |
