/* Logging: one line an entry, text on a terminal, else JSON lines (--log-format).
 *
 *     log_info("listening", LOG_TEXT("address", addr), LOG_U64("port", port));
 *
 * text:  12:03:04.567 INFO  listening address=0.0.0.0 port=8080
 * JSON:  {"time":"2026-...Z","program":"http-gateway","level":"info","msg":"listening",
 *        "address":"0.0.0.0","port":8080}
 *
 * Times are UTC in both. Text values are quoted and escaped as in JSON where they hold a space, a
 * quote, an equals sign, or anything but printable ASCII; JSON values always are. Invalid UTF-8
 * becomes U+FFFD. A value longer than LOG_VALUE_MAX bytes ends in an ellipsis; fields that don't
 * fit the line (LOG_LINE_MAX) are left out, and `truncated` says so.
 *
 * Messages are constant, lower-case and short; what varies is a field. The calling thread's context
 * (request id, event id) is added to each of its entries while set. Thread-safe; nothing
 * is allocated; an entry is one write(2) to standard error and is never interleaved with another.
 * If standard error takes no more bytes without waiting (a full non-blocking pipe), the entry is
 * lost. Secrets are never passed to it.
 */
#ifndef TIDINGS_LOG_H
#define TIDINGS_LOG_H

#include "common/buf.h"

#define LOG_LINE_MAX 4096  /* PIPE_BUF: what a pipe takes in one piece */
#define LOG_VALUE_MAX 1024 /* bytes of a value, before escaping */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format {
    LOG_AUTO, /* text if standard error is a terminal, else JSON */
    LOG_TEXT_LINES,
    LOG_JSON_LINES
};

struct log_field {
    const char *key; /* snake_case; the last of a list has key NULL */
    enum { LOG_KIND_TEXT, LOG_KIND_U64, LOG_KIND_I64, LOG_KIND_MILLI } kind;
    struct view text;
    uint64_t number; /* an int64_t in two's complement for LOG_KIND_I64; thousandths for MILLI */
};
#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_TEXT, .text = view_of(v)})
#define LOG_VIEW(k, v) ((struct log_field){.key = (k), .kind = LOG_KIND_TEXT, .text = (v)})
#define LOG_U64(k, v) \
    ((struct log_field){.key = (k), .kind = LOG_KIND_U64, .number = (uint64_t)(v)})
#define LOG_I64(k, v) \
    ((struct log_field){.key = (k), .kind = LOG_KIND_I64, .number = (uint64_t)(int64_t)(v)})
/* A number of microseconds, written in milliseconds: 12.345 */
#define LOG_US_AS_MS(k, v) \
    ((struct log_field){.key = (k), .kind = LOG_KIND_MILLI, .number = (uint64_t)(v)})

/* Before other threads start. `program` must live on; NULL leaves it out. Until then: text, from
 * info on. */
void log_init(const char *program, enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *message, const struct log_field *fields);

/* The calling thread's context; the views must stay valid until it is cleared. An empty view is
 * left out. */
void log_context_set(struct view request_id, struct view event_id);
void log_context_clear(void);

#define LOG_LAST ((struct log_field){.key = NULL})
#define log_at(level, message, ...)                                             \
    do {                                                                        \
        if (log_enabled(level))                                                 \
            log_write(level, message, (const struct log_field[]){__VA_ARGS__}); \
    } while (0)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__, LOG_LAST)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__, LOG_LAST)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__, LOG_LAST)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__, LOG_LAST)

#endif
