Feature: Metrics
  Names and labels are part of the contract: dashboards and alarms outlive releases. Every scrape in
  these features is read by a strict parser, so a line that a scraper would choke on fails them all.

  # One task has finished, one runs on, one waits, one was refused, and one was canceled.
  Scenario: names and labels
    Given a daemon started with --slots 1 --admission-capacity 2 --mock-tokens-per-s 100
    And the client enqueues a task
      | max_tokens | 4 |
    And the client reads /v2/tasks/{task}/events
    And the client enqueues the task endless
      | max_tokens | 20000 |
    And the client opens /v2/tasks/{endless}/events
    And the client has received 1 token
    And the client enqueues the task waiting
    And the client sends POST /v2/tasks/{waiting}/cancel
    And the client enqueues tasks until one is answered 429
    Then these metrics come to be exposed
      | tasks_enqueued_total                | counter   | engine engine_version pool_id replica_id priority |
      | tasks_started_total                 | counter   | engine engine_version pool_id replica_id priority |
      | tasks_canceled_total                | counter   | engine engine_version pool_id replica_id reason   |
      | tasks_rejected_total                | counter   | engine reason                                     |
      | tokens_in_total                     | counter   | engine engine_version pool_id replica_id          |
      | tokens_out_total                    | counter   | engine engine_version pool_id replica_id          |
      | admission_backpressure_events_total | counter   | engine policy                                     |
      | queue_depth                         | gauge     | engine engine_version pool_id priority            |
      | pool_ready                          | gauge     | pool_id                                           |
      | active_leases                       | gauge     | pool_id                                           |
      | model_state                         | gauge     | model_id state                                    |
      | latency_first_token_ms              | histogram | engine engine_version pool_id priority            |
      | latency_decode_ms                   | histogram | engine engine_version pool_id priority            |
    And the histogram latency_first_token_ms has the bounds 50 100 150 200 300 500 750 1000 1500 2000 3000
    And the histogram latency_decode_ms has the bounds 250 500 1000 1500 2000 3000 4000 6000 8000 12000
    And the metric active_leases comes to 1
    And the metric tasks_canceled_total comes to 1

  Scenario: an engine of this process tells how full its KV cache is
    Given a daemon started with --engine embedded --slots 1
    And the client enqueues a task
    And the client reads /v2/tasks/{task}/events
    Then these metrics come to be exposed
      | kv_cache_usage_ratio | gauge | engine engine_version pool_id replica_id |
    And the metric kv_cache_usage_ratio comes to 0

  Scenario: a steal names both cores
    Given a daemon started with --shards 2 --slots 4 --admission-capacity 256
    When 60 tasks are sent at once over 16 connections and read to their ends
    Then the metric steals_total comes to at least 1
    And these metrics come to be exposed
      | steals_total | counter | from_core to_core |

  Scenario: the counts are those of the streams
    Given a daemon
    And the client enqueues a task
      | max_tokens | 4 |
    When the client reads /v2/tasks/{task}/events
    Then the metric tasks_enqueued_total comes to 1
    And the metric tasks_started_total comes to 1
    And the metric tokens_out_total comes to at least 1
    And the metric active_leases comes to 0
    And the metric pool_ready comes to 1
