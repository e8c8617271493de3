#include "http-gateway/read_filter.h"

#include "common/config.h"

#include <stdio.h>

static enum err fail_status(struct view word, unsigned allowed, struct err_detail *detail)
{
    char list[128] = "";
    size_t used = 0;

    for (unsigned s = STATUS_ACCEPTED; s < STATUS_COUNT; s++)
        if (allowed & 1u << s)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                     status_word((enum status)s));
    return err_set(detail, ERR_INVALID,
                   "status is \"%.*s\"; allowed: %s, or several with commas between them",
                   (int)(word.len < 50 ? word.len : 50), word.data, list);
}

static bool find_status(struct view word, unsigned allowed, unsigned *ret)
{
    for (unsigned s = STATUS_ACCEPTED; s < STATUS_COUNT; s++) {
        if (!(allowed & 1u << s) || !view_equal(word, view_of(status_word((enum status)s))))
            continue;
        *ret |= 1u << s;
        return true;
    }
    return false;
}

enum err read_filter_statuses(const struct http_request *request, unsigned allowed,
                              unsigned *ret_statuses, struct err_detail *detail)
{
    struct view text;
    unsigned statuses = 0;
    bool more = http_query(request, "status", &text);

    while (more) {
        const char *comma = memchr(text.data, ',', text.len);
        struct view word = {text.data, comma ? (size_t)(comma - text.data) : text.len};

        if (!find_status(word, allowed, &statuses))
            return fail_status(word, allowed, detail);
        more = comma != NULL;
        if (more)
            text = (struct view){comma + 1, text.len - word.len - 1};
    }
    *ret_statuses = statuses;
    return ERR_NONE;
}

enum err read_filter_name(const struct http_request *request, struct view *ret,
                          struct err_detail *detail)
{
    struct view name = {0};

    if (http_query(request, "name", &name) && !config_is_pattern(name))
        return err_set(detail, ERR_INVALID,
                       "name is \"%.*s\"; a name or a pattern is allowed, like order.created, "
                       "order.* or order.>",
                       (int)(name.len < 50 ? name.len : 50), name.data);
    *ret = name;
    return ERR_NONE;
}
