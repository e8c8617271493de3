#include "common/config_parts.h"

#include "common/mem.h"

#include <stdio.h>

/* ---- flags that are no settings ---- */

enum special { HELP, VERSION, CHECK, MARKDOWN, FILE_PATH, SPECIALS };
static const char *const specials[SPECIALS] = {
    [HELP] = "help",          [VERSION] = "version",
    [CHECK] = "check-config", [MARKDOWN] = "help-markdown",
    [FILE_PATH] = "config",
};

static enum special special_of(struct view name)
{
    size_t i = 0;

    while (i < SPECIALS && !view_equal(name, view_of(specials[i])))
        i++;
    return (enum special)i;
}

static const char *candidate_flag(const void *ctx, size_t index)
{
    const struct config_program *program = ctx;
    static const char *const known[] = {"help", "version", "check-config", "config"};
    size_t count = sizeof known / sizeof known[0];

    return index < count ? known[index] : program->settings[index - count].flag;
}

/* ---- one argument ---- */

struct reader {
    struct config_loader *loader;
    struct config_args *args;
    char **next; /* NULL-terminated, as argv is */
};

/* "--name" or "--name=value" */
struct flag {
    struct view name;
    const char *value; /* NULL: none joined by '=' */
    char where[48];    /* "--name", for messages */
};

static struct flag split(const char *arg)
{
    const char *equals = strchr(arg, '=');
    struct flag flag = {.name = view_of(arg + 2)};

    if (equals) {
        flag.name.len = (size_t)(equals - arg - 2);
        flag.value = equals + 1;
    }
    snprintf(flag.where, sizeof flag.where, "--%.*s",
             (int)(flag.name.len < 40 ? flag.name.len : 40), flag.name.data);
    return flag;
}

/* The value, joined or the next argument; NULL: there is none, and that was said. */
static const char *value_of(struct reader *r, const struct flag *flag)
{
    if (flag->value)
        return flag->value;
    if (*r->next && strncmp(*r->next, "--", 2) != 0)
        return *r->next++;
    config_problem(r->loader, flag->where, "needs a value: %s VALUE or %s=VALUE", flag->where,
                   flag->where);
    return NULL;
}

static void read_switch(struct reader *r, const struct flag *flag, bool *ret)
{
    if (flag->value)
        config_problem(r->loader, flag->where, "takes no value");
    *ret = true;
}

static void read_file(struct reader *r, const struct flag *flag)
{
    const char *value = value_of(r, flag);

    if (value && r->args->file)
        config_problem(r->loader, flag->where, "is given twice");
    if (value)
        r->args->file = value;
}

static void read_setting(struct reader *r, const struct flag *flag,
                         const struct config_setting *setting)
{
    const char *value = value_of(r, flag);

    if (!value)
        return;
    for (size_t i = 0; i < r->args->count; i++) {
        if (r->args->list[i].setting == setting) {
            config_problem(r->loader, flag->where, "is given twice");
            return;
        }
    }
    r->args->list[r->args->count++] = (struct config_arg){setting, value};
}

static void read_unknown(struct reader *r, const struct flag *flag)
{
    char hint[CONFIG_HINT_SIZE];

    config_hint(flag->name, "--", candidate_flag, r->loader->program, hint);
    config_problem(r->loader, flag->where, "unknown flag%s", hint);
    /* what follows is most likely its value: no second complaint */
    if (!flag->value && *r->next && (*r->next)[0] != '-')
        r->next++;
}

static void read_flag(struct reader *r, const struct flag *flag)
{
    const struct config_setting *setting = config_find(r->loader->program, flag->name);

    if (setting) {
        read_setting(r, flag, setting);
        return;
    }
    switch (special_of(flag->name)) {
    case HELP:
        read_switch(r, flag, &r->args->help);
        break;
    case VERSION:
        read_switch(r, flag, &r->args->version);
        break;
    case CHECK:
        read_switch(r, flag, &r->args->check);
        break;
    case MARKDOWN:
        read_switch(r, flag, &r->args->markdown);
        break;
    case FILE_PATH:
        read_file(r, flag);
        break;
    case SPECIALS:
        read_unknown(r, flag);
        break;
    }
}

enum err config_args_read(struct config_loader *loader, int argc, char **argv,
                          struct config_args *ret)
{
    struct config_args args = {.list = mem_zero((size_t)argc + 1, sizeof *args.list)};
    struct reader r = {loader, &args, argc > 0 ? argv + 1 : argv};

    if (!args.list)
        return ERR_MEMORY;
    while (*r.next) {
        const char *arg = *r.next++;

        if (strcmp(arg, "-h") == 0) {
            args.help = true;
        } else if (strncmp(arg, "--", 2) == 0 && arg[2]) {
            struct flag flag = split(arg);
            read_flag(&r, &flag);
        } else {
            config_problem(loader, arg, "unexpected argument; settings are given as --flag VALUE");
        }
    }
    *ret = args;
    return ERR_NONE;
}
