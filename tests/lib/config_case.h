/* A program with a setting of each kind, and what config_load makes of arguments, variables and a
 * file.
 */
#ifndef TESTS_CONFIG_CASE_H
#define TESTS_CONFIG_CASE_H

#include "common/config.h"

struct config_values {
    char *text;     /* --text, T_TEXT: 2 to 10 bytes, "hello" */
    char *any;      /* --any: no bounds, "x" */
    char *name;     /* --name, "tidings" */
    char *listen;   /* --listen, "0.0.0.0:80" */
    uint64_t count; /* --count: 1 to 5, 3 */
    uint64_t room;  /* --room: 0 to 1TiB, unlimited */
    uint64_t piece; /* --piece: 1KiB to 1MiB, 4KiB */
    int64_t age;    /* --age: 0 to 7d, 0 */
    int64_t wait;   /* --wait: 100ms to 1h, 1s */
    int level;      /* --log-level: debug, info, warn */
};

struct config_case {
    struct config_values values;
    struct config_handlers handlers;
    enum config_verdict verdict;
    char out[8192]; /* what it said on standard output and on standard error */
    char err[8192];
};

extern struct config_program config_case_program;

/* Both lists end with NULL; args without the program's name. */
void config_case_load(struct config_case *c, const char *const *args,
                      const char *const *environment);
#define CONFIG_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define CONFIG_NONE ((const char *const[]){NULL})
/* With a file of this text, named c.yaml in the messages. */
void config_case_load_file(struct config_case *c, struct view text);
void config_case_free(struct config_case *c);

#endif
