/* Configuration: flags, then environment (TIDINGS_…), then a YAML file (--config), then defaults.
 *
 * Each service has one table of settings; from it come --help, --check-config, the check of every
 * value and docs/config.md (a test holds the document to the table). A bad value is refused with
 * its name, the value and what is allowed; all bad ones are named at once. Keys of the file are the
 * flags without dashes in front: `log-level: debug`.
 */
#ifndef TIDINGS_CONFIG_H
#define TIDINGS_CONFIG_H

#include "common/buf.h"

/* How a value is written and what it becomes. min and max are the setting's. */
enum config_kind {
    /* char *: min..max bytes (max 0: 1 to 4096) of UTF-8 without control characters */
    CONFIG_TEXT,
    /* char *: 1 to 32 of [A-Za-z0-9_-] */
    CONFIG_NAME,
    /* char *: host:port, [v6]:port; port 0 takes a free one */
    CONFIG_ADDRESS,
    /* uint64_t within min..max */
    CONFIG_COUNT,
    /* uint64_t within min..max: 1048576, 64KiB, 1MiB, 10GiB, 1TiB, or unlimited (0) where min is
     * 0 */
    CONFIG_BYTES,
    /* int64_t in ms within min..max: 250ms, 30s, 5m, 2h, 7d, or 0 where min is 0 */
    CONFIG_DURATION,
    /* int: index into words */
    CONFIG_WORD,
    /* double from 0 to 1: 0, 0.25, 1; at most 9 decimals. With words: the first of them stands for
     * -1, the second for 0, the third for 1 */
    CONFIG_SHARE,
};

struct config_setting {
    const char *flag;        /* without the dashes: "log-level" */
    const char *environment; /* "TIDINGS_LOG_LEVEL" */
    const char *fallback;    /* the default, as a user would write it */
    const char *help;        /* one line, starts with a capital letter, no full stop */
    enum config_kind kind;
    size_t offset; /* of the member in the service's struct */
    uint64_t min, max;
    const char *const *words; /* CONFIG_WORD, CONFIG_SHARE: NULL-terminated */
    const char *section; /* heading in --help and docs; NULL: the one before's, or "Settings" */
};

/* One entry of `handlers:` in the file; in order. The last one's match is ">". */
struct config_handler {
    char *match; /* ">", "order.>", "order.created": a NATS subject pattern over names */
    char *kind;  /* "log", "simulate" */
    /* simulate: */
    int64_t delay_ms;    /* 0 to 1h */
    double failure_rate; /* 0 to 1 */
    int allow_crash;     /* 0 or 1 */
    /* 0: not given, see handlers.h */
    uint64_t max_attempts;  /* 1 to 100 */
    int64_t backoff_ms;     /* 1ms to 1h, not longer than: */
    int64_t backoff_max_ms; /* 1ms to 1d */
    int64_t timeout_ms;     /* 10ms to 1h */
    uint64_t concurrency;   /* 1 to 4096 */
};
/* Whether `match` may be this text: tokens of names between dots, `*` for any one, `>` at the end
 * for one or more; at most as long as a name. */
bool config_is_pattern(struct view text);

struct config_program {
    const char *name;                      /* "http-gateway" */
    const char *purpose;                   /* one line for --help */
    const struct config_setting *settings; /* ends with flag NULL */
    bool has_handlers;                     /* whether `handlers:` is allowed in the file */
    /* Whether the values, each good by itself, go together; the detail names the flags, as in
     * "--a: ..., must be less than --b". NULL: they always do. */
    enum err (*check)(const void *values, struct err_detail *detail);
};

enum config_verdict {
    CONFIG_RUN,
    CONFIG_EXIT_OK,    /* --help, --version or --check-config did its work on standard output */
    CONFIG_EXIT_USAGE, /* a bad value: said on standard error; exit status 2 */
};

struct config_handlers {
    struct config_handler *list; /* NULL if the file has none */
    size_t count;
};

/* Fills `values` (the service's struct; text members are allocated, never NULL) and
 * `ret_handlers` (may be NULL where has_handlers is false). `environment` is like environ. A
 * variable that is empty counts as not set. Unknown variables that begin with TIDINGS_ get a
 * warning on standard error. Unless the verdict is CONFIG_RUN, nothing is left to free. */
enum config_verdict config_load(const struct config_program *program, int argc, char **argv,
                                char **environment, void *values,
                                struct config_handlers *ret_handlers);
/* Frees what `values` and `handlers` (may be NULL) hold, not themselves. */
void config_free(const struct config_program *program, void *values,
                 struct config_handlers *handlers);
/* A duration as a user would write it: 250ms, 90s, 2m. */
#define CONFIG_DURATION_SIZE 32
void config_duration_text(int64_t ms, char text[CONFIG_DURATION_SIZE]);
/* The other way: "0", or a whole number and a unit. False: it is none, or longer than that. */
bool config_duration_parse(struct view text, int64_t max_ms, int64_t *ret_ms);
/* The settings as Markdown tables, for docs/config.md (`--help-markdown`, not in --help). */
void config_write_markdown(const struct config_program *program, struct buf *out);

#endif
