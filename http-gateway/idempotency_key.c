#include "http-gateway/idempotency_key.h"

#define HEADER "Idempotency-Key"

static enum err check_length(size_t length, struct err_detail *detail)
{
    if (length == 0)
        return err_set(detail, ERR_MALFORMED, HEADER " is empty; 1 to %d bytes are allowed",
                       EVENT_PRODUCER_ID_MAX);
    if (length > EVENT_PRODUCER_ID_MAX)
        return err_set(detail, ERR_MALFORMED, HEADER " is too long; 1 to %d bytes are allowed",
                       EVENT_PRODUCER_ID_MAX);
    return ERR_NONE;
}

static enum err parse_bare(struct view value, struct view *ret, struct err_detail *detail)
{
    enum err e = check_length(value.len, detail);

    for (size_t i = 0; !e && i < value.len; i++) {
        char c = value.data[i];

        if (c <= ' ' || c > '~' || c == '"' || c == ',' || c == '\\')
            e = err_set(detail, ERR_MALFORMED,
                        HEADER " has a character at byte %zu that is only allowed, if at all, "
                               "in double quotes",
                        i);
    }
    if (!e)
        *ret = value;
    return e;
}

static enum err parse_quoted(struct view value, char *text, struct view *ret,
                             struct err_detail *detail)
{
    size_t used = 0, at = 1;

    for (; at < value.len && value.data[at] != '"'; at++) {
        if (value.data[at] == '\\') {
            at++;
            if (at == value.len || (value.data[at] != '"' && value.data[at] != '\\'))
                return err_set(detail, ERR_MALFORMED,
                               HEADER " has a backslash that is not followed by a double quote or "
                                      "a backslash");
        } else if (value.data[at] < ' ' || value.data[at] > '~') {
            return err_set(detail, ERR_MALFORMED,
                           HEADER " has a character at byte %zu that is not printable ASCII", at);
        }
        if (used < EVENT_PRODUCER_ID_MAX)
            text[used] = value.data[at];
        used++;
    }
    if (at + 1 != value.len)
        return err_set(detail, ERR_MALFORMED,
                       HEADER " begins with a double quote; another one must end it, and nothing "
                              "follow");
    if (check_length(used, detail))
        return ERR_MALFORMED;
    *ret = (struct view){text, used};
    return ERR_NONE;
}

enum err idempotency_key_parse(struct view value, char text[EVENT_PRODUCER_ID_MAX],
                               struct view *ret, struct err_detail *detail)
{
    if (value.len > 0 && value.data[0] == '"')
        return parse_quoted(value, text, ret, detail);
    return parse_bare(value, ret, detail);
}

bool idempotency_key_given(const struct http_request *request)
{
    struct view value;
    int at = 0;

    return http_header_next(request, HEADER, &at, &value);
}

enum err idempotency_key_read(const struct http_request *request, char text[EVENT_PRODUCER_ID_MAX],
                              struct view *ret, struct err_detail *detail)
{
    struct view value, second;
    int at = 0;

    if (!http_header_next(request, HEADER, &at, &value)) {
        *ret = (struct view){0};
        return ERR_NONE;
    }
    if (http_header_next(request, HEADER, &at, &second))
        return err_set(detail, ERR_MALFORMED, "there are two " HEADER "; one is allowed");
    return idempotency_key_parse(value, text, ret, detail);
}
