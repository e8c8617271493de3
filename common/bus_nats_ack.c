/* JetStream answers a publish with one flat JSON object:
 *     {"stream":"TIDINGS_EVENTS", "seq":12}     and more: "duplicate":true, "domain":"hub", ...
 *     {"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},
 *      "stream":"TIDINGS_EVENTS","seq":0}
 * Anyone can answer a publish, so whatever isn't exactly this is foreign. Only the errors below
 * that say so mean that nothing was stored; after any other of the stream's own answers it may
 * have been. The scanner below knows
 * JSON's grammar, but no escapes in the strings that matter: a stream's name has none, and a
 * description with one is shown as it is written.
 */
#include "common/bus_nats.h"

#include <string.h>

enum { DEPTH_MAX = 16 };

struct scan {
    const char *at;
    const char *end;
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at) && *s->at)
        ++s->at;
}

static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    ++s->at;
    return true;
}

static bool take_string(struct scan *s, struct view *ret)
{
    if (!take(s, '"'))
        return false;
    const char *start = s->at;
    while (s->at < s->end && *s->at != '"' && (unsigned char)*s->at >= ' ')
        s->at += *s->at == '\\' && s->end - s->at > 1 ? 2 : 1;
    if (s->at == s->end || *s->at != '"')
        return false;
    *ret = (struct view){start, (size_t)(s->at - start)};
    ++s->at;
    return true;
}

/* A number, true, false or null. */
static bool take_word(struct scan *s, struct view *ret)
{
    skip_space(s);
    const char *start = s->at;
    while (s->at < s->end && !strchr(",]} \t\r\n", *s->at))
        ++s->at;
    *ret = (struct view){start, (size_t)(s->at - start)};
    return ret->len > 0;
}

static bool skip_value(struct scan *s, int depth);

static bool skip_members(struct scan *s, char close, int depth)
{
    struct view name;
    if (take(s, close))
        return true;
    do {
        if (close == '}' && (!take_string(s, &name) || !take(s, ':')))
            return false;
        if (!skip_value(s, depth + 1))
            return false;
    } while (take(s, ','));
    return take(s, close);
}

static bool skip_value(struct scan *s, int depth)
{
    struct view ignored;
    skip_space(s);
    if (s->at == s->end || depth > DEPTH_MAX)
        return false;
    if (take(s, '{'))
        return skip_members(s, '}', depth);
    if (take(s, '['))
        return skip_members(s, ']', depth);
    return *s->at == '"' ? take_string(s, &ignored) : take_word(s, &ignored);
}

/* ---- the members that matter ---- */

struct answer {
    struct view stream;
    struct view description;
    uint64_t position;
    uint64_t status; /* like HTTP's */
    uint64_t code;   /* JetStream's err_code; 0: none, it is an error of another part's */
    bool duplicate;
    bool failed;
};

static bool take_number(struct scan *s, uint64_t *ret)
{
    struct view word;
    return take_word(s, &word) && view_parse_u64(word, ret);
}

static bool take_true(struct scan *s, bool *ret)
{
    struct view word;
    if (!take_word(s, &word))
        return false;
    *ret = view_equal(word, VIEW("true"));
    return true;
}

typedef bool (*take_member_fn)(struct scan *s, struct view name, struct answer *ret);

static bool take_object(struct scan *s, take_member_fn take_member, struct answer *ret)
{
    struct view name;
    if (!take(s, '{'))
        return false;
    if (take(s, '}'))
        return true;
    do
        if (!take_string(s, &name) || !take(s, ':') || !take_member(s, name, ret))
            return false;
    while (take(s, ','));
    return take(s, '}');
}

static bool take_error_member(struct scan *s, struct view name, struct answer *ret)
{
    if (view_equal(name, VIEW("err_code")))
        return take_number(s, &ret->code);
    if (view_equal(name, VIEW("code")))
        return take_number(s, &ret->status);
    if (view_equal(name, VIEW("description")))
        return take_string(s, &ret->description);
    return skip_value(s, 0);
}

static bool take_answer_member(struct scan *s, struct view name, struct answer *ret)
{
    if (view_equal(name, VIEW("stream")))
        return take_string(s, &ret->stream);
    if (view_equal(name, VIEW("seq")))
        return take_number(s, &ret->position);
    if (view_equal(name, VIEW("duplicate")))
        return take_true(s, &ret->duplicate);
    if (view_equal(name, VIEW("error"))) {
        ret->failed = true;
        return take_object(s, take_error_member, ret);
    }
    return skip_value(s, 0);
}

/* ---- JetStream's errors (nats-server, server/errors.json) ---- */

static bool mentions(struct view text, const char *what)
{
    return memmem(text.data, text.len, what, strlen(what)) != NULL;
}

/* ERR_UNKNOWN_OUTCOME: it may be stored, or be on its way to it. */
static enum err why_of(const struct answer *answer)
{
    switch (answer->code) {
    case 10002: /* resource limits exceeded for account */
    case 10023: /* insufficient resources */
    case 10028: /* insufficient memory resources available */
    case 10047: /* insufficient storage resources available */
    case 10109: /* sealed: "invalid operation on sealed stream" */
        return ERR_FULL;
    case 10077: /* the store failed: its limits, the disk, or something else, in words */
        if (mentions(answer->description, "maximum") || mentions(answer->description, "no space"))
            return ERR_FULL;
        return ERR_UNKNOWN_OUTCOME;
    case 0: /* raft's own: it may have been proposed */
        return ERR_UNKNOWN_OUTCOME;
    case 10054: /* message size exceeds maximum allowed */
    case 10097: /* header size exceeds maximum allowed */
        return ERR_TOO_LARGE;
    case 10008: /* system temporarily unavailable */
    case 10158: /* the first message with this id is still being stored; this one is not */
    case 10167: /* too many requests: the stream's ingest queue is full */
    case 10039: /* not enabled for account */
    case 10076: /* not enabled */
    case 10118: /* stream is offline */
        return ERR_UNAVAILABLE;
    default:
        return ERR_INTERNAL;
    }
}

/* Only an account's or a server's limits are reported without the stream's name. */
static bool may_be_unnamed(uint64_t code)
{
    return code == 10002 || code == 10023 || code == 10028 || code == 10047;
}

static void judge_error(const struct answer *answer, struct nats_ack *ret)
{
    bool named = answer->stream.len > 0 || may_be_unnamed(answer->code);
    if (!named || (answer->code == 0 && answer->status == 0))
        return;
    ret->why = why_of(answer);
    ret->kind = ret->why == ERR_UNKNOWN_OUTCOME ? NATS_ACK_UNKNOWN : NATS_ACK_ERROR;
    ret->description = answer->description;
}

static void judge(const struct answer *answer, struct nats_ack *ret)
{
    ret->stream = answer->stream;
    ret->position = answer->position;
    if (answer->failed) {
        judge_error(answer, ret);
    } else if (answer->stream.len > 0 && answer->position > 0) {
        ret->kind = answer->duplicate ? NATS_ACK_DUPLICATE : NATS_ACK_STORED;
    } else if (answer->stream.len > 0 && answer->duplicate) { /* 10158 in clusters before 2.11 */
        ret->kind = NATS_ACK_ERROR;
        ret->why = ERR_UNAVAILABLE;
        ret->description = VIEW("duplicate message id is in process");
    }
}

void nats_ack_parse(struct view text, struct nats_ack *ret)
{
    struct scan s = {text.data, text.data + text.len};
    struct answer answer = {.code = 0};
    *ret = (struct nats_ack){.kind = NATS_ACK_FOREIGN};
    if (!take_object(&s, take_answer_member, &answer))
        return;
    skip_space(&s);
    if (s.at == s.end)
        judge(&answer, ret);
}
