/* The load generator's command line. */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    const char *host, *path, *key, *dialect, *model;
    int port, connections, warm;
    uint64_t requests;
    double seconds, rate, timeout;
    size_t body;
    bool stream, hold, usage;
} want = {.host = "127.0.0.1", .key = "bench", .dialect = "openai", .model = "bench-n50-p20", .connections = 8,
          .warm = 4, .timeout = 20, .body = 1024};

/* Fills in `want`; ends the program with status 2 where the options make no sense. */
static void read_options(int argc, char **argv)
{
    enum { HOST = 1, PORT, PATH, KEY, DIALECT, MODEL, CONNECTIONS, REQUESTS, SECONDS, RATE, BODY, WARM, TIMEOUT_S,
           STREAM, HOLD, USAGE };
    static const struct option options[] = {
        {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"path", 1, 0, PATH}, {"key", 1, 0, KEY},
        {"dialect", 1, 0, DIALECT}, {"model", 1, 0, MODEL}, {"connections", 1, 0, CONNECTIONS},
        {"requests", 1, 0, REQUESTS}, {"seconds", 1, 0, SECONDS},
        {"rate", 1, 0, RATE}, {"body-bytes", 1, 0, BODY}, {"warm", 1, 0, WARM}, {"timeout", 1, 0, TIMEOUT_S},
        {"stream", 0, 0, STREAM}, {"hold", 0, 0, HOLD}, {"usage", 0, 0, USAGE}, {0, 0, 0, 0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case HOST: want.host = optarg; break;
        case PORT: want.port = atoi(optarg); break;
        case PATH: want.path = optarg; break;
        case KEY: want.key = optarg; break;
        case DIALECT: want.dialect = optarg; break;
        case MODEL: want.model = optarg; break;
        case CONNECTIONS: want.connections = atoi(optarg); break;
        case REQUESTS: want.requests = strtoul(optarg, NULL, 10); break;
        case SECONDS: want.seconds = atof(optarg); break;
        case RATE: want.rate = atof(optarg); break;
        case BODY: want.body = strtoul(optarg, NULL, 10); break;
        case WARM: want.warm = atoi(optarg); break;
        case TIMEOUT_S: want.timeout = atof(optarg); break;
        case STREAM: want.stream = true; break;
        case HOLD: want.hold = want.stream = true; break;
        case USAGE: want.usage = true; break;
        default: exit(2);
        }
    if (want.hold)
        want.requests = (uint64_t)want.connections;
    if (want.port <= 0 || want.connections <= 0 || (!want.requests && want.seconds <= 0)) {
        fprintf(stderr, "load: --port, and --requests or --seconds\n");
        exit(2);
    }
}
