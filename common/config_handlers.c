#include "common/config_file.h"

#include "common/mem.h"

#define PATTERN_MAX 128 /* as long as a name may be */
#define HOUR_MS (3600 * 1000)

/* ---- members of an entry that are one value ---- */

static const char *const false_true[] = {"false", "true", NULL};
#define MEMBER(key, kind_, member, min_, max_)                        \
    {                                                                 \
        .flag = (key), .kind = (kind_), .min = (min_), .max = (max_), \
        .offset = offsetof(struct config_handler, member)             \
    }

static const struct config_setting simulate_settings[] = {
    MEMBER("delay", CONFIG_DURATION, delay_ms, 0, HOUR_MS),
    MEMBER("failure_rate", CONFIG_SHARE, failure_rate, 0, 0),
    {.flag = "allow_crash",
     .kind = CONFIG_WORD,
     .words = false_true,
     .offset = offsetof(struct config_handler, allow_crash)},
    {.flag = NULL},
};
static const struct config_setting retry_settings[] = {
    MEMBER("max_attempts", CONFIG_COUNT, max_attempts, 1, 100),
    MEMBER("backoff", CONFIG_DURATION, backoff_ms, 1, HOUR_MS),
    MEMBER("backoff_max", CONFIG_DURATION, backoff_max_ms, 1, 24 * HOUR_MS),
    MEMBER("timeout", CONFIG_DURATION, timeout_ms, 10, HOUR_MS),
    {.flag = NULL},
};
static const struct config_setting concurrency =
    MEMBER("concurrency", CONFIG_COUNT, concurrency, 1, 4096);

/* ---- match ---- */

static bool is_token(struct view token)
{
    if (view_equal(token, VIEW("*")))
        return true;
    for (size_t i = 0; i < token.len; i++) {
        char c = token.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return token.len > 0;
}

bool config_is_pattern(struct view pattern)
{
    size_t start = 0;

    if (pattern.len > PATTERN_MAX)
        return false;
    for (size_t i = 0; i <= pattern.len; i++) {
        struct view token = {pattern.data + start, i - start};

        if (i < pattern.len && pattern.data[i] != '.')
            continue;
        if (i == pattern.len && view_equal(token, VIEW(">")))
            return true;
        if (!is_token(token))
            return false;
        start = i + 1;
    }
    return true;
}

/* ---- one entry ---- */

struct entry {
    struct config_handler handler;
    size_t matches, kinds; /* how often each was given; once is right */
    bool has_delay;
};

/* Replaces the text at *member. */
static void set_text(struct config_file *file, const yaml_node_t *node, struct view text,
                     char **member)
{
    char *copy = mem_copy_text(text.data, text.len);

    if (!copy) {
        config_file_problem(file, node, "handlers", "out of memory");
        return;
    }
    mem_free(*member);
    *member = copy;
}

static void read_match(struct config_file *file, const yaml_node_t *value, struct entry *entry)
{
    struct view text = config_file_text(value);

    entry->matches++;
    if (config_is_pattern(text))
        set_text(file, value, text, &entry->handler.match);
    else
        config_file_problem(
            file, value, "match",
            "\"%.60s\" is not a pattern; allowed are words of letters, digits, _ "
            "and - with dots between, * for any one word, > at the end for the rest",
            text.data);
}

static void read_log(struct config_file *file, const yaml_node_t *value)
{
    bool empty = value->type == YAML_MAPPING_NODE &&
                 value->data.mapping.pairs.start == value->data.mapping.pairs.top;

    if (!empty && !config_file_is_null(value))
        config_file_problem(file, value, "log", "takes no settings; write log: {}");
}

/* A mapping whose members are all of one table. */
struct part {
    const char *name;
    const struct config_setting *settings;
    const char *allowed; /* their keys */
    struct entry *entry;
};

static void read_part_member(struct config_file *file, const yaml_node_t *key, yaml_node_t *value,
                             void *ctx)
{
    const struct part *part = ctx;
    struct view name = config_file_text(key);
    const struct config_setting *setting = part->settings;

    while (setting->flag && !view_equal(name, view_of(setting->flag)))
        setting++;
    if (!setting->flag) {
        config_file_problem(file, key, name.data, "unknown key of %s; allowed are %s", part->name,
                            part->allowed);
        return;
    }
    if (setting == &simulate_settings[0])
        part->entry->has_delay = true;
    config_file_apply(file, value, setting, &part->entry->handler);
}

static void read_simulate(struct config_file *file, yaml_node_t *value, struct entry *entry)
{
    size_t before = file->loader->problems;
    struct part part = {"simulate", simulate_settings, "delay, failure_rate, allow_crash", entry};

    if (value->type == YAML_MAPPING_NODE)
        config_file_each(file, value, read_part_member, &part);
    if (!entry->has_delay && file->loader->problems == before)
        config_file_problem(file, value, "simulate",
                            "needs a delay; write simulate: {delay: 100ms}");
}

static void read_retry(struct config_file *file, yaml_node_t *value, struct entry *entry)
{
    const struct config_handler *handler = &entry->handler;
    struct part part = {"retry", retry_settings, "max_attempts, backoff, backoff_max, timeout",
                        entry};

    if (value->type != YAML_MAPPING_NODE ||
        value->data.mapping.pairs.start == value->data.mapping.pairs.top) {
        config_file_problem(file, value, "retry",
                            "must be a mapping of %s; leave it out for the defaults", part.allowed);
        return;
    }
    config_file_each(file, value, read_part_member, &part);
    if (handler->backoff_max_ms != 0 && handler->backoff_ms > handler->backoff_max_ms)
        config_file_problem(file, value, "retry", "backoff must not be longer than backoff_max");
}

static void read_member(struct config_file *file, const yaml_node_t *key, yaml_node_t *value,
                        void *ctx)
{
    struct view name = config_file_text(key);
    struct entry *entry = ctx;
    bool is_log = view_equal(name, VIEW("log"));

    if (view_equal(name, VIEW("match"))) {
        read_match(file, value, entry);
    } else if (is_log || view_equal(name, VIEW("simulate"))) {
        entry->kinds++;
        set_text(file, key, name, &entry->handler.kind);
        if (is_log)
            read_log(file, value);
        else
            read_simulate(file, value, entry);
    } else if (view_equal(name, VIEW("retry"))) {
        read_retry(file, value, entry);
    } else if (view_equal(name, VIEW("concurrency"))) {
        config_file_apply(file, value, &concurrency, &entry->handler);
    } else {
        config_file_problem(file, key, name.data,
                            "unknown key of a handler; allowed are match, log, simulate, retry, "
                            "concurrency");
    }
}

static void read_entry(struct config_file *file, yaml_node_t *node, struct config_handler *ret)
{
    struct entry entry = {0};

    if (node->type != YAML_MAPPING_NODE) {
        config_file_problem(file, node, "handlers",
                            "an entry is a mapping, like - {match: \">\", log: {}}");
        return;
    }
    config_file_each(file, node, read_member, &entry);
    if (entry.matches == 0)
        config_file_problem(file, node, "handlers",
                            "an entry needs a match, like match: \"order.>\"");
    if (entry.kinds != 1)
        config_file_problem(file, node, "handlers", "an entry needs exactly one of log, simulate");
    *ret = entry.handler;
}

void config_handlers_load(struct config_file *file, yaml_node_t *node)
{
    struct config_handlers *handlers = &file->loader->handlers;
    size_t count, before = file->loader->problems;

    if (node->type != YAML_SEQUENCE_NODE ||
        node->data.sequence.items.start == node->data.sequence.items.top) {
        config_file_problem(
            file, node, "handlers",
            "must be a list with an entry at least; leave it out to log all events");
        return;
    }
    count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    handlers->list = mem_zero(count, sizeof *handlers->list);
    if (!handlers->list) {
        config_file_problem(file, node, "handlers", "out of memory");
        return;
    }
    handlers->count = count;
    for (size_t i = 0; i < count; i++)
        read_entry(file, config_file_node(file, node->data.sequence.items.start[i]),
                   &handlers->list[i]);
    if (file->loader->problems == before && strcmp(handlers->list[count - 1].match, ">") != 0)
        config_file_problem(
            file, config_file_node(file, node->data.sequence.items.start[count - 1]), "handlers",
            "the last entry must have match: \">\", so that no event goes unhandled");
}
