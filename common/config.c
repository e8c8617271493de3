#include "common/config_parts.h"

#include "common/mem.h"
#include "common/version.h"

#include <stdarg.h>
#include <stdio.h>

#define FILE_VARIABLE "TIDINGS_CONFIG"
#define PREFIX "TIDINGS_"

void config_problem(struct config_loader *loader, const char *where, const char *format, ...)
{
    struct err_detail safe_where, safe_text;
    char text[sizeof safe_text.text];
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    err_set(&safe_where, ERR_INVALID, "%s", where);
    err_set(&safe_text, ERR_INVALID, "%s", text);
    fprintf(stderr, "%s: %s: %s\n", loader->program->name, safe_where.text, safe_text.text);
    loader->problems++;
}

const struct config_setting *config_find(const struct config_program *program, struct view flag)
{
    for (const struct config_setting *s = program->settings; s->flag; s++)
        if (view_equal(view_of(s->flag), flag))
            return s;
    return NULL;
}

void config_apply(struct config_loader *loader, const struct config_setting *setting,
                  struct view text, const char *where)
{
    struct err_detail detail;

    if (config_value_set(setting, text, loader->values, &detail) != ERR_NONE)
        config_problem(loader, where, "%s", detail.text);
}

/* ---- the sources, the weakest first ---- */

static void apply_defaults(struct config_loader *loader)
{
    for (const struct config_setting *s = loader->program->settings; s->flag; s++)
        config_apply(loader, s, view_of(s->fallback), s->flag);
}

/* The variable's value; NULL: not there, or empty. */
static const char *variable(char **environment, const char *name)
{
    size_t len = strlen(name);

    for (char **entry = environment; *entry; entry++)
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
            return (*entry)[len + 1] ? *entry + len + 1 : NULL;
    return NULL;
}

static void apply_environment(struct config_loader *loader, char **environment)
{
    for (const struct config_setting *s = loader->program->settings; s->flag; s++) {
        const char *value = variable(environment, s->environment);
        if (value)
            config_apply(loader, s, view_of(value), s->environment);
    }
}

static const char *candidate_variable(const void *ctx, size_t index)
{
    const struct config_program *program = ctx;

    return index == 0 ? FILE_VARIABLE : program->settings[index - 1].environment;
}

/* No more than a warning: orchestrators set variables of their own (Kubernetes: <SERVICE>_PORT). */
static void warn_unknown(const struct config_program *program, char **environment)
{
    for (char **entry = environment; *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        struct view name = {*entry, equals ? (size_t)(equals - *entry) : 0};
        struct err_detail safe;
        char hint[CONFIG_HINT_SIZE];
        bool known = false;

        if (name.len < sizeof PREFIX || strncmp(*entry, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        for (size_t i = 0; !known && candidate_variable(program, i); i++)
            known = view_equal(name, view_of(candidate_variable(program, i)));
        if (known)
            continue;
        config_hint(name, "", candidate_variable, program, hint);
        err_set(&safe, ERR_INVALID, "%.*s", (int)(name.len < 100 ? name.len : 100), name.data);
        fprintf(stderr, "%s: warning: %s: unknown environment variable, ignored%s\n", program->name,
                safe.text, hint);
    }
}

static void apply_file(struct config_loader *loader, const struct config_args *args,
                       char **environment)
{
    const char *path = args->file ? args->file : variable(environment, FILE_VARIABLE);

    if (path)
        config_file_load(loader, path, args->file ? "--config" : FILE_VARIABLE);
}

static void apply_args(struct config_loader *loader, const struct config_args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        char where[48];
        snprintf(where, sizeof where, "--%.40s", args->list[i].setting->flag);
        config_apply(loader, args->list[i].setting, view_of(args->list[i].value), where);
    }
}

static void check_together(struct config_loader *loader)
{
    struct err_detail detail = {""};

    if (loader->problems == 0 && loader->program->check &&
        loader->program->check(loader->values, &detail) != ERR_NONE)
        config_problem(loader, "configuration", "%s", detail.text);
}

/* ---- loading ---- */

/* What --help and the like print instead of running. */
static void write_answer(const struct config_program *program, const struct config_args *args,
                         struct buf *out)
{
    if (args->help)
        config_write_help(program, out);
    else if (args->version)
        buf_add_format(out, "%s %s\n", program->name, TIDINGS_VERSION);
    else
        config_write_markdown(program, out);
}

static enum config_verdict answer(struct config_loader *loader, const struct config_args *args)
{
    struct buf out;
    bool written;

    buf_init(&out, 1 << 20);
    write_answer(loader->program, args, &out);
    written =
        !buf_failed(&out) && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_free(&out);
    if (!written)
        config_problem(loader, "standard output", "cannot be written");
    return written ? CONFIG_EXIT_OK : CONFIG_EXIT_USAGE;
}

static enum config_verdict load(struct config_loader *loader, const struct config_args *args,
                                char **environment)
{
    if (args->help || args->version || args->markdown)
        return answer(loader, args);
    apply_defaults(loader);
    apply_file(loader, args, environment);
    apply_environment(loader, environment);
    apply_args(loader, args);
    check_together(loader);
    warn_unknown(loader->program, environment);
    if (loader->problems > 0) {
        fprintf(stderr, "%s: --help lists the settings\n", loader->program->name);
        return CONFIG_EXIT_USAGE;
    }
    if (!args->check)
        return CONFIG_RUN;
    printf("%s: the configuration is good\n", loader->program->name);
    return fflush(stdout) == 0 ? CONFIG_EXIT_OK : CONFIG_EXIT_USAGE;
}

static char **text_member(const struct config_setting *setting, void *values)
{
    bool is_text = setting->kind == CONFIG_TEXT || setting->kind == CONFIG_NAME ||
                   setting->kind == CONFIG_ADDRESS;

    return is_text ? (char **)(void *)((char *)values + setting->offset) : NULL;
}

enum config_verdict config_load(const struct config_program *program, int argc, char **argv,
                                char **environment, void *values,
                                struct config_handlers *ret_handlers)
{
    struct config_loader loader = {.program = program, .values = values};
    struct config_args args = {0};
    enum config_verdict verdict = CONFIG_EXIT_USAGE;

    for (const struct config_setting *s = program->settings; s->flag; s++)
        if (text_member(s, values))
            *text_member(s, values) = NULL;
    if (config_args_read(&loader, argc, argv, &args) != ERR_NONE)
        config_problem(&loader, "start", "out of memory");
    else
        verdict = load(&loader, &args, environment);
    mem_free(args.list);
    if (verdict == CONFIG_RUN && ret_handlers)
        *ret_handlers = loader.handlers;
    else if (verdict != CONFIG_RUN)
        config_free(program, values, &loader.handlers);
    return verdict;
}

void config_free(const struct config_program *program, void *values,
                 struct config_handlers *handlers)
{
    for (const struct config_setting *s = program->settings; s->flag; s++) {
        if (text_member(s, values)) {
            mem_free(*text_member(s, values));
            *text_member(s, values) = NULL;
        }
    }
    if (!handlers)
        return;
    for (size_t i = 0; i < handlers->count; i++) {
        mem_free(handlers->list[i].match);
        mem_free(handlers->list[i].kind);
    }
    mem_free(handlers->list);
    *handlers = (struct config_handlers){0};
}
