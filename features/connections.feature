Feature: Connections
  Every connection is an open file, and a process has so many of them. A flood of connections must not take
  what the daemon needs to serve those who are there: so there is a bound, and one connection more is told
  so and not left to guess.

  Scenario: one connection too many is told so, and who is there is served
    Given a daemon started with --connections-max 1
    When the client writes
      """
      GET /livez HTTP/1.1
      Host: localhost
      """
    Then the next answer is 200
    And another connection is answered 503 unasked, and closed
    And the headers hold
      | Retry-After | 1       |
      | Connection  | "close" |
    And the body holds
      | code      | "POOL_UNREADY" |
      | retriable | true           |
    When the client writes
      """
      GET /metrics HTTP/1.1
      Host: localhost
      """
    Then the next answer is 200

  # What a slow client has sent of a long body is kept until its time is up.
  Scenario: a long body for which there is no memory is sent again later
    Given a daemon started with --bodies-max-bytes 1000
    When the client sends a task whose prompt has 20000 characters
    Then the answer is 503 POOL_UNREADY
    And the headers hold
      | Retry-After | 1 |
    When the client sends a task whose prompt has 10000 characters
    Then the answer is 202

  Scenario: more connections than files are no setting to start with
    When someone starts a daemon with --connections-max 4000000000
    Then it refuses with exit code 2 and a remedy that mentions LimitNOFILE
