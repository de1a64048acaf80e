Feature: Preflight
  A daemon that cannot do its work says so before it takes any, with the exit code of a bad setting
  and the remedy in words. Whoever reads it at night should need no second document.

  Scenario: the port is taken
    Given a port that somebody else listens on
    When someone starts a daemon with --addr 127.0.0.1:{port}
    Then it refuses with exit code 2 and a remedy that mentions --addr

  Scenario: io_uring is forbidden, as in many containers
    When someone starts a daemon where io_uring is forbidden
    Then it refuses with exit code 2 and a remedy that mentions seccomp

  Scenario: the data directory is a file
    Given a file data.txt that holds "not a directory"
    When someone starts a daemon with --data-dir {dir}/data.txt
    Then it refuses with exit code 2 and a remedy that mentions --data-dir

  Scenario: the model is not there
    When someone starts a daemon with --engine embedded --model {dir}/missing.gguf
    Then it refuses with exit code 2 and a remedy that mentions --model

  Scenario: the model is no model
    Given a file broken.gguf that holds "Once upon a time there was no model at all"
    When someone starts a daemon with --engine embedded --model {dir}/broken.gguf
    Then it refuses with exit code 2 and a remedy that mentions --model

  Scenario: the model stops in the middle
    Given a file cut.gguf that holds the beginning of a model
    When someone starts a daemon with --engine embedded --model {dir}/cut.gguf
    Then it refuses with exit code 2 and a remedy that mentions --model
