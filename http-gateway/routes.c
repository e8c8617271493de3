#include "http-gateway/handlers.h"

const struct http_route gateway_routes[] = {
    {"GET", "/api/v1/events", get_events, "application/json"},
    {"POST", "/api/v1/events", post_event, "application/json, application/x-ndjson"},
    {"OPTIONS", "/api/v1/events", options_event, NULL},
    {"GET", "/api/v1/events/stream", stream_events, "text/event-stream"},
    {"GET", "/api/v1/events/{id}/stream", stream_event, "text/event-stream"},
    {"GET", "/api/v1/events/{id}", get_event, "application/json"},
    {"POST", "/api/v1/events/{id}/replay", replay_event, "application/json"},
    {"GET", "/api/v1/replays", get_replays, "application/json"},
    {"POST", "/api/v1/replays", post_replay, "application/json"},
    {"GET", "/api/v1/replays/{id}", get_replay, "application/json"},
    {"DELETE", "/api/v1/replays/{id}", delete_replay, "application/json"},
    {"GET", "/health", get_health, NULL},
    {"GET", "/ready", get_ready, NULL},
    {"GET", "/metrics", get_metrics, NULL},
    {"GET", "/openapi.json", get_openapi, "application/json"},
    {NULL, NULL, NULL, NULL},
};
