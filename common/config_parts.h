/* Between the files of the config module; nobody else includes it.
 *
 *     config.c           the order of things: defaults, file, environment, flags, the check
 *     config_args.c      what the flags say
 *     config_file.c      the YAML file; config_handlers.c: its list of handlers
 *     config_value.c     one value: text -> member; config_allowed.c: what is allowed
 *     config_help.c      --help and --help-markdown
 */
#ifndef TIDINGS_CONFIG_PARTS_H
#define TIDINGS_CONFIG_PARTS_H

#include "common/config.h"

struct config_loader {
    const struct config_program *program;
    void *values;
    struct config_handlers handlers;
    size_t problems; /* said so far */
};

/* Says on standard error what is wrong with what `where` names (a flag, a variable, file:line:
 * key). */
void config_problem(struct config_loader *loader, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* NULL: there is no such setting. */
const struct config_setting *config_find(const struct config_program *program, struct view flag);

/* Gives the setting this value, or says what is wrong with it. */
void config_apply(struct config_loader *loader, const struct config_setting *setting,
                  struct view text, const char *where);

/* ---- values ---- */

#define CONFIG_NAME_MAX 32
#define CONFIG_TEXT_MAX 4096 /* where the setting has no bound of its own */

struct config_unit {
    const char *word;
    uint64_t size;
};
/* Largest first; they end with word NULL. */
extern const struct config_unit config_byte_units[];
extern const struct config_unit config_duration_units[];

/* Sets the setting's member in `values`; a text that was there is freed. The detail says what is
 * allowed. */
must_check enum err config_value_set(const struct config_setting *setting, struct view text,
                                     void *values, struct err_detail *detail);
/* "one of debug, info, warn, error" */
#define CONFIG_ALLOWED_SIZE 160
void config_value_allowed(const struct config_setting *setting, char text[CONFIG_ALLOWED_SIZE]);
/* "WORD": what stands for the value in --help. */
const char *config_value_word(enum config_kind kind);

/* ---- flags ---- */

struct config_arg {
    const struct config_setting *setting;
    const char *value;
};
struct config_args {
    bool help, version, check, markdown;
    const char *file; /* --config; NULL: not given */
    struct config_arg *list;
    size_t count;
};
/* Bad flags are said and counted as problems. The list's members live as long as argv; free it
 * with mem_free. */
must_check enum err config_args_read(struct config_loader *loader, int argc, char **argv,
                                     struct config_args *ret);

/* " (did you mean --listen?)", or "" if no candidate is near. Candidates are asked for by index
 * until NULL. */
#define CONFIG_HINT_SIZE 80
void config_hint(struct view word, const char *prefix,
                 const char *(*candidate)(const void *ctx, size_t index), const void *ctx,
                 char hint[CONFIG_HINT_SIZE]);

/* ---- file, help ---- */

/* `where`: "--config" or "TIDINGS_CONFIG". */
void config_file_load(struct config_loader *loader, const char *path, const char *where);
void config_write_help(const struct config_program *program, struct buf *out);

#endif
