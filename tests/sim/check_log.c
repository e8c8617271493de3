/* The event log, by a reading of our own; and what got a 202. */
#include "tests/sim/checks.h"

#include "common/event.h"

#include <stdio.h>

struct known check_log[POSITIONS_MAX];
uint64_t check_log_end;
static size_t accepted_checked;
static size_t accepted_before; /* the log was read; what has come since may be behind its end */

char *check_text_of(const struct event_id *id)
{
    static char text[ID_TEXT_SIZE];
    id_format(id, text);
    return text;
}

void content_write(char content[CONTENT_SIZE], struct view name, struct view source,
                   struct view key, struct view content_type, struct view colour,
                   struct view payload)
{
    const struct view parts[] = {name, source, key, content_type, colour, payload};
    size_t len = 0;
    content[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        len += (size_t)snprintf(content + len, CONTENT_SIZE - len, "%.*s|", (int)parts[i].len,
                                parts[i].len ? parts[i].data : "");
}

static struct view header(const struct bus_record *record, const char *name)
{
    return bus_record_header(record, name);
}

static void copy_text(char *to, size_t size, struct view text)
{
    snprintf(to, size, "%.*s", (int)text.len, text.len ? text.data : "");
}

static uint64_t first_of(const struct event_id *id, uint64_t before)
{
    for (uint64_t p = 1; p < before; p++)
        if (id_equal(&check_log[p].id, id))
            return p;
    return before;
}

static void read_record(const struct world *world, const struct bus_record *record, uint64_t p,
                        struct known *k)
{
    struct view name;
    k->proper = event_identity(record, WORLD_NS, world->event_names.stream, &k->id, &name);
    k->first = first_of(&k->id, p);
    k->time_ms = record->time_ms;
    k->fate = plan_fate(&world->plan, record->payload);
    k->handler = &world->plan.handlers[plan_handler_of(&world->plan, name)];
    if (!k->proper)
        return;
    content_write(k->content, header(record, "ce-type"), header(record, "ce-source"),
                  header(record, "ce-partitionkey"), header(record, "content-type"),
                  header(record, "ce-colour"), record->payload);
    copy_text(k->producer_id, sizeof k->producer_id, header(record, "ce-id"));
    copy_text(k->name, sizeof k->name, name);
    copy_text(k->source, sizeof k->source, header(record, "ce-source"));
}

void check_log_read(struct world *world)
{
    struct bus_record *record;
    struct bus_log_end end;
    accepted_before = world->accepted_count;
    if (bus_log_end(world->events, 1000, &end))
        sim_fail("the event log has no end");
    while (check_log_end < end.last) {
        if (check_log_end + 1 == POSITIONS_MAX)
            sim_fail("too many records in the event log");
        uint64_t p = check_log_end + 1;
        struct known k = {.kept = !bus_log_read(world->events, p, 1000, &record)};
        if (k.kept) {
            read_record(world, record, p, &k);
            bus_record_free(record);
        }
        if (check_log_end + 1 != p) /* a loss meanwhile: it has been read anew */
            return;
        check_log[p] = k;
        check_log_end = p;
    }
}

static bool is_stored(const struct accepted *a)
{
    for (uint64_t p = 1; p <= check_log_end; p++)
        if (id_equal(&check_log[p].id, &a->id) && strcmp(check_log[p].content, a->content) == 0)
            return true;
    return false;
}

void check_log_accepted(struct world *world)
{
    for (; accepted_checked < accepted_before; accepted_checked++) {
        const struct accepted *a = &world->accepted[accepted_checked];
        if (!is_stored(a))
            sim_fail("%s got a 202 and is not stored", check_text_of(&a->id));
    }
}

void check_log_loss(struct world *world)
{
    size_t kept = 0;
    check_log_end = 0;
    check_log_read(world);
    for (size_t i = 0; i < world->accepted_count; i++)
        if (is_stored(&world->accepted[i]))
            world->accepted[kept++] = world->accepted[i];
    world->accepted_count = accepted_checked = accepted_before = kept;
}
