Feature: HTTP
  Between a client and the daemon there may be proxies, and two programs that read one message
  differently are a hole to crawl through. So the daemon speaks HTTP/1.1 to the letter where a
  careful client relies on it, and refuses what can be read in two ways.

  Background:
    Given a daemon

  Scenario: a connection serves one request after the other
    When the client writes
      """
      GET /livez HTTP/1.1
      Host: localhost
      """
    Then the next answer is 200
    When the client writes
      """
      GET /readyz HTTP/1.1
      Host: localhost
      """
    Then the next answer is 200

  Scenario: requests sent together are answered in their order
    When the client writes
      """
      GET /v2/meta/version HTTP/1.1
      Host: localhost
      X-Correlation-Id: first

      GET /livez HTTP/1.1
      Host: localhost
      X-Correlation-Id: second
      """
    Then the next answer is 200 to first
    And the body holds
      | build_commit | a text |
    And the next answer is 200 to second

  Scenario: a client that asks before it sends its body is told to go on
    When the client writes
      """
      POST /v2/tasks HTTP/1.1
      Host: localhost
      Content-Type: application/json
      Content-Length: 50
      Expect: 100-continue
      """
    Then the next answer is 100
    When the client writes the body {"model_ref":"mock","prompt":"Hi","max_tokens":12}
    Then the next answer is 202

  # Were a body sent, the second answer could not be read.
  Scenario: HEAD is answered like GET, without the body
    When the client writes
      """
      HEAD /v2/meta/version HTTP/1.1
      Host: localhost
      X-Correlation-Id: first

      GET /livez HTTP/1.1
      Host: localhost
      X-Correlation-Id: second
      """
    Then the next answer is 200 to first
    And the next answer is 200 to second

  Scenario: a client that wants the connection closed has it closed
    When the client writes
      """
      GET /livez HTTP/1.1
      Host: localhost
      Connection: close
      """
    Then the next answer is 200
    And the daemon closes the connection

  Scenario Outline: a message that can be read in two ways is refused
    When the client writes
      """
      POST /v2/tasks HTTP/1.1
      Host: localhost
      Content-Type: application/json
      <one>
      <other>
      """
    Then the next answer is 400
    And the daemon closes the connection

    Examples:
      | one                        | other                         |
      | Content-Length: 5          | Content-Length: 6             |
      | Content-Length: 5, 6       | X-Note: one list              |
      | Content-Length: +5         | X-Note: a sign                |
      | Content-Length : 5         | X-Note: a space               |
      | Content-Length: 5          | Transfer-Encoding: chunked    |
      | Transfer-Encoding: chunked | Transfer-Encoding: identity   |
      | X-Note: a                  | Host: elsewhere               |
      | X Note: a                  | Content-Length: 0             |

  Scenario: a request without a host is refused
    When the client writes
      """
      GET /livez HTTP/1.1
      """
    Then the next answer is 400
    And the daemon closes the connection
