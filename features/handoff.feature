Feature: Handoff
  A supervisor that has started an engine leaves a file that says where it is. The daemon follows the
  folder: a new file is bound at once, one that changes is bound anew, one that goes is let go, and
  a broken one harms nobody.

  Background:
    Given an engine called alpha

  Scenario: a file that appears is bound
    Given a daemon started with --handoff-watch-interval-ms 50
    When the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "engine_version": "1.2.3", "provisioning_mode": "external", "url": "{alpha}",
       "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "device_mask": "0",
       "model": {"id": "scripted", "path": "/models/scripted.gguf"}, "flags": ["--fast"]}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready               | true |
      | metrics.slots_total | 3    |
    When the client enqueues a task
      | model_ref | "scripted" |
    And the client reads /v2/tasks/{task}/events
    Then each end event of the client holds
      | tokens_out | 8 |

  # The folder is made with the file. At the interval alone, its second look would be in an hour.
  Scenario: what changes is seen at once where the kernel tells
    Given a daemon started with --handoff-watch-interval-ms 3600000
    When the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the handoff file gpu-alpha.json is removed
    Then GET /v2/pools/gpu/health comes to hold
      | replicas | [] |

  Scenario: a file that was there before the daemon is bound too
    Given the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    And a daemon started with --handoff-watch-interval-ms 50
    Then GET /v2/pools/gpu/health comes to hold
      | ready | true |

  Scenario: an unchanged file leaves its replica alone
    Given a daemon started with --handoff-watch-interval-ms 50 --log-format json
    And the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    And the handoff file gpu-beta.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "beta", "slots": 1, "model": {"id": "scripted"}}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | replicas.1.state | "ready" |
    And the log tells 1 time of "replica_bound" for alpha

  Scenario: a changed file is bound anew
    Given a daemon started with --handoff-watch-interval-ms 50
    And the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    And GET /v2/pools/gpu/health comes to hold
      | metrics.slots_total | 3 |
    When the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 6, "model": {"id": "scripted"}}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready               | true    |
      | metrics.slots_total | 6       |
      | replicas.1          | nothing |

  Scenario: a file that goes takes its replica along
    Given a daemon started with --handoff-watch-interval-ms 50
    And the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    And GET /v2/pools/gpu/health comes to hold
      | ready | true |
    When the handoff file gpu-alpha.json is removed
    Then GET /v2/pools/gpu/health comes to hold
      | ready    | false   |
      | replicas | []    |

  Scenario: a broken file is told once and passed over
    Given a daemon started with --handoff-watch-interval-ms 50 --log-format json
    When the handoff file broken.json says
      """
      {"engine": "openai", "url":
      """
    And the handoff file strange.json says
      """
      {"engine": "abacus", "url": "{alpha}", "pool_id": "gpu", "replica_id": "a", "slots": 3, "model": {"id": "m"}}
      """
    And the handoff file far.json says
      """
      {"engine": "openai", "url": "http://169.254.169.254", "pool_id": "gpu", "replica_id": "f", "slots": 3, "model": {"id": "m"}}
      """
    And the handoff file gpu-alpha.json says
      """
      {"engine": "openai", "url": "{alpha}", "pool_id": "gpu", "replica_id": "alpha", "slots": 3, "model": {"id": "scripted"}}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | ready | true |
    And the log tells 1 time of "handoff_skipped" for broken.json
    And the log tells 1 time of "handoff_skipped" for strange.json
    And the log tells 1 time of "handoff_skipped" for far.json
