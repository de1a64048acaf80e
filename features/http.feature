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

  # It would be counted as a reader, and the next request would wait for the task's end.
  Scenario: HEAD is told of a stream, and does not read it
    When the client enqueues a task
      | max_tokens | 100000 |
    And the client writes
      """
      HEAD /v2/tasks/{task}/events HTTP/1.1
      Host: localhost
      X-Correlation-Id: first

      GET /livez HTTP/1.1
      Host: localhost
      X-Correlation-Id: second
      """
    Then the next answer is 200 to first
    And the headers hold
      | Content-Type   | "text/event-stream" |
      | Content-Length | nothing             |
    And the next answer is 200 to second

  Scenario Outline: what the client does not take is not sent to it
    Given every request carries Accept: <accept>
    When the client sends GET <path>
    Then the answer is <status>

    Examples:
      | accept                         | path             | status |
      | text/html                      | /v2/pools        | 406    |
      | application/json;q=0, */*      | /v2/pools        | 406    |
      | text/html, */*;q=0.1           | /v2/pools        | 200    |
      | application/json               | /livez           | 406    |
      | application/json               | /metrics         | 406    |
      | application/openmetrics-text   | /metrics         | 200    |
      | text/*                         | /metrics         | 200    |

  Scenario: a stream is not sent to who takes none
    Given the client enqueues a task
    And every request carries Accept: application/json
    When the client sends GET /v2/tasks/{task}/events
    Then the answer is 406 NOT_ACCEPTABLE

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

  # Only a body that can't be read makes the difference: the head tells who asks.
  Scenario Outline: a body that is refused is answered under the caller's own id
    When the client writes
      """
      POST /v2/tasks HTTP/1.1
      Host: localhost
      Content-Type: application/json
      X-Correlation-Id: mine
      <framing>

      <body>
      """
    Then the next answer is <status> to mine
    And the body holds
      | correlation_id | "mine" |
    And the daemon closes the connection

    Examples:
      | framing                    | body    | status |
      | Content-Length: 4000000000 | {       | 413    |
      | Transfer-Encoding: chunked | no size | 400    |

  Scenario: a body that does not come is answered under the caller's own id
    Given a daemon started with --body-timeout-ms 100
    When the client writes
      """
      POST /v2/tasks HTTP/1.1
      Host: localhost
      Content-Type: application/json
      X-Correlation-Id: mine
      Content-Length: 50
      """
    Then the next answer is 408 to mine
    And the body holds
      | retriable | true |
    And the daemon closes the connection

  Scenario: a request without a host is refused
    When the client writes
      """
      GET /livez HTTP/1.1
      """
    Then the next answer is 400
    And the daemon closes the connection
