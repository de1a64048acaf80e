Feature: Models
  A model may be named by the place that its file comes from. The daemon fetches it once, keeps it under what
  it hashes to, and asks nobody again. It asks nobody at all unless the operator names the hosts, because
  whoever names a model must not be able to make it call what only the daemon can reach.

  Scenario: nothing is downloaded unless the operator names the host
    Given a mirror called near with the shipped model at /tale.gguf
    When someone starts a daemon with --engine embedded --model {near}/tale.gguf
    Then it refuses with exit code 2 and a remedy that mentions downloaded from {near}; `model_hosts`
    And the mirror near was asked 0 times

  Scenario: a host that is named without a scheme is asked over https only
    Given a mirror called near with the shipped model at /tale.gguf
    When someone starts a daemon with --engine embedded --model {near}/tale.gguf --model-hosts 127.0.0.1
    Then it refuses with exit code 2 and a remedy that mentions `model_hosts`
    And the mirror near was asked 0 times

  Scenario: a model is fetched, compared with its digest, and used
    Given a mirror called near with the shipped model at /tale.gguf
    And a daemon started with --engine embedded --model {near}/tale.gguf#sha256={digest} --model-hosts {near}
    When the client enqueues a task
      | model_ref | "{near}/tale.gguf" |
    Then the answer is 202
    When the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
    And the mirror near was asked 1 time

  Scenario: who starts again asks nobody again
    Given a mirror called near with the shipped model at /tale.gguf
    And a daemon started with --engine embedded --model {near}/tale.gguf --model-hosts {near}
    When the mirror near is gone
    Given a daemon started with --engine embedded --model {near}/tale.gguf
    When the client enqueues a task
    Then the answer is 202

  Scenario: a download that breaks off goes on where it was
    Given a mirror called near with the shipped model at /tale.gguf
    And the next file of the mirror near breaks off after 1000000 bytes
    And a daemon started with --engine embedded --model {near}/tale.gguf --model-hosts {near}
    Then the mirror near was asked 2 times
    And the last request to the mirror near carries range: bytes=1000000-
    And the last request to the mirror near carries if-range: "as-it-is"
    When the client enqueues a task
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: a file that is not what its digest says is thrown away
    Given a mirror called near with the shipped model at /tale.gguf
    And the settings file says
      """
      model_hosts = "{near}"

      [[pool]]
      id = "own"
      engine = "embedded"
      model = "{near}/tale.gguf"
      model_digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
      """
    When someone starts a daemon with --engine mock
    Then it refuses with exit code 2 and a remedy that mentions not the one that was asked for
    And no model comes to be kept

  Scenario: a redirect leads only to hosts that are named too
    Given a mirror called far with the shipped model at /tale.gguf
    And a mirror called near with the shipped model at /other.gguf
    And the mirror near sends /tale.gguf on to {far}/tale.gguf
    When someone starts a daemon with --engine embedded --model {near}/tale.gguf --model-hosts {near}
    Then it refuses with exit code 2 and a remedy that mentions downloaded from {far}
    And the mirror far was asked 0 times
    Given a daemon started with --engine embedded --model {near}/tale.gguf --model-hosts {near},{far}
    Then the mirror far was asked 1 time

  Scenario: a mirror at https is believed if somebody vouches for it
    Given a mirror called near at https with a certificate for 127.0.0.1 with the shipped model at /tale.gguf
    And a mirror called far at https with a certificate for elsewhere.lan with the shipped model at /tale.gguf
    When someone runs orchestratord models fetch {near}/tale.gguf --data-dir {dir}/data --model-hosts {near} --engine-ca-file {dir}/near-ca.pem
    Then it prints sha256:{digest}
    When someone runs orchestratord models fetch {far}/tale.gguf --data-dir {dir}/data --model-hosts {far} --engine-ca-file {dir}/far-ca.pem
    Then it refuses with exit code 1 and a remedy that mentions its certificate is for another host
    When someone runs orchestratord models fetch {far}/tale.gguf --data-dir {dir}/data --model-hosts {far} --engine-ca-file {dir}/near-ca.pem
    Then it refuses with exit code 1 and a remedy that mentions nobody whom we trust

  Scenario: the hub tells which file is meant, and it alone sees the token
    Given a mirror called store with the shipped model at /blobs/tale
    And a mirror called hub with the shipped model at /unused
    And the mirror hub says at /api/models/org/tale/revision/main
      """
      {"sha": "c0ffee", "siblings": [{"rfilename": "README.md"}, {"rfilename": "tale.gguf"}]}
      """
    And the mirror hub sends /org/tale/resolve/c0ffee/tale.gguf on to {store}/blobs/tale
    When someone runs HF_TOKEN=hf_a_secret orchestratord models fetch hf:org/tale --json --data-dir {dir}/data --hub-url {hub} --model-hosts {hub},{store}
    Then it prints "digest":"sha256:{digest}"
    And the mirror hub was asked 2 times
    And each request to the mirror hub carries authorization: Bearer hf_a_secret
    And each request to the mirror store lacks authorization
    Given a daemon started with --engine embedded --model hf:org/tale
    When the client enqueues a task
      | model_ref | "hf:org/tale" |
    Then the answer is 202
    And the mirror hub was asked 2 times

  Scenario: of several models one must be named
    Given a mirror called hub with the shipped model at /unused
    And the mirror hub says at /api/models/org/tale/revision/v1
      """
      {"siblings": [{"rfilename": "tale-Q4.gguf"}, {"rfilename": "tale-Q8.gguf"}]}
      """
    When someone runs orchestratord models fetch hf:org/tale@v1 --data-dir {dir}/data --hub-url {hub} --model-hosts {hub}
    Then it refuses with exit code 1 and a remedy that mentions tale-Q4.gguf, tale-Q8.gguf
    And no model comes to be kept

  Scenario: models are fetched, listed and removed by hand
    Given a mirror called near with the shipped model at /tale.gguf
    When someone runs orchestratord models fetch {near}/tale.gguf --data-dir {dir}/data --model-hosts {near}
    Then it prints sha256:{digest}
    When someone runs orchestratord models list --data-dir {dir}/data
    Then it prints {near}/tale.gguf
    When someone runs orchestratord models remove {near}/tale.gguf --data-dir {dir}/data
    Then no model comes to be kept
    When someone runs orchestratord models remove {near}/tale.gguf --data-dir {dir}/data
    Then it refuses with exit code 1 and a remedy that mentions not been downloaded

  Scenario: what would be downloaded is told without downloading it
    Given a mirror called near with the shipped model at /tale.gguf
    When someone runs orchestratord check --model {near}/tale.gguf --data-dir {dir}/data --model-hosts {near}
    Then it prints would first download its model, {near}/tale.gguf
    And the mirror near was asked 0 times

  Scenario: an engine is started with the file of its model
    Given a mirror called near with the shipped model at /tale.gguf
    And the settings file says
      """
      model_hosts = "{near}"

      [[pool]]
      id = "own"
      engine = "mock"
      model = "{near}/tale.gguf"
      command = ["sh", "-c", "sha256sum {model} | grep -q {digest} && exec {mock_engine} --addr {host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    When the client enqueues a task
      | model_ref | "{near}/tale.gguf" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |
    And the mirror near was asked 1 time
    When the client sends POST /v2/pools/own/reload
      """
      {"new_model_ref": "{near}/other.gguf"}
      """
    Then the answer is 409 RELOAD_FAILED
    And the body holds
      | message | mentions 404 |
    When the client sends POST /v2/pools/own/reload
      """
      {"new_model_ref": "{near}/tale.gguf#sha256={digest}"}
      """
    Then the answer is 200
    And the mirror near was asked 2 times

  Scenario: who waits for a model is told how far it has come
    Given a mirror called near with the shipped model at /tale.gguf
    And the next file of the mirror near is held back after 1000000 bytes
    And the settings file says
      """
      model_hosts = "{near}"

      [[pool]]
      id = "own"
      engine = "mock"
      model = "{near}/tale.gguf"
      command = ["{mock_engine}", "--addr", "{host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    When the client enqueues a task
      | model_ref | "{near}/tale.gguf" |
    Then the answer is 202
    And GET /v2/pools/own/health comes to hold
      | preparation.steps.0.step        | "download"       |
      | preparation.steps.0.done_bytes  | 1000000          |
      | preparation.steps.0.total_bytes | at least 1000001 |
    When the mirror near goes on
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: a daemon that stops waits for no download, and who comes after it goes on
    Given a mirror called near with the shipped model at /tale.gguf
    And the next file of the mirror near is held back after 1000000 bytes
    And the settings file says
      """
      model_hosts = "{near}"

      [[pool]]
      id = "own"
      engine = "mock"
      model = "{near}/tale.gguf"
      command = ["{mock_engine}", "--addr", "{host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    And GET /v2/pools/own/health comes to hold
      | preparation.steps.0.done_bytes | 1000000 |
    When the daemon receives SIGTERM
    Then the daemon exits with code 0
    When someone runs orchestratord models fetch {near}/tale.gguf --data-dir {dir}/data
    Then it prints sha256:{digest}
    And the last request to the mirror near carries range: bytes=1000000-

  Scenario: a reload to a model that can't be had changes nothing
    Given a mirror called near with the shipped model at /tale.gguf
    And a daemon started with --engine embedded --model-hosts {near}
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "{near}/other.gguf"}
      """
    Then the answer is 409 RELOAD_FAILED
    And the body holds
      | message | mentions 404 |
    When the client enqueues a task
    Then the answer is 202
    When the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "{near}/tale.gguf"}
      """
    Then the answer is 200
    When the client enqueues a task
      | model_ref | "{near}/tale.gguf" |
    Then the answer is 202

  Scenario: a model of the catalog comes from its source
    Given a mirror called near with the shipped model at /tale.gguf
    And a daemon started with --engine embedded --model-hosts {near}
    When the client sends POST /v2/catalog/models
      """
      {"id": "story", "source_url": "{near}/tale.gguf", "digest": "sha256:{digest}"}
      """
    And the client sends POST /v2/pools/default/reload
      """
      {"new_model_ref": "story"}
      """
    Then the answer is 200
    When the client enqueues a task
      | model_ref | "story" |
    Then the answer is 202
    When the client sends POST /v2/catalog/models/story/verify
    Then GET /v2/catalog/models/story comes to hold
      | verdict | "verified" |

  Scenario: an engine whose model is one of the catalog is started with its file
    Given a mirror called near with the shipped model at /tale.gguf
    And the settings file says
      """
      model_hosts = "{near}"

      [[pool]]
      id = "own"
      engine = "mock"
      model = "story"
      command = ["sh", "-c", "while [ ! -e {model} -a ! -e {dir}/go ]; do sleep 0.05; done; sha256sum {model} | grep -q {digest} && exec {mock_engine} --addr {host}:{port}"]
      """
    And a daemon started with --handoff-watch-interval-ms 50
    When the client sends POST /v2/catalog/models
      """
      {"id": "story", "source_url": "{near}/tale.gguf", "digest": "sha256:{digest}"}
      """
    Then the answer is 201
    Given a file go that holds "what ends an engine without a model"
    When the client enqueues a task
      | model_ref | "story" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  Scenario: a purge removes what was downloaded, unless another pool serves it
    Given a mirror called near with the shipped model at /tale.gguf
    And the settings file says
      """
      model_hosts = "{near}"

      [[pool]]
      id = "one"
      engine = "embedded"
      model = "{near}/tale.gguf"

      [[pool]]
      id = "two"
      engine = "embedded"
      model = "{near}/tale.gguf"
      """
    And a daemon
    And the mirror near was asked 1 time
    When the client sends POST /v2/pools/one/purge
      """
      {"purge_models": true}
      """
    Then the answer is 409 IN_USE
    When the client sends POST /v2/pools/one/purge
      """
      {"purge_models": true, "force": true}
      """
    Then the answer is 202
    And no model comes to be kept
