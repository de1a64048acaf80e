Feature: Stealing
  Each core keeps the queue of its own connections, so that cores need not wait for one another. The
  price would be a slot that idles on one core while a task waits on another; stealing pays it: a
  core with a free slot takes the most urgent task from anywhere.

  Scenario: no slot idles while a task waits, whichever core it waits on
    Given a daemon started with --shards 2 --slots 4 --admission-capacity 256 --mock-first-token-ms 20 --mock-tokens-per-s 100
    When 200 tasks are sent at once over 64 connections and read to their ends
      | max_tokens | 8 |
    Then every task has been served, its stream in order
    And no slot has been idle while a task waited
    And the metric steals_total comes to at least 1
    And the metric queue_depth comes to 0
    And the metric active_leases comes to 0
