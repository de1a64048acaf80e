Feature: Placement
  Several pools may serve one model. A task that does not care goes where it is done soonest; one that
  cares says so. A wish is followed as far as it goes. A pin is obeyed or refused, never bent: whoever
  pins a task has a reason that the daemon does not know.

  # The daemon's own pool is called default, and has one slot like the others.
  Background:
    Given a daemon started with --slots 1 --mock-tokens-per-s 50

  Scenario: a pin is obeyed, though others are free
    Given a pool called left
    And a pool called right
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "right"} |
    And the client reads /v2/tasks/{task}/events?verbose=true
    Then each started event of the client holds
      | pool_id | "right" |
    When the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "right" |
      | placement.chosen_by | "pin"   |
    And a line of the log comes to hold
      | event              | "placement" |
      | job_id             | "{task}"    |
      | pool_id            | "right"     |
      | replica_id         | "r0"        |
      | chosen_by          | "pin"       |
      | queue_position     | 0           |
      | predicted_start_ms | a number    |

  Scenario: the log tells which version of the engine a task runs on
    Given a pool called left whose engine was started with --first-token-ms 600000
      | engine_version | "1.0" |
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "left", "replica_id": "r1", "engine": "openai", "url": "{left}", "slots": 1,
       "engine_version": "2.0", "model_ref": "mock"}
      """
    And GET /v2/pools/left/health comes to hold
      | metrics.slots_free | 2 |
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    And the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    Then a line of the log comes to hold
      | event          | "placement" |
      | replica_id     | "r0"        |
      | engine_version | "1.0"       |
    And a line of the log comes to hold
      | event          | "placement" |
      | replica_id     | "r1"        |
      | engine_version | "2.0"       |

  Scenario: a pin to a pool that drains is refused and not rerouted
    Given a pool called left
    And the client sends POST /v2/pools/left/drain
      """
      {"deadline_ms": 600000}
      """
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    Then the answer is 503 POOL_DRAINING
    And the headers hold
      | Retry-After | at least 1 |
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left", "allow_fallback": false} |
    Then the answer is 503 POOL_DRAINING

  Scenario: a pin to a pool whose engine is dead is refused and not rerouted
    Given a pool called left
    When the engine left is killed
    Then GET /v2/pools/left/health comes to hold
      | ready | false |
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    Then the answer is 503 POOL_UNAVAILABLE
    And the body holds
      | retriable | true     |
      | engine    | "openai" |

  Scenario: a pin is given up by a task that says so
    Given a pool called left
    And the client sends POST /v2/pools/left/drain
      """
      {"deadline_ms": 600000}
      """
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left", "allow_fallback": true} |
    Then the answer is 202
    When the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "default"  |
      | placement.chosen_by | "fallback" |

  Scenario: preferred pools are tried in their order
    Given a pool called left
    And a pool called right
    When the client enqueues a task
      | placement | {"mode": "prefer", "prefer_pools": ["right", "left"]} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "right"      |
      | placement.chosen_by | "preference" |
    When the client sends POST /v2/pools/right/drain
      """
      {"deadline_ms": 600000}
      """
    And the client enqueues a task
      | placement | {"mode": "prefer", "prefer_pools": ["right", "left"]} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "left"       |
      | placement.chosen_by | "preference" |

  Scenario: a preference gives way, unless it was said that it must not
    Given a pool called left
    And the client sends POST /v2/pools/left/drain
      """
      {"deadline_ms": 600000}
      """
    When the client enqueues a task
      | placement | {"mode": "prefer", "prefer_pools": ["left"]} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "default"  |
      | placement.chosen_by | "fallback" |
    When the client enqueues a task
      | placement | {"mode": "prefer", "prefer_pools": ["left"], "allow_fallback": false} |
    Then the answer is 503 POOL_DRAINING

  Scenario: an avoided pool is the last resort
    Given a pool called left
    When the client enqueues a task
      | placement | {"avoid_pools": ["default"]} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "left" |
      | placement.chosen_by | "auto" |
    When the client sends POST /v2/pools/left/drain
      """
      {"deadline_ms": 600000}
      """
    And the client enqueues a task
      | placement | {"avoid_pools": ["default"]} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "default"  |
      | placement.chosen_by | "fallback" |
    When the client enqueues a task
      | placement | {"avoid_pools": ["default", "left"], "allow_fallback": false} |
    Then the answer is 503 POOL_UNAVAILABLE
    And the body holds
      | message | mentions placement |

  Scenario: a task runs on no device that it has not named
    Given a pool called left
      | device_mask | "0-1" |
    And a pool called right
      | device_mask | "GPU3" |
    When the client sends GET /v2/pools
    Then the body holds
      | pools.0.device_mask | nothing |
      | pools.1.device_mask | "0,1"   |
      | pools.2.device_mask | "3"     |
    When the client enqueues a task
      | placement | {"require_device_mask": "2-3"} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "right" |
    When the client enqueues a task
      | placement | {"require_device_mask": "1"} |
    Then the answer is 503 POOL_UNAVAILABLE
    And the body holds
      | message | mentions require_device_mask |
    When the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "default", "require_device_mask": "0-63"} |
    Then the answer is 503 POOL_UNAVAILABLE

  Scenario: the least loaded pool has the next task
    Given a pool called left whose engine was started with --tokens-per-s 1
    And the client enqueues the task first
      | max_tokens | 100000 |
    And GET /v2/tasks/{first} comes to hold
      | state             | "running" |
      | placement.pool_id | "default" |
    And the client enqueues the task second
      | max_tokens | 100000 |
    And GET /v2/tasks/{second} comes to hold
      | state             | "running" |
      | placement.pool_id | "left"    |
    When the client enqueues the task third
    And the client enqueues the task fourth
    And the client sends GET /v2/tasks/{third}
    Then the body holds
      | placement.pool_id   | "default" |
      | placement.chosen_by | "auto"    |
    When the client sends GET /v2/tasks/{fourth}
    Then the body holds
      | placement.pool_id | "left" |

  Scenario: a session goes where its last turn ran
    Given a pool called left
    And the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11"   |
      | placement  | {"mode": "pin", "pin_pool_id": "left"} |
    And the client reads /v2/tasks/{task}/events
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id   | "left" |
      | placement.chosen_by | "auto" |
    When the client enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | kv_hint    | "cold"                                 |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "default" |

  Scenario: strict determinism goes only where all versions are pinned
    Given a daemon started with --engine embedded --slots 1
    And a pool called aside
      | engine_version | "1.0" |
    When the client enqueues the task running
      | max_tokens | 400 |
      | placement  | {"mode": "pin", "pin_pool_id": "default"} |
    And the client enqueues a task
      | determinism | "strict" |
    Then the answer is 202
    When the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "default" |
    When the client enqueues a task
      | determinism | "strict" |
      | placement   | {"mode": "pin", "pin_pool_id": "aside"} |
    Then the answer is 503 POOL_UNAVAILABLE
    And the body holds
      | message | mentions determinism |
    When the client enqueues a task
      | determinism             | "strict"  |
      | sampler_profile_version | "another" |
    Then the answer is 503 POOL_UNAVAILABLE
    When the client sends GET /v2/pools
    Then the body's pools.0.sampler_profile_version is called profile
    When the client enqueues a task
      | determinism             | "strict"    |
      | sampler_profile_version | "{profile}" |
    Then the answer is 202

  Scenario: the settings say what a pool is pinned to, and where it runs
    Given a file pools.toml that holds "pool = [{id = 'loose', engine = 'mock'}, {id = 'plain', engine = 'mock', sampler_profile_version = 'p1'}, {id = 'other', engine = 'mock', sampler_profile_version = 'p2', device_mask = '0-1'}, {id = 'claimed', engine = 'mock', sampler_profile_version = 'p3', engine_version = 'not this one'}]"
    And a daemon started with --config {dir}/pools.toml
    When the client enqueues a task
      | determinism | "strict" |
      | placement   | {"avoid_pools": ["other"]} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "plain" |
    When the client enqueues a task
      | determinism             | "strict" |
      | sampler_profile_version | "p2"     |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "other" |
    When the client enqueues a task
      | sampler_profile_version | "p2" |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "other" |
    When the client enqueues a task
      | determinism             | "strict" |
      | sampler_profile_version | "p3"     |
    Then the answer is 503 POOL_UNAVAILABLE
    When the client enqueues a task
      | placement | {"require_device_mask": "0-7"} |
    And the client sends GET /v2/tasks/{task}
    Then the body holds
      | placement.pool_id | "other" |

  Scenario: devices that can't be read are refused before the daemon starts
    Given a file pools.toml that holds "pool = [{id = 'gpu', engine = 'mock', device_mask = 'all'}]"
    When someone starts a daemon with --config {dir}/pools.toml
    Then it refuses with exit code 2 and a remedy that mentions 0,2-3

  Scenario Outline: a pool that is not there is not found
    When the client enqueues a task
      | placement | <placement> |
    Then the answer is 404 POOL_NOT_FOUND
    And the body holds
      | message | mentions <field> |

    Examples:
      | placement                                      | field        |
      | {"mode": "pin", "pin_pool_id": "nowhere"}      | pin_pool_id  |
      | {"mode": "prefer", "prefer_pools": ["nowhere"]} | prefer_pools |
      | {"avoid_pools": ["nowhere"]}                   | avoid_pools  |

  Scenario Outline: what can't be is refused by name
    Given a pool called other
      | model_ref | "another" |
    When the client enqueues a task
      | placement | <placement> |
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions <field> |

    Examples:
      | placement                                                                          | field               |
      | {"mode": "pin"}                                                                    | pin_pool_id         |
      | {"pin_pool_id": "default"}                                                         | pin_pool_id         |
      | {"mode": "pin", "pin_pool_id": "other"}                                            | pin_pool_id         |
      | {"mode": "pin", "pin_pool_id": "default", "prefer_pools": ["other"]}               | prefer_pools        |
      | {"mode": "pin", "pin_pool_id": "default", "avoid_pools": ["default"]}              | avoid_pools         |
      | {"require_device_mask": "0x3"}                                                     | require_device_mask |
      | {"mode": "random"}                                                                 | mode                |
      | {"pin": "default"}                                                                 | pin                 |

  Scenario: decisions are counted
    Given a pool called left
    And the client sends POST /v2/pools/left/drain
      """
      {"deadline_ms": 600000}
      """
    When the client enqueues a task
    And the client enqueues a task
      | placement | {"mode": "pin", "pin_pool_id": "left"} |
    Then these metrics come to be exposed
      | placement_decisions_total       | counter | outcome pinned fallback |
      | placement_candidates_considered | gauge   |                         |
    And the metric placement_decisions_total comes to 2
    And the metric placement_candidates_considered comes to 2
