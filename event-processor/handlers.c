#include "event-processor/handlers.h"

#include "common/mem.h"

static const struct handler_kind *const kinds[] = {&handler_log, &handler_simulate};
enum { KINDS = sizeof kinds / sizeof *kinds };

enum {
    /* With a backoff of 1 s these take a minute on average, 127 s at most: longer than a restart of
     * what a handler needs, and not so long that an event that will never do goes unnoticed. */
    MAX_ATTEMPTS = 8,
    BACKOFF_MS = 1000,
    BACKOFF_MAX_MS = 5 * 60 * 1000,
    TIMEOUT_MS = 30 * 1000,
};

struct choice {
    char *match;
    struct handler *handler;
    struct retry_policy retry;
};

/* Invariant: the last choice matches everything. */
struct handlers {
    size_t count;
    struct choice choices[];
};

/* ---- patterns ---- */

bool handlers_match(const char *pattern, struct view name)
{
    size_t at = 0;
    for (;;) {
        size_t token = strcspn(pattern, ".");
        size_t part = at;
        while (part < name.len && name.data[part] != '.')
            part++;
        if (part == at)
            return false;
        if (token == 1 && *pattern == '>')
            return true;
        bool any = token == 1 && *pattern == '*';
        if (!any && (token != part - at || memcmp(pattern, name.data + at, token) != 0))
            return false;
        if (pattern[token] == '\0' || part == name.len)
            return pattern[token] == '\0' && part == name.len;
        pattern += token + 1;
        at = part + 1;
    }
}

/* ---- life ---- */

static const struct handler_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

static enum err check(const struct config_handlers *config, struct err_detail *detail)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct config_handler *one = &config->list[i];
        bool last = i + 1 == config->count;
        if (!config_is_pattern(view_of(one->match)))
            return err_set(detail, ERR_INVALID,
                           "handlers: match \"%s\" is no pattern of names; examples are "
                           "\"order.created\", \"order.*\", \"order.>\" and \">\"",
                           one->match);
        if (!find_kind(one->kind))
            return err_set(detail, ERR_INVALID,
                           "handlers: \"%s\" for \"%s\" is unknown; allowed are log and simulate",
                           one->kind, one->match);
        bool all = strcmp(one->match, ">") == 0;
        if (last && !all)
            return err_set(detail, ERR_INVALID,
                           "handlers: the last one must match everything that is left (match: "
                           "\">\"), but it is \"%s\"",
                           one->match);
        if (all && !last)
            return err_set(detail, ERR_INVALID,
                           "handlers: what follows match \">\" would never be reached; put it "
                           "last");
    }
    return ERR_NONE;
}

/* What isn't given is the default; the longest backoff is never shorter than the first. */
static struct retry_policy policy_of(const struct config_handler *config, uint32_t concurrency)
{
    struct retry_policy policy = {
        .max_attempts = config->max_attempts ? (uint32_t)config->max_attempts : MAX_ATTEMPTS,
        .backoff_ms = config->backoff_ms,
        .backoff_max_ms = config->backoff_max_ms ? config->backoff_max_ms : BACKOFF_MAX_MS,
        .timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_MS,
        .concurrency = config->concurrency ? (uint32_t)config->concurrency : concurrency,
    };
    if (policy.backoff_ms == 0)
        policy.backoff_ms = policy.backoff_max_ms < BACKOFF_MS ? policy.backoff_max_ms : BACKOFF_MS;
    if (policy.backoff_max_ms < policy.backoff_ms)
        policy.backoff_max_ms = policy.backoff_ms;
    return policy;
}

static enum err open_one(struct handlers *handlers, const struct config_handler *config,
                         const struct handler_tools *tools)
{
    struct choice *choice = &handlers->choices[handlers->count];
    choice->match = mem_copy_text(config->match, strlen(config->match));
    if (!choice->match)
        return ERR_MEMORY;
    enum err e = find_kind(config->kind)->open(config, tools, &choice->handler);
    if (e) {
        mem_free(choice->match);
        return e;
    }
    choice->retry = policy_of(config, tools->concurrency);
    choice->handler->retry = &choice->retry;
    choice->handler->index = handlers->count++;
    return ERR_NONE;
}

enum err handlers_open(const struct config_handlers *config, const struct handler_tools *tools,
                       struct handlers **ret, struct err_detail *detail)
{
    static char everything[] = ">";
    static char kind[] = "log";
    struct config_handler fallback = {.match = everything, .kind = kind};
    struct config_handlers only_log = {.list = &fallback, .count = 1};
    if (config->count == 0)
        config = &only_log;
    enum err e = check(config, detail);
    if (e)
        return e;
    struct handlers *handlers =
        mem_zero(1, sizeof *handlers + config->count * sizeof *handlers->choices);
    if (!handlers)
        return err_set(detail, ERR_MEMORY, "no memory for the handlers");
    for (size_t i = 0; i < config->count; i++) {
        e = open_one(handlers, &config->list[i], tools);
        if (e) {
            handlers_close(handlers);
            return err_set(detail, e, "cannot open the handler \"%s\" for \"%s\"",
                           config->list[i].kind, config->list[i].match);
        }
    }
    *ret = handlers;
    return ERR_NONE;
}

void handlers_close(struct handlers *handlers)
{
    if (!handlers)
        return;
    for (size_t i = 0; i < handlers->count; i++) {
        handlers->choices[i].handler->kind->close(handlers->choices[i].handler);
        mem_free(handlers->choices[i].match);
    }
    mem_free(handlers);
}

struct handler *handlers_find(const struct handlers *handlers, struct view name)
{
    size_t last = handlers->count - 1;
    for (size_t i = 0; i < last; i++)
        if (handlers_match(handlers->choices[i].match, name))
            return handlers->choices[i].handler;
    return handlers->choices[last].handler;
}

size_t handlers_count(const struct handlers *handlers)
{
    return handlers->count;
}

struct handler *handlers_at(const struct handlers *handlers, size_t index)
{
    return handlers->choices[index].handler;
}
