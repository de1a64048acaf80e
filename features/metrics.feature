Feature: Metrics
  Names and labels are part of the contract: dashboards and alarms outlive releases. Every scrape in
  these features is read by a strict parser, so a line that a scraper would choke on fails them all.

  # A crowd has been served and stolen from shard to shard; a session and a batch task have been, a
  # running and a waiting task were canceled, a model failed its verification, submissions were refused.
  # Streams run on while the scrape is taken. A metric that is new has its row here.
  Scenario: a scrape under load tells all that is promised, and nothing else
    Given Ann has a key for data
    And Bob has a key for data,control,worker
    And an engine called slow started with --protocol llamacpp --tokens-per-s 200
    And a driver that tells of the devices
      | well | 37 | 12345 | 80000 | Model X |
    And a file weights.gguf that holds "not what its digest says"
    And a daemon started with --keys {dir}/keys.toml --engine embedded --shards 2 --admission-capacity 64 --admission-share all
    And Bob sends POST /v2/workers/register
      """
      {"pool_id": "gpu", "replica_id": "w1", "engine": "llamacpp", "url": "{slow}", "slots": 4,
       "engine_version": "1.2.3", "device_mask": "0", "model_ref": "scripted"}
      """
    And GET /v2/pools/gpu/health by Bob comes to hold
      | ready | true |
    When 60 tasks of Ann are sent at once over 16 connections and read to their ends
      | model_ref | "scripted" |
    And Ann enqueues a task
      | session_id | "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11" |
      | max_tokens | 4                                      |
    And Ann reads /v2/tasks/{task}/events
    And Bob enqueues a task
      | model_ref | "scripted" |
      | priority  | "batch"    |
    And Bob reads /v2/tasks/{task}/events
    And Bob enqueues the task canceled
      | model_ref  | "scripted" |
      | max_tokens | 20000      |
    And Bob opens /v2/tasks/{canceled}/events
    And Bob has received 1 token
    And Bob sends POST /v2/tasks/{canceled}/cancel
    And Bob sends POST /v2/catalog/models
      """
      {"id": "weights", "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
       "source_url": "file:{dir}/weights.gguf"}
      """
    And Bob sends POST /v2/catalog/models/weights/verify
    And Ann enqueues a task
      | model_ref | "nobody-trained-this" |
    And Ann enqueues the task endless
      | model_ref  | "scripted" |
      | max_tokens | 20000      |
    And Ann opens /v2/tasks/{endless}/events
    And Ann has received 1 token
    And Ann enqueues tasks until one is answered 429
      | model_ref  | "scripted" |
      | max_tokens | 20000      |
    And Ann enqueues the task refused
      | model_ref  | "scripted" |
    And Ann has received 10 tokens
    Then the metric catalog_verifications_total comes to 1
    And the metric tasks_canceled_total comes to 1
    And the metric vram_used_bytes comes to 12345
    And the metric active_leases comes to 4
    And one scrape in each format exposes these metrics and no others
      | tasks_enqueued_total                | counter   | engine engine_version pool_id replica_id priority | |
      | tasks_started_total                 | counter   | engine engine_version pool_id replica_id priority | |
      | tasks_canceled_total                | counter   | engine engine_version pool_id replica_id reason   | |
      | tasks_rejected_total                | counter   | engine reason                                     | |
      | auth_failures_total                 | counter   | reason                                            | |
      | tokens_in_total                     | counter   | engine engine_version pool_id replica_id          | |
      | tokens_out_total                    | counter   | engine engine_version pool_id replica_id          | |
      | admission_backpressure_events_total | counter   | engine policy                                     | |
      | catalog_verifications_total         | counter   | result reason engine                              | |
      | placement_decisions_total           | counter   | outcome pinned fallback                           | |
      | placement_candidates_considered     | gauge     |                                                   | |
      | steals_total                        | counter   | from_core to_core                                 | |
      | queue_depth                         | gauge     | engine engine_version pool_id priority            | |
      | kv_cache_usage_ratio                | gauge     | engine engine_version pool_id replica_id          | |
      | engine_requests_running             | gauge     | engine engine_version pool_id replica_id          | |
      | engine_requests_waiting             | gauge     | engine engine_version pool_id replica_id          | |
      | gpu_utilization                     | gauge     | engine engine_version pool_id replica_id device   | |
      | vram_used_bytes                     | gauge     | engine engine_version pool_id replica_id device   | |
      | model_state                         | gauge     | model_id state                                    | |
      | panics_total                        | counter   |                                                   | |
      | shard_stalled                       | gauge     | shard                                             | |
      | shard_stalls_total                  | counter   | shard                                             | |
      | pool_ready                          | gauge     | pool_id                                           | |
      | store_ready                         | gauge     |                                                   | |
      | active_leases                       | gauge     | pool_id                                           | |
      | connections_open                    | gauge     |                                                   | |
      | connections_refused_total           | counter   |                                                   | |
      | latency_first_token_ms              | histogram | engine engine_version pool_id priority            | 50 100 150 200 300 500 750 1000 1500 2000 3000          |
      | latency_decode_ms                   | histogram | engine engine_version pool_id priority            | 250 500 1000 1500 2000 3000 4000 6000 8000 12000        |
    And the metric steals_total comes to at least 1

  # Whoever may ask can't make the daemon keep a series for each thing asked.
  Scenario: no request makes a new series
    Given a daemon
    And the series of the metrics have been counted
    When the client sends 300 requests with odd names for everything
    Then the metrics have as many series as were counted
    And the metric tasks_rejected_total comes to 300

  Scenario: an engine of this process tells how full its KV cache is
    Given a daemon started with --engine embedded --slots 1
    And the client enqueues a task
    And the client reads /v2/tasks/{task}/events
    Then these metrics come to be exposed
      | kv_cache_usage_ratio | gauge | engine engine_version pool_id replica_id |
    And the metric kv_cache_usage_ratio comes to 0

  Scenario: the counts are those of the streams
    Given a daemon
    And the client enqueues a task
      | max_tokens | 4 |
    When the client reads /v2/tasks/{task}/events
    Then the metric tasks_enqueued_total comes to 1
    And the metric tasks_started_total comes to 1
    And the metric tokens_out_total comes to at least 1
    And the metric active_leases comes to 0
    And the metric panics_total comes to 0
    And the metric pool_ready comes to 1
