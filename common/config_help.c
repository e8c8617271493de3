#include "common/config_parts.h"

#include "common/version.h"

#include <stdio.h>

/* The heading that starts at this setting; NULL: none does. */
static const char *heading(const struct config_program *program,
                           const struct config_setting *setting)
{
    if (setting->section)
        return setting->section;
    return setting == program->settings ? "Settings" : NULL;
}

/* ---- --help ---- */

struct widths {
    int flag;
    int environment;
};

static int wider(int width, size_t length)
{
    return (int)length > width ? (int)length : width;
}

static void flag_text(const struct config_setting *setting, char text[64])
{
    snprintf(text, 64, "--%.40s %s", setting->flag, config_value_word(setting->kind));
}

static struct widths measure(const struct config_program *program)
{
    struct widths w = {0, 0};
    char flag[64];

    for (const struct config_setting *s = program->settings; s->flag; s++) {
        flag_text(s, flag);
        w.flag = wider(w.flag, strlen(flag));
        w.environment = wider(w.environment, strlen(s->environment));
    }
    return w;
}

static void write_setting(const struct config_setting *setting, struct widths w, struct buf *out)
{
    char flag[64], allowed[CONFIG_ALLOWED_SIZE];

    flag_text(setting, flag);
    config_value_allowed(setting, allowed);
    buf_add_format(out, "  %-*s  %-*s  default: %s\n      %s\n", w.flag, flag, w.environment,
                   setting->environment, setting->fallback, setting->help);
    if (setting->kind != CONFIG_TEXT)
        buf_add_format(out, "      (%s)\n", allowed);
}

static const char others[] = "\nOther flags\n"
                             "  --config FILE   a YAML file of settings (also TIDINGS_CONFIG): "
                             "flags without dashes are keys\n"
                             "  --check-config  check all of the configuration, then exit\n"
                             "  --version       print the version, then exit\n"
                             "  --help          print this, then exit\n"
                             "\nA flag (--flag VALUE or --flag=VALUE) wins over its environment "
                             "variable, that over the file,\n"
                             "that over the default.";

void config_write_help(const struct config_program *program, struct buf *out)
{
    struct widths w = measure(program);

    buf_add_format(out, "%s %s: %s\n\nUsage: %s [--flag VALUE]...\n", program->name,
                   TIDINGS_VERSION, program->purpose, program->name);
    for (const struct config_setting *s = program->settings; s->flag; s++) {
        if (heading(program, s))
            buf_add_format(out, "\n%s\n", heading(program, s));
        write_setting(s, w, out);
    }
    buf_add_text(out, others);
    if (program->has_handlers)
        buf_add_text(out, " The list `handlers:` stands in the file only.");
    buf_add_text(out, "\n");
}

/* ---- docs/config.md ---- */

void config_write_markdown(const struct config_program *program, struct buf *out)
{
    for (const struct config_setting *s = program->settings; s->flag; s++) {
        char allowed[CONFIG_ALLOWED_SIZE];

        if (heading(program, s))
            buf_add_format(out,
                           "%s**%s**\n\n| flag | environment | default | what | allowed |\n"
                           "|---|---|---|---|---|\n",
                           s == program->settings ? "" : "\n", heading(program, s));
        config_value_allowed(s, allowed);
        buf_add_format(out, "| `--%s` | `%s` | `%s` | %s | %s |\n", s->flag, s->environment,
                       s->fallback, s->help, allowed);
    }
}
