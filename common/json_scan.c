#include "common/json_scan.h"

#include "common/text.h"

/* The containers around the current value are a stack of bits: bit d is set if the one at depth
 * d + 1 is an object. */
struct scan {
    const char *start, *at, *end;
    uint64_t objects;
    unsigned depth;
    struct json_text *text;
    struct json_member member; /* the outermost object's, while it is being read */
    struct err_detail *detail;
};
_Static_assert(JSON_DEPTH_MAX <= 64, "the stack of containers is 64 bits");

/* What is due next. */
enum step {
    STEP_VALUE,
    STEP_FIRST_VALUE, /* or the array's end */
    STEP_NAME,
    STEP_FIRST_NAME, /* or the object's end */
    STEP_AFTER,      /* a value has ended: a comma, an end, or nothing more */
    STEP_DONE,
    STEP_FAILED
};

static enum step fail_at(struct scan *s, const char *at, const char *what)
{
    err_set(s->detail, ERR_MALFORMED, "not valid JSON at byte %zu: %s", (size_t)(at - s->start),
            what);
    return STEP_FAILED;
}

static enum step fail(struct scan *s, const char *what)
{
    return fail_at(s, s->at, s->at == s->end ? "it ends too early" : what);
}

static bool at_char(const struct scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static bool at_digit(const struct scan *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static void skip_space(struct scan *s)
{
    while (at_char(s, ' ') || at_char(s, '\t') || at_char(s, '\n') || at_char(s, '\r'))
        s->at++;
}

/* ---- strings ---- */

/* Four hexadecimal digits; negative: not there. */
static int hex4(struct scan *s)
{
    int value = 0;

    if (s->end - s->at < 4)
        return -1;
    for (int i = 0; i < 4; i++, s->at++) {
        char c = *s->at;

        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* After "\u". */
static bool scan_unicode(struct scan *s)
{
    const char *escape = s->at - 2;
    int unit = hex4(s), low;

    if (unit < 0)
        return fail_at(s, escape, "\\u needs four hexadecimal digits"), false;
    if (unit == 0)
        return fail_at(s, escape, "\\u0000 is not allowed"), false;
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    if (unit > 0xdbff || s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
        return fail_at(s, escape, "a surrogate without its other half"), false;
    s->at += 2;
    low = hex4(s);
    if (low < 0xdc00 || low > 0xdfff)
        return fail_at(s, escape, "a surrogate without its other half"), false;
    return true;
}

static bool scan_escape(struct scan *s)
{
    s->at++;
    if (s->at < s->end && strchr("\"\\/bfnrt", *s->at) && *s->at != '\0') {
        s->at++;
        return true;
    }
    if (!at_char(s, 'u'))
        return fail(s, "not an escape that JSON knows"), false;
    s->at++;
    return scan_unicode(s);
}

/* At the opening quote; ends behind the closing one. */
static bool scan_string(struct scan *s)
{
    s->at++;
    for (;;) {
        size_t length;

        s->at += text_json_plain(s->at, (size_t)(s->end - s->at));
        if (s->at == s->end)
            return fail(s, ""), false;
        if (*s->at == '"')
            break;
        if (*s->at == '\\') {
            if (!scan_escape(s))
                return false;
            continue;
        }
        if ((unsigned char)*s->at < 0x20)
            return fail(s, "a control character inside a string must be escaped"), false;
        length = text_utf8_length(s->at, (size_t)(s->end - s->at));
        if (length == 0)
            return fail_at(s, s->at, "not well-formed UTF-8"), false;
        s->at += length;
    }
    s->at++;
    return true;
}

/* ---- other values ---- */

static bool scan_digits(struct scan *s)
{
    if (!at_digit(s))
        return fail(s, "a digit is missing in a number"), false;
    while (at_digit(s))
        s->at++;
    return true;
}

static bool scan_number(struct scan *s)
{
    if (at_char(s, '-'))
        s->at++;
    if (at_char(s, '0')) {
        s->at++;
        if (at_digit(s))
            return fail(s, "a number must not begin with 0"), false;
    } else if (!scan_digits(s)) {
        return false;
    }
    if (at_char(s, '.')) {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (at_char(s, 'e') || at_char(s, 'E')) {
        s->at++;
        if (at_char(s, '+') || at_char(s, '-'))
            s->at++;
        if (!scan_digits(s))
            return false;
    }
    return true;
}

static bool scan_word(struct scan *s, struct view word)
{
    if ((size_t)(s->end - s->at) < word.len || memcmp(s->at, word.data, word.len) != 0)
        return fail_at(s, s->at, "a value was expected"), false;
    s->at += word.len;
    return true;
}

/* ---- structure ---- */

static void note_kind(struct scan *s, enum json_kind kind)
{
    if (s->depth == 0)
        s->text->kind = kind;
    else if (s->depth == 1)
        s->member.kind = kind;
}

static enum step open_container(struct scan *s, bool object)
{
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, "it is nested too deeply");
    note_kind(s, object ? JSON_OBJECT : JSON_ARRAY);
    if (object)
        s->objects |= UINT64_C(1) << s->depth;
    else
        s->objects &= ~(UINT64_C(1) << s->depth);
    s->depth++;
    s->at++;
    return object ? STEP_FIRST_NAME : STEP_FIRST_VALUE;
}

static bool in_object(const struct scan *s)
{
    return s->objects >> (s->depth - 1) & 1;
}

static bool scan_scalar(struct scan *s)
{
    switch (*s->at) {
    case '"':
        note_kind(s, JSON_STRING);
        return scan_string(s);
    case 't':
        note_kind(s, JSON_BOOLEAN);
        return scan_word(s, VIEW("true"));
    case 'f':
        note_kind(s, JSON_BOOLEAN);
        return scan_word(s, VIEW("false"));
    case 'n':
        note_kind(s, JSON_NULL);
        return scan_word(s, VIEW("null"));
    default:
        if (*s->at != '-' && !at_digit(s))
            return fail(s, "a value was expected"), false;
        note_kind(s, JSON_NUMBER);
        return scan_number(s);
    }
}

static enum step on_value(struct scan *s, bool may_end)
{
    if (s->at == s->end)
        return fail(s, "");
    if (may_end && *s->at == ']')
        return STEP_AFTER;
    if (s->depth == 1)
        s->member.value.data = s->at;
    if (*s->at == '{' || *s->at == '[')
        return open_container(s, *s->at == '{');
    return scan_scalar(s) ? STEP_AFTER : STEP_FAILED;
}

static enum step on_name(struct scan *s, bool may_end)
{
    const char *start = s->at + 1;

    if (may_end && at_char(s, '}'))
        return STEP_AFTER;
    if (!at_char(s, '"'))
        return fail(s, may_end ? "a member's name or } was expected" : "a name was expected");
    if (!scan_string(s))
        return STEP_FAILED;
    if (s->depth == 1)
        s->member.name = (struct view){start, (size_t)(s->at - 1 - start)};
    skip_space(s);
    if (!at_char(s, ':'))
        return fail(s, "a colon was expected");
    s->at++;
    return STEP_VALUE;
}

/* A value has ended just before s->at; if it was a member of the outermost object, or an element of
 * the outermost array, keep it. */
static void keep_member(struct scan *s)
{
    struct json_text *text = s->text;

    if (s->depth != 1 || !s->member.value.data)
        return;
    s->member.value.len = (size_t)(s->at - s->member.value.data);
    if (text->count < text->capacity)
        text->members[text->count] = s->member;
    text->count++;
    s->member.value.data = NULL;
}

static enum step on_after(struct scan *s)
{
    bool object;

    if (s->depth == 0)
        return s->at == s->end ? STEP_DONE : fail(s, "something follows the value");
    object = in_object(s);
    if (at_char(s, ',')) {
        s->at++;
        return object ? STEP_NAME : STEP_VALUE;
    }
    if (!at_char(s, object ? '}' : ']'))
        return fail(s, object ? "a comma or } was expected" : "a comma or ] was expected");
    s->depth--;
    s->at++;
    return STEP_AFTER;
}

static enum step take_step(struct scan *s, enum step step)
{
    switch (step) {
    case STEP_VALUE:
    case STEP_FIRST_VALUE:
        return on_value(s, step == STEP_FIRST_VALUE);
    case STEP_NAME:
    case STEP_FIRST_NAME:
        return on_name(s, step == STEP_FIRST_NAME);
    case STEP_AFTER:
        return on_after(s);
    default:
        return step;
    }
}

enum err json_scan(struct view text, struct json_text *ret, struct err_detail *detail)
{
    struct json_text result = {.members = ret->members, .capacity = ret->capacity};
    struct scan s = {.start = text.len ? text.data : "", .text = &result, .detail = detail};
    enum step step = STEP_VALUE;

    s.at = s.start;
    s.end = s.start + text.len;
    while (step != STEP_DONE && step != STEP_FAILED) {
        if (step == STEP_AFTER && s.depth == 1)
            keep_member(&s);
        skip_space(&s);
        step = take_step(&s, step);
    }
    if (step == STEP_FAILED)
        return ERR_MALFORMED;
    *ret = result;
    return ERR_NONE;
}
