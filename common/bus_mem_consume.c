#include "common/bus_mem_log.h"
#include "common/mem.h"

/* What a group has been given and not acknowledged: a small array, because it is searched from
 * end to end. */
struct mem_pending {
    uint64_t position;
    int64_t due_ms; /* when it may be given again */
    uint32_t delivered;
};

struct mem_group {
    char *name;
    struct bus_consumer_spec spec;
    uint64_t next; /* position never given yet */
    struct mem_pending *pending;
    size_t pending_count, pending_capacity;
    struct mem_group *next_group;
};

struct mem_consumer {
    struct bus_consumer base;
    char *group;
    struct bus_consumer_spec spec;
};

struct mem_delivery {
    struct bus_delivery delivery;
    struct mem_log *log;
    char *group;
    struct mem_handout handout;
};

/* ---- groups ---- */

static void group_free(struct mem_group *group)
{
    mem_free(group->pending);
    mem_free(group->name);
    mem_free(group);
}

void mem_groups_free(struct mem_log *log)
{
    while (log->groups) {
        struct mem_group *next = log->groups->next_group;
        group_free(log->groups);
        log->groups = next;
    }
}

static struct mem_group *group_find(const struct mem_log *log, const char *name)
{
    struct mem_group *group = log->groups;
    while (group && strcmp(group->name, name) != 0)
        group = group->next_group;
    return group;
}

/* Made at the first fetch, and again when the log was made anew. */
static struct mem_group *group_of(struct mem_log *log, const struct mem_consumer *consumer)
{
    struct mem_group *group = group_find(log, consumer->group);
    if (group || !(group = mem_zero(1, sizeof *group)))
        return group;
    group->spec = consumer->spec;
    group->next = 1;
    group->name = mem_copy_text(consumer->group, strlen(consumer->group));
    if (!group->name) {
        group_free(group);
        return NULL;
    }
    group->next_group = log->groups;
    log->groups = group;
    return group;
}

static struct mem_pending *pending_at(struct mem_group *group, uint64_t position)
{
    for (size_t i = 0; i < group->pending_count; ++i)
        if (group->pending[i].position == position)
            return &group->pending[i];
    return NULL;
}

static void pending_remove(struct mem_group *group, struct mem_pending *pending)
{
    size_t after = group->pending_count - 1 - (size_t)(pending - group->pending);
    memmove(pending, pending + 1, after * sizeof *pending);
    --group->pending_count;
}

static bool is_at_limit(const struct mem_group *group)
{
    size_t limit = group->spec.max_ack_pending;
    return limit != 0 && group->pending_count >= limit;
}

/* False: memory is short. */
static bool make_pending_room(struct mem_group *group)
{
    if (group->pending_count < group->pending_capacity)
        return true;
    size_t capacity = group->pending_capacity ? group->pending_capacity * 2 : 64;
    struct mem_pending *grown = mem_grow(group->pending, capacity, sizeof *grown);
    if (!grown)
        return false;
    group->pending = grown;
    group->pending_capacity = capacity;
    return true;
}

/* The next message due for the group: first what was given before, then what is new. ERR_DEADLINE:
 * none. ERR_MEMORY. */
static enum err next_due(struct mem_log *log, struct mem_group *group, int64_t now,
                         struct mem_pending **ret)
{
    for (size_t i = 0; i < group->pending_count; ++i) {
        struct mem_pending *pending = &group->pending[i];
        if (!mem_record_at(log, pending->position))
            pending_remove(group, &group->pending[i--]);
        else if (pending->due_ms <= now) {
            *ret = pending;
            return ERR_NONE;
        }
    }
    if (group->next < log->first)
        group->next = log->first;
    while (group->next <= log->last && !mem_record_at(log, group->next))
        ++group->next;
    if (group->next > log->last || is_at_limit(group))
        return ERR_DEADLINE;
    if (!make_pending_room(group))
        return ERR_MEMORY;
    struct mem_pending *pending = &group->pending[group->pending_count++];
    *pending = (struct mem_pending){.position = group->next++};
    *ret = pending;
    return ERR_NONE;
}

/* ---- consumers ---- */

enum err mem_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                           struct bus_consumer **ret)
{
    struct mem_consumer *consumer = mem_zero(1, sizeof *consumer);
    char *group = mem_copy_text(spec->group, strlen(spec->group));
    if (!consumer || !group) {
        mem_free(consumer);
        mem_free(group);
        return ERR_MEMORY;
    }
    consumer->base.log = log;
    consumer->group = group;
    consumer->spec = *spec;
    *ret = &consumer->base;
    return ERR_NONE;
}

void mem_consumer_close(struct bus_consumer *base)
{
    struct mem_consumer *consumer = (struct mem_consumer *)base;
    mem_free(consumer->group);
    mem_free(consumer);
}

enum err mem_consumer_restart(struct bus_consumer *base, int64_t timeout_ms)
{
    struct mem_consumer *consumer = (struct mem_consumer *)base;
    struct mem_log *log = (struct mem_log *)base->log;
    struct mem_bus *bus = mem_bus_of(log);
    (void)timeout_ms;
    pthread_mutex_lock(&bus->lock);
    bool away = bus->away;
    struct mem_group *group = away ? NULL : group_find(log, consumer->group);
    if (group) {
        group->next = 1;
        group->pending_count = 0;
    }
    pthread_mutex_unlock(&bus->lock);
    return away ? ERR_UNAVAILABLE : ERR_NONE;
}

/* Below what was given and not acknowledged, where the log still keeps that. */
static uint64_t floor_of(const struct mem_log *log, const struct mem_group *group)
{
    uint64_t next = group->next;
    for (size_t i = 0; i < group->pending_count; ++i) {
        uint64_t position = group->pending[i].position;
        if (position < next && mem_record_at(log, position))
            next = position;
    }
    return next - 1;
}

enum err mem_consumer_floor(struct bus_consumer *base, int64_t timeout_ms, uint64_t *ret_position)
{
    struct mem_consumer *consumer = (struct mem_consumer *)base;
    struct mem_log *log = (struct mem_log *)base->log;
    struct mem_bus *bus = mem_bus_of(log);
    (void)timeout_ms;
    pthread_mutex_lock(&bus->lock);
    bool away = bus->away;
    const struct mem_group *group = away ? NULL : group_find(log, consumer->group);
    if (!away)
        *ret_position = group ? floor_of(log, group) : 0;
    pthread_mutex_unlock(&bus->lock);
    return away ? ERR_UNAVAILABLE : ERR_NONE;
}

static enum err deliver(struct mem_log *log, struct mem_group *group, struct mem_pending *pending,
                        struct bus_delivery **ret)
{
    struct mem_delivery *d = mem_alloc(sizeof *d);
    char *name = mem_copy_text(group->name, strlen(group->name));
    if (!d || !name) {
        mem_free(d);
        mem_free(name);
        return ERR_MEMORY;
    }
    int64_t now = clock_monotonic_ms(mem_bus_of(log)->options.clock);
    pending->due_ms = now + group->spec.ack_wait_ms;
    d->log = log;
    d->group = name;
    mem_hand_out(mem_record_at(log, pending->position), false, &d->handout);
    d->delivery =
        (struct bus_delivery){.record = &d->handout.box.record, .delivered = ++pending->delivered};
    *ret = &d->delivery;
    return ERR_NONE;
}

/* Fetches what is there; ERR_DEADLINE if that is nothing. */
static enum err fetch_now(struct mem_log *log, struct mem_consumer *consumer,
                          struct bus_delivery **ret, size_t max, size_t *ret_count)
{
    struct mem_bus *bus = mem_bus_of(log);
    mem_expire(log);
    struct mem_group *group = group_of(log, consumer);
    if (!group)
        return ERR_MEMORY;
    size_t count = 0;
    enum err e = ERR_NONE;
    while (count < max && e == ERR_NONE) {
        struct mem_pending *due = NULL;
        e = next_due(log, group, clock_monotonic_ms(bus->options.clock), &due);
        if (e == ERR_NONE)
            e = deliver(log, group, due, &ret[count]);
        count += e == ERR_NONE;
    }
    if (count == 0)
        return e;
    *ret_count = count;
    return ERR_NONE;
}

enum err mem_fetch(struct bus_consumer *base, int64_t timeout_ms, struct bus_delivery **ret,
                   size_t max, size_t *ret_count)
{
    struct mem_consumer *consumer = (struct mem_consumer *)base;
    struct mem_log *log = (struct mem_log *)base->log;
    struct mem_bus *bus = mem_bus_of(log);
    int64_t deadline = mem_deadline(timeout_ms);
    enum err e = ERR_UNAVAILABLE;
    pthread_mutex_lock(&bus->lock);
    do
        e = bus->away ? ERR_UNAVAILABLE : fetch_now(log, consumer, ret, max, ret_count);
    while ((e == ERR_DEADLINE || e == ERR_UNAVAILABLE) && mem_wait(bus, deadline));
    pthread_mutex_unlock(&bus->lock);
    return e;
}

void mem_settle(struct bus_delivery *base, enum bus_settlement how, int64_t delay_ms)
{
    struct mem_delivery *d = (struct mem_delivery *)base;
    struct mem_bus *bus = mem_bus_of(d->log);
    pthread_mutex_lock(&bus->lock);
    struct mem_group *group = bus->away ? NULL : group_find(d->log, d->group);
    struct mem_pending *pending = group ? pending_at(group, base->record->position) : NULL;
    if (pending && how == BUS_ACK)
        pending_remove(group, pending);
    if (pending && how == BUS_ACK && d->log->spec.kind == BUS_LOG_WORK_QUEUE)
        mem_log_work_done(d->log, base->record->position);
    if (pending && how == BUS_RETRY)
        pending->due_ms = clock_monotonic_ms(bus->options.clock) + delay_ms;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    mem_record_release(d->handout.record);
    mem_free(d->group);
    mem_free(d);
}

void mem_progress(struct bus_delivery *base)
{
    struct mem_delivery *d = (struct mem_delivery *)base;
    struct mem_bus *bus = mem_bus_of(d->log);
    pthread_mutex_lock(&bus->lock);
    struct mem_group *group = bus->away ? NULL : group_find(d->log, d->group);
    struct mem_pending *pending = group ? pending_at(group, base->record->position) : NULL;
    if (pending)
        pending->due_ms = clock_monotonic_ms(bus->options.clock) + group->spec.ack_wait_ms;
    pthread_mutex_unlock(&bus->lock);
}
