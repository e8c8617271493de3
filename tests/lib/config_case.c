#include "tests/lib/config_case.h"

#include "tests/lib/capture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const levels[] = {"debug", "info", "warn", NULL};

#define AT(member) .offset = offsetof(struct config_values, member)
/* clang-format off */
static const struct config_setting table[] = {
    {.flag = "text", .environment = "TIDINGS_TEXT", .fallback = "hello", .help = "Some text",
     .kind = CONFIG_TEXT, AT(text), .min = 2, .max = 10},
    {.flag = "any", .environment = "TIDINGS_ANY", .fallback = "x", .help = "Any text",
     .kind = CONFIG_TEXT, AT(any)},
    {.flag = "name", .environment = "TIDINGS_NAME", .fallback = "tidings", .help = "A name",
     .kind = CONFIG_NAME, AT(name)},
    {.flag = "listen", .environment = "TIDINGS_LISTEN", .fallback = "0.0.0.0:80",
     .help = "Where to listen", .kind = CONFIG_ADDRESS, AT(listen)},
    {.section = "Sizes",
     .flag = "count", .environment = "TIDINGS_COUNT", .fallback = "3", .help = "How many",
     .kind = CONFIG_COUNT, AT(count), .min = 1, .max = 5},
    {.flag = "room", .environment = "TIDINGS_ROOM", .fallback = "unlimited", .help = "How much",
     .kind = CONFIG_BYTES, AT(room), .max = 1ULL << 40},
    {.flag = "piece", .environment = "TIDINGS_PIECE", .fallback = "4KiB", .help = "How big",
     .kind = CONFIG_BYTES, AT(piece), .min = 1024, .max = 1 << 20},
    {.flag = "age", .environment = "TIDINGS_AGE", .fallback = "0", .help = "How old",
     .kind = CONFIG_DURATION, AT(age), .max = 7 * 86400 * 1000},
    {.flag = "wait", .environment = "TIDINGS_WAIT", .fallback = "1s", .help = "How long",
     .kind = CONFIG_DURATION, AT(wait), .min = 100, .max = 3600 * 1000},
    {.flag = "log-level", .environment = "TIDINGS_LOG_LEVEL", .fallback = "info",
     .help = "How loud", .kind = CONFIG_WORD, AT(level), .words = levels},
    {.flag = NULL},
};
/* clang-format on */

static enum err check(const void *values, struct err_detail *detail)
{
    const struct config_values *v = values;

    if (v->age > 0 && v->wait > v->age)
        return err_set(detail, ERR_INVALID, "--wait must not be longer than --age");
    return ERR_NONE;
}

struct config_program config_case_program = {
    .name = "program",
    .purpose = "does something",
    .settings = table,
    .has_handlers = true,
    .check = check,
};

static size_t count_of(const char *const *list)
{
    size_t n = 0;

    while (list[n])
        n++;
    return n;
}

void config_case_load(struct config_case *c, const char *const *args,
                      const char *const *environment)
{
    struct capture out, err;
    char *argv[32] = {(char[]){"program"}}, *variables[32] = {NULL};
    size_t n = count_of(args);

    assert(n < 31 && count_of(environment) < 32);
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = strdup(args[i]);
    for (size_t i = 0; environment[i]; i++)
        variables[i] = strdup(environment[i]);
    memset(c, 0x55, sizeof *c); /* nothing may be left as it was */
    c->handlers = (struct config_handlers){0};
    capture_begin(&out, STDOUT_FILENO);
    capture_begin(&err, STDERR_FILENO);
    c->verdict =
        config_load(&config_case_program, (int)n + 1, argv, variables, &c->values, &c->handlers);
    capture_end(&err, c->err, sizeof c->err);
    capture_end(&out, c->out, sizeof c->out);
    for (size_t i = 1; i <= n; i++)
        free(argv[i]);
    for (size_t i = 0; variables[i]; i++)
        free(variables[i]);
}

void config_case_load_file(struct config_case *c, struct view text)
{
    char folder[] = "/tmp/tidings-XXXXXX", before[4096];
    FILE *file;

    assert(getcwd(before, sizeof before) && mkdtemp(folder) && chdir(folder) == 0);
    file = fopen("c.yaml", "w");
    assert(file && fwrite(text.data, 1, text.len, file) == text.len && fclose(file) == 0);
    config_case_load(c, CONFIG_ARGS("--config", "c.yaml"), CONFIG_NONE);
    assert(unlink("c.yaml") == 0 && chdir(before) == 0 && rmdir(folder) == 0);
}

void config_case_free(struct config_case *c)
{
    if (c->verdict == CONFIG_RUN)
        config_free(&config_case_program, &c->values, &c->handlers);
}
