Feature: Shutdown
  SIGTERM is a request to leave in order. Whoever is being served is served to the end if the grace
  allows it, and told so if it does not; nobody new is let in; and the exit code says that all went
  as it should.

  Scenario: a running stream finishes within the grace
    Given a daemon started with --shutdown-grace-ms 60000 --mock-tokens-per-s 50
    And the client enqueues a task
      | max_tokens | 50 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the daemon receives SIGTERM
    And Ann reads on to the end
    Then Ann has seen a stream in order
    And each end event of Ann holds
      | tokens_out | an integer |
    And the daemon exits with code 0

  Scenario: a stream that outlasts the grace ends with an error
    Given a daemon started with --shutdown-grace-ms 300 --mock-tokens-per-s 20
    And the client enqueues a task
      | max_tokens | 2000 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 3 tokens
    When the daemon receives SIGTERM
    And Ann reads on to the end
    Then Ann has seen a stream in order
    And each error event of Ann holds
      | code      | a text        |
      | message   | a text        |
      | retriable | true or false |
    And the daemon exits with code 0

  Scenario: new work is refused while the old is finished
    Given a daemon started with --shutdown-grace-ms 60000 --mock-tokens-per-s 20
    And the client enqueues a task
      | max_tokens | 60 |
    And Ann opens /v2/tasks/{task}/events
    And Ann has received 1 token
    When the daemon receives SIGTERM
    Then new work comes to be refused
    When Ann reads on to the end
    Then Ann has seen a stream in order
    And the daemon exits with code 0

  Scenario: an idle daemon leaves at once
    Given a daemon started with --shutdown-grace-ms 60000
    When the daemon receives SIGTERM
    Then the daemon exits with code 0
