Feature: Description
  The API is described by a document that programs read: clients are generated from it, and fuzzers
  learn from it what to try. It comes from the daemon itself, so it is the truth about this daemon.
  Every answer in all of these features is held against it.

  Scenario: the description is there for everybody
    Given Ann has a key for data
    And a daemon started with --keys {dir}/keys.toml
    When the client sends GET /openapi.json
    Then the answer is 200
    And the body holds
      | openapi                                                                  | "3.1.0"         |
      | info.title                                                               | "orchestratord" |
      | info.version                                                             | a text          |
      | components.schemas.TaskRequest.properties.prompt                         | an object       |
      | components.schemas.TaskRequest.additionalProperties                      | false           |
      | components.schemas.ErrorBody.properties.code                             | an object       |
