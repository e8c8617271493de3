/* Settings that both services share, and the logs on the bus that follow from them. Pure.
 */
#ifndef TIDINGS_SETTINGS_H
#define TIDINGS_SETTINGS_H

#include "common/bus.h"
#include "common/config.h"
#include "common/log.h"

/* Embedded in a service's struct; filled by config_load. */
struct settings {
    char *bus;    /* bus_options.url */
    char *ns;     /* the namespace */
    char *source; /* of events that name none */
    uint64_t stream_replicas;
    uint64_t events_max_bytes; /* 0: unlimited */
    int64_t events_max_age_ms; /* 0: for ever */
    int64_t duplicate_window_ms;
    int log_level;  /* enum log_level */
    int log_format; /* enum log_format */
};

extern const char *const settings_log_levels[];
extern const char *const settings_log_formats[];

#define SETTINGS_DAY_MS (24 * 3600 * 1000ULL)

/* The entries of the settings in a service's table, for its struct's member `member`. */
/* clang-format off */
#define SETTINGS_SHARED(struct_type, member)                                             \
    {.section = "Bus",                                                                   \
     .flag = "bus", .environment = "TIDINGS_BUS",                                        \
     .fallback = "nats://127.0.0.1:4222",                                                \
     .help = "Servers of the bus, separated by commas",                                  \
     .kind = CONFIG_TEXT, .offset = offsetof(struct_type, member.bus)},                  \
    {.flag = "namespace", .environment = "TIDINGS_NAMESPACE",                            \
     .fallback = "tidings",                                                              \
     .help = "What subjects and, in upper case, streams begin with",                     \
     .kind = CONFIG_NAME, .offset = offsetof(struct_type, member.ns)},                   \
    {.flag = "source", .environment = "TIDINGS_SOURCE",                                  \
     .fallback = "/tidings",                                                             \
     .help = "Source of events that name none, a URI reference",                         \
     .min = 1, .max = 512,                                                               \
     .kind = CONFIG_TEXT, .offset = offsetof(struct_type, member.source)},               \
    {.flag = "stream-replicas", .environment = "TIDINGS_STREAM_REPLICAS",                \
     .fallback = "1",                                                                    \
     .help = "Servers that keep a copy of each stream: 1, 3 or 5",                       \
     .min = 1, .max = 5,                                                                 \
     .kind = CONFIG_COUNT, .offset = offsetof(struct_type, member.stream_replicas)},     \
    {.flag = "events-max-bytes", .environment = "TIDINGS_EVENTS_MAX_BYTES",              \
     .fallback = "unlimited",                                                            \
     .help = "Size at which the event log is full and events are refused",               \
     .max = INT64_MAX,                                                                   \
     .kind = CONFIG_BYTES, .offset = offsetof(struct_type, member.events_max_bytes)},    \
    {.flag = "events-max-age", .environment = "TIDINGS_EVENTS_MAX_AGE",                  \
     .fallback = "0",                                                                    \
     .help = "Age at which events leave the event log, open ones as dead letters; 0: never",\
     .max = 36500 * SETTINGS_DAY_MS,                                                     \
     .kind = CONFIG_DURATION, .offset = offsetof(struct_type, member.events_max_age_ms)}, \
    {.flag = "duplicate-window", .environment = "TIDINGS_DUPLICATE_WINDOW",              \
     .fallback = "2m",                                                                   \
     .help = "How long the bus itself knows an event that is sent again",                \
     .min = 100, .max = 7 * SETTINGS_DAY_MS,                                             \
     .kind = CONFIG_DURATION, .offset = offsetof(struct_type, member.duplicate_window_ms)}, \
    {.section = "Logging",                                                               \
     .flag = "log-level", .environment = "TIDINGS_LOG_LEVEL",                            \
     .fallback = "info",                                                                 \
     .help = "Least important entries that are logged",                                  \
     .words = settings_log_levels,                                                       \
     .kind = CONFIG_WORD, .offset = offsetof(struct_type, member.log_level)},            \
    {.flag = "log-format", .environment = "TIDINGS_LOG_FORMAT",                          \
     .fallback = "auto",                                                                 \
     .help = "Form of an entry; auto: text on a terminal, else JSON lines",              \
     .words = settings_log_formats,                                                      \
     .kind = CONFIG_WORD, .offset = offsetof(struct_type, member.log_format)}
/* clang-format on */

/* Whether the settings go together and with the bus; for config_program.check. ERR_INVALID names
 * the flags. */
must_check enum err settings_check(const struct settings *s, struct err_detail *detail);

/* Room for the names in a bus_log_spec; must live as long as the spec. */
struct log_names {
    char stream[80];
    char subject[80];
    char about[80];
};
/* The event log: TIDINGS_EVENTS, tidings.events.> */
void settings_event_log(const struct settings *s, struct log_names *names,
                        struct bus_log_spec *ret);
/* A group's status log: TIDINGS_STATUS_default, tidings.status.default. Of unlimited size, so
 * that a full event log keeps no outcome from being written; a change is younger than its event,
 * so the same age outlives it. */
void settings_status_log(const struct settings *s, const char *group, struct log_names *names,
                         struct bus_log_spec *ret);

/* A group's attempts to come: TIDINGS_RETRY_default, tidings.retry.default. A work queue of
 * unlimited size and age. */
void settings_retry_log(const struct settings *s, const char *group, struct log_names *names,
                        struct bus_log_spec *ret);

/* The dead letters of all groups: TIDINGS_DEAD, tidings.dead.>. Of unlimited size and age. */
void settings_dead_log(const struct settings *s, struct log_names *names, struct bus_log_spec *ret);

#endif
