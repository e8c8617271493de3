#include "common/config_parts.h"

#include "common/mem.h"
#include "common/text.h"

#include <arpa/inet.h>

enum { SHARE_DECIMALS_MAX = 9 };

/* ---- text -> value ---- */

static bool parse_quantity(struct view text, const struct config_unit *units, uint64_t *ret)
{
    size_t digits = 0;
    uint64_t number;

    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    if (!view_parse_u64((struct view){text.data, digits}, &number))
        return false;
    for (; units->word; units++) {
        if (view_equal((struct view){text.data + digits, text.len - digits},
                       view_of(units->word))) {
            if (number > UINT64_MAX / units->size)
                return false;
            *ret = number * units->size;
            return true;
        }
    }
    return false;
}

static bool parse_number(const struct config_setting *setting, struct view text, uint64_t *ret)
{
    uint64_t value;
    bool good;

    if (setting->kind == CONFIG_COUNT)
        good = view_parse_u64(text, &value);
    else if (setting->kind == CONFIG_BYTES)
        good = parse_quantity(text, config_byte_units, &value);
    else
        good = parse_quantity(text, config_duration_units, &value);
    if (setting->min == 0 && setting->kind != CONFIG_COUNT &&
        (view_equal(text, VIEW("0")) ||
         (setting->kind == CONFIG_BYTES && view_equal(text, VIEW("unlimited"))))) {
        value = 0;
        good = true;
    }
    if (!good || value < setting->min || value > setting->max)
        return false;
    *ret = value;
    return true;
}

bool config_duration_parse(struct view text, int64_t max_ms, int64_t *ret_ms)
{
    const struct config_setting duration = {.kind = CONFIG_DURATION, .max = (uint64_t)max_ms};
    uint64_t ms;

    if (!parse_number(&duration, text, &ms))
        return false;
    *ret_ms = (int64_t)ms;
    return true;
}

/* 0, 1, or with decimals: 0.25. */
static bool parse_share(struct view text, double *ret)
{
    struct view decimals = {text.data + 2, text.len > 2 ? text.len - 2 : 0};
    double whole, unit = 1;
    uint64_t part = 0;

    if (text.len == 0 || (text.data[0] != '0' && text.data[0] != '1'))
        return false;
    if (text.len > 1 && (text.data[1] != '.' || decimals.len > SHARE_DECIMALS_MAX ||
                         !view_parse_u64(decimals, &part)))
        return false;
    for (size_t i = 0; i < decimals.len; i++)
        unit *= 10;
    whole = text.data[0] - '0' + (double)part / unit;
    if (whole > 1)
        return false;
    *ret = whole;
    return true;
}

static bool is_name(struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return text.len >= 1 && text.len <= CONFIG_NAME_MAX;
}

static bool is_printable(struct view text)
{
    size_t i = 0;

    while (i < text.len) {
        size_t length = text_utf8_length(text.data + i, text.len - i);
        if (length == 0 || text_is_control(text.data + i, length))
            return false;
        i += length;
    }
    return true;
}

/* A name as in DNS, or an IPv4 address: what has only digits and dots must be one. */
static bool is_host(struct view host)
{
    char text[254];
    struct in_addr address;
    bool number = true;

    if (host.len == 0 || host.len >= sizeof text)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];
        bool digit = (c >= '0' && c <= '9') || c == '.';
        if (!digit && !((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_'))
            return false;
        number = number && digit;
    }
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return !number || inet_pton(AF_INET, text, &address) == 1;
}

static bool is_ipv6(struct view host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_address(struct view text)
{
    const char *colon = text.len ? memrchr(text.data, ':', text.len) : NULL;
    struct view host, port;
    uint64_t number;

    if (!colon)
        return false;
    host = (struct view){text.data, (size_t)(colon - text.data)};
    port = (struct view){colon + 1, text.len - host.len - 1};
    if (port.len > 5 || !view_parse_u64(port, &number) || number > 65535)
        return false;
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        return is_ipv6((struct view){host.data + 1, host.len - 2});
    return is_host(host);
}

static bool is_text(const struct config_setting *setting, struct view text)
{
    uint64_t min = setting->max ? setting->min : 1;
    uint64_t max = setting->max ? setting->max : CONFIG_TEXT_MAX;

    switch (setting->kind) {
    case CONFIG_NAME:
        return is_name(text);
    case CONFIG_ADDRESS:
        return is_address(text);
    default:
        return text.len >= min && text.len <= max && is_printable(text);
    }
}

static bool parse_word(const struct config_setting *setting, struct view text, int *ret)
{
    for (int i = 0; setting->words[i]; i++) {
        if (view_equal(text, view_of(setting->words[i]))) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* ---- value -> member ---- */

static enum err refuse(const struct config_setting *setting, struct view text,
                       struct err_detail *detail)
{
    char allowed[CONFIG_ALLOWED_SIZE];
    int shown = text.len > 60 ? 60 : (int)text.len;

    config_value_allowed(setting, allowed);
    return err_set(detail, ERR_INVALID, "\"%.*s%s\" is not allowed; allowed is %s", shown,
                   text.data, text.len > 60 ? "…" : "", allowed);
}

static enum err set_text(char **member, struct view text, struct err_detail *detail)
{
    char *copy = mem_copy_text(text.data, text.len);

    if (!copy)
        return err_set(detail, ERR_MEMORY, "out of memory");
    mem_free(*member);
    *member = copy;
    return ERR_NONE;
}

enum err config_value_set(const struct config_setting *setting, struct view text, void *values,
                          struct err_detail *detail)
{
    char *member = (char *)values + setting->offset;
    uint64_t number;
    double share;
    int word;

    switch (setting->kind) {
    case CONFIG_TEXT:
    case CONFIG_NAME:
    case CONFIG_ADDRESS:
        if (!is_text(setting, text))
            break;
        return set_text((char **)(void *)member, text, detail);
    case CONFIG_COUNT:
    case CONFIG_BYTES:
    case CONFIG_DURATION: /* an int64_t: of the same size and representation below 2^63 */
        if (!parse_number(setting, text, &number))
            break;
        memcpy(member, &number, sizeof number);
        return ERR_NONE;
    case CONFIG_WORD:
        if (!parse_word(setting, text, &word))
            break;
        memcpy(member, &word, sizeof word);
        return ERR_NONE;
    case CONFIG_SHARE:
        if (setting->words && parse_word(setting, text, &word))
            share = word - 1;
        else if (!parse_share(text, &share))
            break;
        memcpy(member, &share, sizeof share);
        return ERR_NONE;
    }
    return refuse(setting, text, detail);
}
