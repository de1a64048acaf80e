"""llama.cpp's server, out of the Python package `xllamacpp`, which carries it ready built.

It takes those of the real `llama-server`'s flags that are used here, by the same names and with the
same meaning; any other is an error. `.ci/llamacpp` installs it as `target/llamacpp/llama-server`.
"""

import argparse
import os
import signal

import xllamacpp

POOLING = {
    "mean": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
    "rank": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK,
}


def flags():
    parser = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-np", "--parallel", type=int, default=1)
    parser.add_argument("-c", "--ctx-size", type=int, default=0)
    parser.add_argument("-t", "--threads", type=int, default=os.environ.get("LLAMA_ARG_THREADS", -1))
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--embeddings", action="store_true")
    parser.add_argument("--pooling", choices=POOLING)
    return parser.parse_args()


def parameters(said):
    params = xllamacpp.CommonParams()
    params.hostnames, params.port = [said.host], said.port
    params.model.path = said.model
    params.n_parallel, params.n_ctx = said.parallel, said.ctx_size
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = said.threads
    params.endpoint_metrics = said.metrics
    params.embedding = said.embeddings
    if said.pooling:
        params.pooling_type = POOLING[said.pooling]
    return params


def main():
    # Taken by this thread alone; the server's own threads are born with it blocked.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = xllamacpp.Server(parameters(flags()))
    print("listens on", server.listening_address, flush=True)
    signal.sigwait(ends)


if __name__ == "__main__":
    main()
