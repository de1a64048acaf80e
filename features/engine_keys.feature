Feature: Keys of engines
  An engine may want to be shown a key. The daemon has it from a file or from its environment, shows it to
  the engines of that pool, and to nobody else: not in clear to another machine, and never in its log.

  Scenario: an engine is shown the key of its pool, by probes, trials and tasks
    Given a file key that holds the key sk-alpha-one
    And an engine called alpha started with --key sk-alpha-one
    And the settings file says
      """
      log = "trace"
      [[pool]]
      id = "gpu"
      engine = "openai"
      model = "scripted"
      urls = ["{alpha}"]
      key_file = "key"
      """
    And a daemon
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
    When the client sends POST /v2/pools/gpu/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 200

  Scenario: an engine that registers is shown the key of its pool, which the environment holds
    Given the environment holds the key sk-alpha-one as ALPHA_KEY
    And an engine called alpha started with --key sk-alpha-one
    And the settings file says
      """
      log = "trace"
      [[pool]]
      id = "gpu"
      engine = "openai"
      model = "scripted"
      key_env = "ALPHA_KEY"
      """
    And a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready | true |

  Scenario: the llama.cpp server is shown its own
    Given a file key that holds the key sk-alpha-one
    And an engine called alpha started with --protocol llamacpp --key sk-alpha-one
    And a daemon started with --llamacpp-url {alpha} --llamacpp-key-file {dir}/key --log trace
    And GET /v2/pools/llamacpp/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "llamacpp" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: an engine that does not accept the key is left alone until the key is exchanged
    Given a file key that holds the key sk-alpha-old
    And an engine called alpha started with --key sk-alpha-new
    And the settings file says
      """
      log = "trace"
      [[pool]]
      id = "gpu"
      engine = "vllm"
      model = "scripted"
      urls = ["{alpha}"]
      key_file = "key"
      """
    And a daemon
    Then GET /v2/pools/gpu/health comes to hold
      | ready      | false                           |
      | last_error | mentions does not accept our key |
    When the client enqueues a task
      | model_ref | "scripted" |
    Then the answer is 503 POOL_UNAVAILABLE
    When the file key comes to hold the key sk-alpha-new
    And the daemon receives SIGHUP and renews its settings
    Then GET /v2/pools/gpu/health comes to hold
      | ready | true |

  Scenario: an engine that refuses the key of a task fails it, and the caller is not to blame
    Given an engine called alpha started with --fault status:401
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the client enqueues a task
      | model_ref | "scripted" |
    When the client reads /v2/tasks/{task}/events
    Then each error event of the client holds
      | code | "WORKER_RESET" |
    And a line of the log comes to hold
      | event  | "engine_failed"              |
      | reason | mentions does not accept our key |

  Scenario: a key is not sent in clear to another machine
    Given a file key that holds the key sk-alpha-one
    And the settings file says
      """
      engine_networks = "10.0.0.0/8"
      [[pool]]
      id = "gpu"
      engine = "openai"
      model = "scripted"
      urls = ["http://10.0.0.7:8000"]
      key_file = "key"
      """
    When someone starts a daemon with --log info
    Then it refuses with exit code 2 and a remedy that mentions https

  Scenario: a worker has no key sent in clear to another machine
    Given a file key that holds the key sk-alpha-one
    And the settings file says
      """
      engine_networks = "10.0.0.0/8"
      [[pool]]
      id = "gpu"
      engine = "openai"
      model = "scripted"
      key_file = "key"
      """
    And a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "http://10.0.0.7:8000", "slots": 2, "model_ref": "scripted"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions https |

  Scenario Outline: a key that can't be used is told before anything starts: <said>
    Given a file empty that holds ""
    And the settings file says
      """
      [[pool]]
      id = "gpu"
      engine = "openai"
      model = "scripted"
      <said>
      """
    When someone starts a daemon with --log info
    Then it refuses with exit code 2 and a remedy that mentions <remedy>

    Examples:
      | said                                     | remedy         |
      | key_file = "nowhere"                     | can't be read  |
      | key_file = "empty"                       | it is empty    |
      | key_env = "A_VARIABLE_THAT_NOBODY_SETS"  | is not set     |
      | key_file = "empty"\nkey_env = "A"        | one of them    |
