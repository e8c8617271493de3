#include "http-gateway/webhook_origins.h"

#define NAME_MAX_BYTES 253
#define LABEL_MAX_BYTES 63

static bool is_label_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool is_label(struct view label)
{
    if (label.len == 0 || label.len > LABEL_MAX_BYTES || label.data[0] == '-' ||
        label.data[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!is_label_character(label.data[i]))
            return false;
    return true;
}

/* Cuts off and returns what stands before the separator. False, once that was the last part: then
 * rest->data is NULL. */
static bool next_part(struct view *rest, char separator, struct view *ret)
{
    const char *at = rest->data, *found;

    if (!at)
        return false;
    found = memchr(at, separator, rest->len);
    *ret = (struct view){at, found ? (size_t)(found - at) : rest->len};
    *rest = found ? (struct view){found + 1, rest->len - ret->len - 1} : (struct view){0};
    return true;
}

bool webhook_origin_is_valid(struct view origin)
{
    struct view rest = origin, label;

    if (origin.len == 0 || origin.len > NAME_MAX_BYTES)
        return false;
    while (next_part(&rest, '.', &label))
        if (!is_label(label))
            return false;
    return true;
}

static struct view trim(struct view v)
{
    while (v.len > 0 && v.data[0] == ' ') {
        v.data++;
        v.len--;
    }
    while (v.len > 0 && v.data[v.len - 1] == ' ')
        v.len--;
    return v;
}

static bool is_word(const char *origins, const char *word)
{
    return strcmp(origins, word) == 0;
}

enum err webhook_origins_check(const char *origins, struct err_detail *detail)
{
    struct view rest = view_of(origins), part;

    if (is_word(origins, "*") || is_word(origins, "none"))
        return ERR_NONE;
    while (next_part(&rest, ',', &part)) {
        struct view name = trim(part);

        if (!webhook_origin_is_valid(name))
            return err_set(detail, ERR_INVALID,
                           "--webhook-origins: \"%.*s\" is not allowed: a DNS name is, or several "
                           "with commas between them, or * for any, or none",
                           (int)(name.len < 80 ? name.len : 80), name.data);
    }
    return ERR_NONE;
}

bool webhook_origins_allow(const char *origins, struct view origin)
{
    struct view rest = view_of(origins), part;

    if (is_word(origins, "*") || is_word(origins, "none"))
        return is_word(origins, "*");
    while (next_part(&rest, ',', &part))
        if (view_equal_nocase(trim(part), origin))
            return true;
    return false;
}
