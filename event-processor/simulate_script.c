#include "event-processor/simulate_script.h"

#include "common/config.h"
#include "common/json_scan.h"
#include "common/json_string.h"

#include <stdio.h>

enum {
    MEMBERS_MAX = 32, /* the payload's others are not looked at */
    ENTRY_MAX = 240,  /* bytes, decoded */
    DELAY_MAX_MS = 3600 * 1000,
};

/* ---- the entry ---- */

/* The array's value in a payload; false: it has none. */
static bool find_script(struct view payload, struct json_member *ret)
{
    struct json_member members[MEMBERS_MAX];
    struct json_text text = {.members = members, .capacity = MEMBERS_MAX};
    /* Most payloads have nothing of the kind, and need not be scanned. */
    if (payload.len == 0 || !memmem(payload.data, payload.len, "\"simulate\"", 10) ||
        json_scan(payload, &text, NULL))
        return false;
    size_t kept = text.count < MEMBERS_MAX ? text.count : MEMBERS_MAX;
    for (size_t i = 0; i < kept; i++) {
        if (view_equal(members[i].name, VIEW("simulate"))) {
            *ret = members[i];
            return true;
        }
    }
    return false;
}

/* The next string of a JSON array that the scanner has accepted, between its quotes; false: the
 * array ends, or what comes is no string. */
static bool next_string(struct view array, size_t *at, struct view *ret)
{
    while (*at < array.len && memchr(", \t\r\n", array.data[*at], 5))
        (*at)++;
    if (*at >= array.len || array.data[*at] != '"')
        return false;
    size_t start = ++*at;
    while (array.data[*at] != '"')
        *at += array.data[*at] == '\\' ? 2 : 1;
    *ret = (struct view){array.data + start, *at - start};
    (*at)++;
    return true;
}

/* The attempt's entry, or the last. False: there is none, or one is no string. */
static bool find_entry(struct view array, uint32_t attempt, struct view *ret)
{
    size_t at = 1; /* behind the bracket */
    uint32_t found = 0;
    while (found < attempt && next_string(array, &at, ret))
        found++;
    return found > 0 && (found == attempt || array.data[at] == ']');
}

/* ---- what it says ---- */

static void refuse(struct simulate_step *step, const char *what)
{
    step->kind = SIMULATE_NEVER;
    snprintf(
        step->error, sizeof step->error,
        "simulate: %s; allowed are ok, delay:250ms, fail, fail:<reason>, fail:after=2s, never, "
        "never:<reason>, hang and crash, each attempt's in a list of texts",
        what);
}

/* The rest behind `word`, which is empty or what follows a colon. */
static bool begins(struct view entry, const char *word, struct view *rest)
{
    size_t len = strlen(word);
    if (entry.len < len || memcmp(entry.data, word, len) != 0)
        return false;
    if (entry.len == len) {
        *rest = (struct view){NULL, 0};
        return true;
    }
    *rest = (struct view){entry.data + len + 1, entry.len - len - 1};
    return entry.data[len] == ':' && rest->len > 0;
}

static void set_error(struct simulate_step *step, struct view reason, const char *otherwise)
{
    if (reason.len == 0)
        reason = view_of(otherwise);
    snprintf(step->error, sizeof step->error, "%.*s", (int)reason.len, reason.data);
}

static bool read_failure(struct view rest, struct simulate_step *step)
{
    step->kind = SIMULATE_FAIL;
    if (rest.len < 6 || memcmp(rest.data, "after=", 6) != 0) {
        set_error(step, rest, "it failed, as the payload asks for");
        return true;
    }
    struct view time = {rest.data + 6, rest.len - 6};
    set_error(step, (struct view){NULL, 0}, "it failed, and wants to be tried again later");
    return config_duration_parse(time, DELAY_MAX_MS, &step->after_ms);
}

static bool read_entry(struct view entry, struct simulate_step *step)
{
    struct view rest;
    if (begins(entry, "fail", &rest))
        return read_failure(rest, step);
    if (begins(entry, "never", &rest)) {
        step->kind = SIMULATE_NEVER;
        set_error(step, rest, "it failed and always will, as the payload asks for");
        return true;
    }
    if (begins(entry, "delay", &rest)) {
        step->kind = SIMULATE_OK;
        return config_duration_parse(rest, DELAY_MAX_MS, &step->delay_ms);
    }
    if (view_equal(entry, VIEW("ok")))
        step->kind = SIMULATE_OK;
    else if (view_equal(entry, VIEW("hang")))
        step->kind = SIMULATE_HANG;
    else if (view_equal(entry, VIEW("crash")))
        step->kind = SIMULATE_CRASH;
    else
        return false;
    return true;
}

void simulate_script_step(struct view payload, uint32_t attempt, struct simulate_step *ret)
{
    struct json_member script;
    struct view raw, entry;
    struct buf decoded;
    *ret = (struct simulate_step){.kind = SIMULATE_CHANCE, .delay_ms = -1, .after_ms = -1};
    if (!find_script(payload, &script))
        return;
    if (script.kind != JSON_ARRAY || !find_entry(script.value, attempt, &raw)) {
        refuse(ret, "it is no list of texts");
        return;
    }
    buf_init(&decoded, JSON_STRING_RAW_MAX(ENTRY_MAX));
    if (raw.len > JSON_STRING_RAW_MAX(ENTRY_MAX) ||
        json_string_decode(raw, &decoded, &entry, NULL) || entry.len > ENTRY_MAX ||
        !read_entry(entry, ret))
        refuse(ret, "what it says for the attempt is not known");
    buf_free(&decoded);
}
