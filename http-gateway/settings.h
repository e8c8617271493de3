/* The settings of the http-gateway.
 */
#ifndef TIDINGS_GATEWAY_SETTINGS_H
#define TIDINGS_GATEWAY_SETTINGS_H

#include "common/settings.h"

struct gateway_settings {
    struct settings shared;
    char *listen;
    char *processor;
    char *webhook_origins; /* webhook_origins.h */
    char *cors_origins;    /* http_cors_check */
    double access_log;     /* below 0: none; else errors, and this share of the other requests */
    uint64_t max_body;
    uint64_t max_batch;
    uint64_t max_connections;
    uint64_t max_in_flight;
    uint64_t max_followers;
    int64_t max_wait_ms;
    int64_t stream_keepalive_ms;
    int64_t request_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t publish_timeout_ms;
    int64_t drain_timeout_ms;
};

extern const struct config_program gateway_program;

#endif
