Feature: Engines at https
  An engine on another machine is reached over TLS. It is believed only if its certificate is for the host
  of its URL and vouched for by somebody whom this system or the operator trusts; whoever can't show that
  is an engine that is not there.

  Scenario: a task runs on an engine that the operator's authority vouches for
    Given an engine called alpha at https with a certificate for 127.0.0.1
    And a daemon started with --engine-ca-file {dir}/alpha-ca.pem
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then the client has seen a stream in order
    And each end event of the client holds
      | tokens_out | 8 |
    When the client enqueues the task again
      | model_ref  | "scripted" |
      | max_tokens | 30000      |
    And the client reads /v2/tasks/{again}/events
    Then each end event of the client holds
      | tokens_out | 30000 |

  Scenario Outline: an engine that <shows> is not there
    Given an engine called alpha at https with a certificate for <host>
    And an engine called beta at https with a certificate for 127.0.0.1
    And a daemon started with --engine-ca-file {dir}/<trusted>-ca.pem
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2, "model_ref": "scripted"}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready      | false             |
      | last_error | mentions <reason> |
    When the client enqueues a task
      | model_ref | "scripted" |
    Then the answer is 503 POOL_UNAVAILABLE

    Examples:
      | shows                            | host          | trusted | reason               |
      | nobody vouches for               | 127.0.0.1     | beta    | nobody whom we trust |
      | shows the certificate of another | elsewhere.lan | alpha   | another host         |

  Scenario: a pool is given another model on an engine at https
    Given an engine called alpha at https with a certificate for 127.0.0.1
    And the settings file says
      """
      engine_ca_file = "alpha-ca.pem"
      [[pool]]
      id = "gpu"
      engine = "openai"
      model = "scripted"
      urls = ["{alpha}"]
      """
    And a daemon
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the client sends POST /v2/pools/gpu/reload
      """
      {"new_model_ref": "another"}
      """
    Then the answer is 200

  Scenario: certificates that can't be used are told before anything starts
    Given a file ca.pem that holds "a certificate"
    When someone starts a daemon with --engine-ca-file {dir}/ca.pem
    Then it refuses with exit code 2 and a remedy that mentions --engine-ca-file
