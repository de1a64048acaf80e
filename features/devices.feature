Feature: Devices
  Who runs engines on GPUs wants to know which pool keeps which of them busy and full. The daemon asks
  their driver; where there is none, it says nothing and misses nothing. Only what the driver tells is
  told: a device that is lost tells nothing, and no number of it stands on. What runs on a device that has
  failed gets no new task, whatever its engine answers.

  Background:
    Given an engine called alpha

  # The two workers share the device 1. The device 0 belongs to nobody who said so.
  Scenario: the devices of a replica are told under it
    Given a driver that tells of the devices
      | well | 90 | 1000  | 80000 | Nobody's |
      | well | 37 | 12345 | 80000 | Model X  |
      | well | 5  | 67890 | 80000 | Model X  |
    And a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "engine_version": "1.2.3", "device_mask": "1-2", "model_ref": "scripted"}
      """
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w2", "engine": "openai", "url": "{alpha}", "slots": 2,
       "engine_version": "1.2.3", "device_mask": "1", "model_ref": "scripted"}
      """
    Then these series come to be exposed
      | gpu_utilization | engine="openai" engine_version="1.2.3" pool_id="gpu" replica_id="w1" device="1" | 0.37  |
      | gpu_utilization | engine="openai" engine_version="1.2.3" pool_id="gpu" replica_id="w1" device="2" | 0.05  |
      | gpu_utilization | engine="openai" engine_version="1.2.3" pool_id="gpu" replica_id="w2" device="1" | 0.37  |
      | vram_used_bytes | engine="openai" engine_version="1.2.3" pool_id="gpu" replica_id="w1" device="1" | 12345 |
      | vram_used_bytes | engine="openai" engine_version="1.2.3" pool_id="gpu" replica_id="w1" device="2" | 67890 |
      | vram_used_bytes | engine="openai" engine_version="1.2.3" pool_id="gpu" replica_id="w2" device="1" | 12345 |
    And GET /v2/pools/gpu/health comes to hold
      | replicas.0.devices.0.device           | 1         |
      | replicas.0.devices.0.name             | "Model X" |
      | replicas.0.devices.0.utilization      | 0.37      |
      | replicas.0.devices.0.vram_total_bytes | 80000     |
      | replicas.0.devices.0.vram_used_bytes  | 12345     |
      | replicas.0.devices.0.vram_free_bytes  | 67655     |
      | replicas.0.devices.0.memory_errors    | nothing   |
      | replicas.1.devices.1                  | nothing   |

  Scenario: who holds the memory of a device is told, the greatest first
    Given a driver that tells of the devices
      | well | 90 | 1000  | 80000 | Nobody's |
      | well | 37 | 12345 | 80000 | Model X  |
    And a file processes that holds "1 42 345 0 43 1000 1 44 12000"
    And a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "device_mask": "1", "model_ref": "scripted"}
      """
    Then GET /v2/pools/gpu/health comes to hold
      | replicas.0.devices.0.processes.0.pid             | 44      |
      | replicas.0.devices.0.processes.0.vram_used_bytes | 12000   |
      | replicas.0.devices.0.processes.1.pid             | 42      |
      | replicas.0.devices.0.processes.2                 | nothing |

  Scenario: a device that is lost vanishes, and comes back
    Given a driver that tells of the devices
      | well | 37 | 12345 | 80000 | Model X |
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "device_mask": "0", "model_ref": "scripted"}
      """
    And the metric vram_used_bytes comes to 12345
    When the driver tells of the devices
      | lost | 37 | 12345 | 80000 | Model X |
    Then these metrics come to have no series
      | gpu_utilization |
      | vram_used_bytes |
    And a line of the log comes to hold
      | event  | "device_lost" |
      | device | 0             |
      | reason | a text        |
      | human  | a text        |
    When the driver tells of the devices
      | well | 40 | 54321 | 80000 | Model X |
    Then the metric vram_used_bytes comes to 54321
    And a line of the log comes to hold
      | event  | "device_back" |
      | device | 0             |

  # The engine answers its probes all the while.
  Scenario Outline: a replica whose device fails gets no task until the device is well
    Given a driver that tells of the devices
      | well   | 37 | 12345 | 80000 | Model X |
      | <well> | 37 | 12345 | 80000 | Model X |
    And a daemon
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "device_mask": "0-1", "model_ref": "scripted"}
      """
    And the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w2", "engine": "openai", "url": "{alpha}", "slots": 2,
       "device_mask": "0", "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health comes to hold
      | replicas.0.state            | "ready" |
      | replicas.1.state            | "ready" |
      | replicas.0.devices.1.device | 1       |
    When the driver tells of the devices
      | well     | 37 | 12345 | 80000 | Model X |
      | <failed> | 37 | 12345 | 80000 | Model X |
    Then GET /v2/pools/gpu/health comes to hold
      | replicas.0.state      | "unready"                        |
      | replicas.0.slots_free | 0                                |
      | replicas.1.state      | "ready"                          |
      | last_error            | mentions its device 1 has failed |
    And a line of the log comes to hold
      | event      | "replica_without_device" |
      | replica_id | "w1"                     |
      | reason     | mentions <reason>        |
    When the driver tells of the devices
      | well   | 37 | 12345 | 80000 | Model X |
      | <well> | 37 | 12345 | 80000 | Model X |
    Then GET /v2/pools/gpu/health comes to hold
      | replicas.0.state      | "ready" |
      | replicas.0.slots_free | 2       |
    And a line of the log comes to hold
      | event      | "replica_has_devices" |
      | replica_id | "w1"                  |

    Examples:
      | well | failed | reason            |
      | well | lost   | fell off the bus  |
      | well | reset  | requires a reset  |
      | 2    | 3      | could not correct |

  # By their ids alone it would be the other one's turn.
  Scenario: of two pools alike, the one whose devices have more free memory gets the task
    Given a driver that tells of the devices
      | well | 50 | 79000 | 80000 | Model X |
      | well | 50 | 10000 | 80000 | Model X |
    And a file pools.toml that holds "pool = [{id = 'a-full', engine = 'mock', device_mask = '0'}, {id = 'b-free', engine = 'mock', device_mask = '1'}]"
    And a daemon started with --config {dir}/pools.toml
    And GET /v2/pools/b-free/health comes to hold
      | replicas.0.devices.0.vram_free_bytes | 70000 |
    When the client enqueues a task
    And the client reads /v2/tasks/{task}/events?verbose=true
    Then each started event of the client holds
      | pool_id | "b-free" |

  Scenario: a machine without such a driver misses nothing
    Given a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "device_mask": "0", "model_ref": "scripted"}
      """
    Then the answer is 200
    And these metrics come to have no series
      | gpu_utilization |
      | vram_used_bytes |
    And GET /v2/pools/gpu/health comes to hold
      | replicas.0.devices | [] |

  Scenario: a device mask that names no devices is refused
    Given a daemon
    When the client sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "openai", "url": "{alpha}", "slots": 2,
       "device_mask": "first", "model_ref": "scripted"}
      """
    Then the answer is 400 INVALID_PARAMS
    And the body holds
      | message | mentions device_mask |
