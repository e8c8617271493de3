#include "http-gateway/store_event.h"

#include "common/log.h"

#include <stdio.h>
#include <time.h>

/* ---- identity ---- */

/* As much of a text as a message can show. */
static int shown(struct view v)
{
    return (int)(v.len < 60 ? v.len : 60);
}

static enum err choose_producer_id(struct view key, struct event *event, struct store_identity *ret,
                                   struct err_detail *detail)
{
    bool given = event->producer_id.len > 0;

    if (given && key.len > 0 && !view_equal(event->producer_id, key))
        return err_set(detail, ERR_INVALID,
                       "the event's id is \"%.*s\" and its Idempotency-Key \"%.*s\"; they must be "
                       "equal, or one of them be left out",
                       shown(event->producer_id), event->producer_id.data, shown(key), key.data);
    ret->origin = given ? STORE_ID_OF_EVENT : key.len > 0 ? STORE_ID_OF_KEY : STORE_ID_MADE;
    if (ret->origin == STORE_ID_OF_KEY)
        event->producer_id = key;
    return ERR_NONE;
}

enum err store_event_identify(const struct gateway *g, struct view key, struct event *event,
                              struct store_identity *ret, struct err_detail *detail)
{
    enum err e = choose_producer_id(key, event, ret, detail);

    if (e)
        return e;
    if (event->source.len == 0)
        event->source = view_of(g->settings.shared.source);
    if (ret->origin == STORE_ID_MADE)
        id_make(&clock_system, &event->id);
    else
        id_of_producer(event->source, event->producer_id, &event->id);
    id_format(&event->id, ret->id);
    if (ret->origin == STORE_ID_MADE)
        event->producer_id = view_of(ret->id);
    e = event_digest(event, ret->digest);
    if (e)
        return err_set(detail, e, "no memory for the event's digest");
    event->digest = view_of(ret->digest);
    if (event->time.len == 0) {
        clock_format(clock_wall_ms(&clock_system), ret->time);
        event->time = view_of(ret->time);
    }
    return ERR_NONE;
}

/* ---- publishing ---- */

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Nothing was sent. */
static enum err explain_untaken(const struct gateway *g, enum err e, struct err_detail *detail)
{
    struct err_detail why = {""};

    if (e == ERR_UNAVAILABLE) {
        bus_state(g->bus, &why);
        return err_set(detail, e, "the event is not stored: %s",
                       why.text[0] ? why.text : "the bus is away");
    }
    if (e == ERR_BUSY)
        return err_set(detail, e, "%llu events are being stored at this moment; that is the limit",
                       (unsigned long long)g->settings.max_in_flight);
    return err_set(detail, e, "the event is not stored: %s", err_title(e));
}

/* With the header block's frame and message id, as NATS counts them. */
static uint64_t size_of(const struct bus_message *message)
{
    uint64_t size = sizeof "NATS/1.0\r\n\r\n" - 1 + message->payload.len;

    if (message->message_id)
        size += sizeof "Nats-Msg-Id: \r\n" - 1 + strlen(message->message_id);
    for (size_t i = 0; i < message->header_count; i++)
        size += strlen(message->headers[i].name) + message->headers[i].value.len + 4;
    return size;
}

static enum err check_size(const struct gateway *g, const struct bus_message *message,
                           struct err_detail *detail)
{
    uint64_t max = bus_max_payload(g->bus), size = size_of(message);

    if (max == 0 || size + STORE_EVENT_LETTER_ROOM <= max) /* 0: away, as publishing will find */
        return ERR_NONE;
    return err_set(detail, ERR_TOO_LARGE,
                   "the event with its headers has %llu bytes; the bus allows %llu, of which %d "
                   "must be left for the reason of a dead letter",
                   (unsigned long long)size, (unsigned long long)max, STORE_EVENT_LETTER_ROOM);
}

static enum err publish(struct gateway *g, const struct bus_message *message,
                        struct bus_receipt *ret, struct err_detail *detail)
{
    int64_t start = now_us();
    enum err e = bus_publish_wait(g->events, message, ret);

    if (e)
        return explain_untaken(g, e, detail);
    metric_add(g->outcomes[ret->outcome], 1);
    metric_observe_us(g->publish_duration, now_us() - start);
    return ERR_NONE;
}

/* ---- what became of it ---- */

static enum err explain_unknown(const struct store_identity *identity, const char *what,
                                struct err_detail *detail)
{
    if (identity->origin == STORE_ID_MADE)
        return err_set(detail, ERR_UNKNOWN_OUTCOME,
                       "%s; it is safe to send the event again with \"id\":\"%s\"", what,
                       identity->id);
    return err_set(detail, ERR_UNKNOWN_OUTCOME, "%s; it is safe to send it again with the same id",
                   what);
}

static enum err judge(const struct bus_receipt *receipt, const struct store_identity *identity,
                      struct err_detail *detail)
{
    if (receipt->outcome == BUS_REFUSED)
        return err_set(detail, receipt->why, "the bus has refused the event: %s",
                       receipt->detail.text[0] ? receipt->detail.text : err_title(receipt->why));
    if (receipt->outcome == BUS_UNKNOWN)
        return explain_unknown(
            identity, "the bus has not said in time whether it has stored the event", detail);
    return ERR_NONE;
}

/* ---- duplicates ---- */

enum first_copy { FIRST_IS_SAME, FIRST_IS_OTHER, FIRST_IS_GONE };

static enum err compare(const struct gateway *g, const struct event *event,
                        const struct bus_record *record, enum first_copy *ret)
{
    char digest[EVENT_DIGEST_TEXT_SIZE];
    const char *ns = g->settings.shared.ns;
    struct event_id id;
    struct view name;
    enum err e = ERR_MALFORMED;

    if (event_identity(record, ns, "", &id, &name) && id_equal(&id, &event->id))
        e = event_digest_of_record(record, ns, digest);
    if (e == ERR_MALFORMED) /* another event, or none of ours */
        *ret = FIRST_IS_GONE;
    else if (!e)
        *ret = view_equal(event->digest, view_of(digest)) ? FIRST_IS_SAME : FIRST_IS_OTHER;
    return e == ERR_MALFORMED ? ERR_NONE : e;
}

/* Looks at the copy that the bus says it has: it may remember what is no longer there, if someone
 * has emptied the log or made it anew. */
static enum err look_at_first(const struct gateway *g, const struct event *event, uint64_t position,
                              enum first_copy *ret)
{
    struct bus_record *record;
    enum err e = bus_log_read(g->events, position, g->settings.publish_timeout_ms, &record);

    if (e == ERR_NOT_FOUND) {
        *ret = FIRST_IS_GONE;
        return ERR_NONE;
    }
    if (e)
        return e;
    e = compare(g, event, record, ret);
    bus_record_free(record);
    return e;
}

static enum err fail_reused(struct gateway *g, const struct store_identity *identity,
                            uint64_t position, struct err_detail *detail)
{
    bool by_key = identity->origin == STORE_ID_OF_KEY;

    metric_add(g->conflicts[by_key], 1);
    return err_set(detail, by_key ? ERR_KEY_REUSED : ERR_ID_REUSED,
                   "event_id %s stands for another event, stored at position %llu, with another "
                   "content or source; nothing was stored",
                   identity->id, (unsigned long long)position);
}

static enum err publish_anew(struct gateway *g, const struct event *event,
                             const struct store_identity *identity, struct err_detail *detail)
{
    struct event_message m;
    struct bus_receipt receipt;
    enum err e;

    log_warn("the bus knows the event but has lost it; it is stored anew");
    event_to_message(event, g->settings.shared.ns, &m);
    e = publish(g, &m.message, &receipt, detail);
    return e ? e : judge(&receipt, identity, detail);
}

static enum err settle_duplicate(struct gateway *g, const struct event *event,
                                 const struct store_identity *identity, uint64_t position,
                                 bool *ret_duplicate, struct err_detail *detail)
{
    enum first_copy first = FIRST_IS_GONE;
    enum err e = look_at_first(g, event, position, &first);

    if (e == ERR_MEMORY)
        return err_set(detail, e, "no memory to compare the event with its first copy");
    if (e)
        return explain_unknown(
            identity, "the bus seems to have the event already, and cannot show it", detail);
    if (first == FIRST_IS_GONE)
        return publish_anew(g, event, identity, detail);
    if (first == FIRST_IS_OTHER)
        return fail_reused(g, identity, position, detail);
    metric_add(g->duplicates, 1);
    *ret_duplicate = true;
    return ERR_NONE;
}

static enum err settle(struct gateway *g, const struct event *event,
                       const struct store_identity *identity, const struct bus_receipt *receipt,
                       bool *ret_duplicate, struct err_detail *detail)
{
    if (receipt->outcome == BUS_DUPLICATE)
        return settle_duplicate(g, event, identity, receipt->position, ret_duplicate, detail);
    *ret_duplicate = false;
    return judge(receipt, identity, detail);
}

/* ---- one event ---- */

static enum err make_message(const struct gateway *g, const struct event *event,
                             const struct store_identity *identity, struct event_message *ret,
                             struct err_detail *detail)
{
    event_to_message(event, g->settings.shared.ns, ret);
    if (identity->origin != STORE_ID_MADE)
        ret->message.message_id = identity->id;
    return check_size(g, &ret->message, detail);
}

enum err store_event(struct gateway *g, const struct event *event,
                     const struct store_identity *identity, bool *ret_duplicate,
                     struct err_detail *detail)
{
    struct event_message m;
    struct bus_receipt receipt;
    enum err e = make_message(g, event, identity, &m, detail);

    if (!e)
        e = publish(g, &m.message, &receipt, detail);
    return e ? e : settle(g, event, identity, &receipt, ret_duplicate, detail);
}

/* ---- one among others ---- */

static void on_published(void *ctx, const struct bus_receipt *receipt)
{
    struct store_sent *sent = ctx;

    sent->outcome = receipt->outcome;
    sent->position = receipt->position;
    sent->why = receipt->why;
    snprintf(sent->words, sizeof sent->words, "%.127s", receipt->detail.text);
    metric_add(sent->gateway->outcomes[receipt->outcome], 1);
    metric_observe_us(sent->gateway->publish_duration, now_us() - sent->start_us);
    wait_group_end(sent->group);
}

enum err store_event_begin(struct gateway *g, const struct event *event,
                           const struct store_identity *identity, struct wait_group *group,
                           struct store_sent *sent, struct err_detail *detail)
{
    struct event_message m;
    enum err e = make_message(g, event, identity, &m, detail);

    if (e)
        return e;
    *sent = (struct store_sent){.gateway = g, .group = group, .start_us = now_us()};
    wait_group_begin(group);
    e = bus_publish(g->events, &m.message, on_published, sent);
    if (!e)
        return ERR_NONE;
    wait_group_end(group);
    return explain_untaken(g, e, detail);
}

bool store_event_needs_event(const struct store_sent *sent)
{
    return sent->outcome == BUS_DUPLICATE;
}

enum err store_event_end(const struct store_sent *sent, const struct event *event,
                         const struct store_identity *identity, bool *ret_duplicate,
                         struct err_detail *detail)
{
    struct bus_receipt receipt = {
        .outcome = sent->outcome, .position = sent->position, .why = sent->why};

    memcpy(receipt.detail.text, sent->words, sizeof sent->words);
    return settle(sent->gateway, event, identity, &receipt, ret_duplicate, detail);
}
