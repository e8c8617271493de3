/* What is published: nothing twice while the server would know it, and no batch changed that is
 * sent again. */
#include "tests/sim/checks.h"

#include <stdio.h>
#include <stdlib.h>

enum { STORED_MAX = 16384 };

static struct stored {
    uint64_t hash;
    int64_t at_ms;
} stored[STORED_MAX];
static size_t stored_count;

static uint64_t hash_of(uint64_t hash, struct view bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (unsigned char)bytes.data[i]) * 1099511628211U; /* FNV-1a */
    return hash;
}

static uint64_t hash_of_key(struct view key)
{
    return hash_of(14695981039346656037U, key);
}

/* What was stored in this log before, and is known to the server by its message id. */
static void check_once(const struct world *world, const char *what, struct view key)
{
    uint64_t hash = hash_of_key(key);
    int64_t window_ms = world->plan.duplicate_window_ms - 2; /* two clocks' roundings */
    for (size_t i = stored_count; i-- > 0 && stored[i].at_ms > sim_now_ms() - window_ms;)
        if (stored[i].hash == hash)
            sim_fail("%s is stored twice: %.*s", what, (int)key.len, key.data);
    if (stored_count == STORED_MAX)
        sim_fail("too much is stored");
    stored[stored_count++] = (struct stored){hash, sim_now_ms()};
}

enum { KEY_SIZE = 128 };

static struct view key_of_item(const struct retry_item *item, char key[KEY_SIZE])
{
    char id[ID_TEXT_SIZE];
    id_format(&item->id, id);
    int len = snprintf(key, KEY_SIZE, "item %s at %llu: %u, %u", id,
                       (unsigned long long)item->event_position, item->generation, item->attempt);
    return (struct view){key, (size_t)len};
}

static void check_item(const struct world *world, const struct bus_message *message)
{
    char key[KEY_SIZE];
    struct retry_item item;
    if (retry_item_read(message->payload, &item))
        sim_fail("a broken item is published");
    check_once(world, "an attempt to come", key_of_item(&item, key));
}

static bool was_stored(const struct retry_item *item)
{
    char key[KEY_SIZE];
    uint64_t hash = hash_of_key(key_of_item(item, key));
    for (size_t i = 0; i < stored_count; i++)
        if (stored[i].hash == hash)
            return true;
    return false;
}

/* ---- attempts to come that the sweep takes for lost ---- */

static struct swept {
    struct retry_item item;
    uint64_t at; /* in the retry log */
} swept[SWEPT_MAX];
static size_t swept_count;

/* Two processors had the event log's delivery: one has put it off, the other had claimed it. What
 * it was put off to was a copy as long as it was claimed, and the delivery does not come again:
 * that is what the sweep is for, if the other has ended before the run, or could not store the next
 * attempt and has given the delivery back. */
static bool vanished_with_it(const struct world *world, const struct retry_item *item)
{
    const struct folded *folded = &check_folded[item->event_position];
    const struct node *node = &world->nodes[folded->by];
    if (!check_was_put_off_and_acked(item->event_position))
        return false;
    if (folded->state.status == STATUS_RETRYING)
        return item->attempt == 2 && !was_stored(item);
    return folded->state.status == STATUS_PROCESSING &&
           item->instead_of.log == STATUS_DELIVERY_EVENT && was_stored(item) &&
           (node->process == 0 || node->status_end >= folded->changed_at);
}

static void note_swept(const struct world *world, const struct bus_message *message, uint64_t at)
{
    struct retry_item item;
    if (swept_count < SWEPT_MAX && !retry_item_read(message->payload, &item) &&
        !vanished_with_it(world, &item))
        swept[swept_count++] = (struct swept){item, at};
}

static bool is_swept(uint64_t at)
{
    for (size_t i = 0; i < swept_count; i++)
        if (swept[i].at == at)
            return true;
    return false;
}

/* Whether the retry log holds another one of the same event. */
static bool has_other(struct world *world, const struct retry_item *item)
{
    struct bus_log_end end;
    struct bus_record *record;
    bool other = false;
    if (bus_log_end(world->retries, 1000, &end))
        return true;
    for (uint64_t at = end.first; at <= end.last && !other; at++) {
        struct retry_item kept;
        if (is_swept(at) || bus_log_read(world->retries, at, 1000, &record))
            continue;
        other = !retry_item_read(record->payload, &kept) &&
                kept.event_position == item->event_position && kept.generation == item->generation;
        bus_record_free(record);
    }
    return other;
}

size_t check_swept_begin(struct world *world, bool missing[SWEPT_MAX])
{
    size_t count = swept_count;
    for (size_t i = 0; i < count; i++)
        missing[i] = !has_other(world, &swept[i].item);
    return count;
}

void check_swept_end(const bool missing[SWEPT_MAX], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct retry_item *item = &swept[i].item;
        struct status_state state = check_folded[item->event_position].state;
        bool waits = state.generation == item->generation &&
                     ((state.status == STATUS_RETRYING && state.attempt + 1 == item->attempt) ||
                      (state.status == STATUS_PROCESSING && state.attempt == item->attempt));
        if (missing[i] && waits)
            sim_fail("attempt %u of position %llu was lost, and nobody has lost it", item->attempt,
                     (unsigned long long)item->event_position);
    }
    memmove(swept, swept + count, (swept_count - count) * sizeof *swept);
    swept_count -= count;
}

/* ---- letters ---- */

static struct view header(const struct bus_message *message, const char *name)
{
    for (size_t i = 0; i < message->header_count; i++)
        if (strcmp(message->headers[i].name, name) == 0)
            return message->headers[i].value;
    return VIEW("");
}

static void check_letter(const struct world *world, const struct bus_message *message)
{
    char key[128];
    struct view id = header(message, "Tidings-Event-Id");
    struct view generation = header(message, "Tidings-Generation");
    struct view position = header(message, "Tidings-Position");
    struct view attempts = header(message, "Tidings-Attempts");
    int len = snprintf(key, sizeof key, "letter %.*s at %.*s: %.*s", (int)id.len, id.data,
                       (int)position.len, position.data, (int)generation.len, generation.data);
    /* Of what expires: it does not count if an attempt comes to its end before. */
    if (view_equal(header(message, "Tidings-Reason"), VIEW("expired")))
        len += snprintf(key + len, sizeof key - (size_t)len, " (expired after %.*s)",
                        (int)attempts.len, attempts.data);
    check_once(world, "a dead letter", (struct view){key, (size_t)len});
}

/* ---- batches ---- */

static struct batch {
    uint64_t id, bytes;
} batches[STORED_MAX];
static size_t batch_count;

static void check_batch(const struct bus_message *message)
{
    if (!message->message_id)
        sim_fail("a batch is published without a message id");
    struct batch batch = {hash_of(14695981039346656037U, view_of(message->message_id)),
                          hash_of(14695981039346656037U, message->payload)};
    for (size_t i = batch_count; i-- > 0;) {
        if (batches[i].bytes == batch.bytes && batches[i].id != batch.id)
            sim_fail("a batch is sent again with another message id");
        if (batches[i].id != batch.id)
            continue;
        if (batches[i].bytes != batch.bytes)
            sim_fail("a batch has changed since it was first sent");
        return;
    }
    if (batch_count == STORED_MAX)
        sim_fail("too many batches");
    batches[batch_count++] = batch;
}

void check_stored(struct world *world, const struct bus_log *log, const struct bus_message *message,
                  const struct bus_receipt *receipt)
{
    if (log == world->statuses)
        check_batch(message);
    if (world->losses > 0 || receipt->outcome != BUS_STORED)
        return;
    if (log == world->retries && message->message_id && !world->items_lost)
        check_item(world, message);
    if (log == world->retries && !message->message_id && !plan_is_faulty(&world->plan))
        sim_fail("an attempt to come is taken for lost without any reason");
    if (log == world->retries && !message->message_id && !world->items_lost)
        note_swept(world, message, receipt->position);
    if (log == world->letters)
        check_letter(world, message);
}
