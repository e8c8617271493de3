/* The settings of the event-processor.
 */
#ifndef TIDINGS_PROCESSOR_SETTINGS_H
#define TIDINGS_PROCESSOR_SETTINGS_H

#include "common/settings.h"

struct processor_settings {
    struct settings shared;
    char *listen;
    char *admin;
    char *group;
    char *data;                   /* folder of snapshots */
    int64_t snapshot_interval_ms; /* 0: none are taken */
    int64_t ack_wait_ms;
    uint64_t max_ack_pending;
    uint64_t concurrency;
    int64_t drain_timeout_ms;
    uint64_t grpc_threads;
    int gather_writes; /* GATHER_ON, GATHER_OFF */
};

enum { GATHER_ON, GATHER_OFF };

extern const struct config_program processor_program;

#endif
