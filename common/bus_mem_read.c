#include "common/bus_mem_log.h"
#include "common/mem.h"

struct mem_reader {
    struct bus_reader base;
    uint64_t next;           /* position */
    int64_t created_ns;      /* the log's life that is followed */
    struct mem_record *last; /* read; NULL: none yet */
    bool headers_only;
    struct mem_handout *handed; /* until the next call */
    size_t handed_count;
    size_t capacity;
};

enum err mem_reader_open(struct bus_log *base, uint64_t from, bool headers_only,
                         struct bus_reader **ret)
{
    struct mem_log *log = (struct mem_log *)base;
    struct mem_reader *reader = mem_zero(1, sizeof *reader);
    if (!reader)
        return ERR_MEMORY;
    reader->base.log = base;
    reader->next = from;
    reader->headers_only = headers_only;
    pthread_mutex_lock(&mem_bus_of(log)->lock);
    reader->created_ns = log->created_ns;
    pthread_mutex_unlock(&mem_bus_of(log)->lock);
    *ret = &reader->base;
    return ERR_NONE;
}

static void take_back(struct mem_reader *reader)
{
    for (size_t i = 0; i < reader->handed_count; ++i)
        mem_record_release(reader->handed[i].record);
    reader->handed_count = 0;
}

void mem_reader_close(struct bus_reader *base)
{
    struct mem_reader *reader = (struct mem_reader *)base;
    take_back(reader);
    mem_record_release(reader->last);
    mem_free(reader->handed);
    mem_free(reader);
}

/* Is this still the log that was followed? The last record read must be there still, unless it
 * dropped from the head. */
static bool is_stale(const struct mem_reader *reader, const struct mem_log *log)
{
    if (reader->created_ns != log->created_ns || reader->next > log->last + 1)
        return true;
    return reader->last && reader->last->position >= log->first &&
           mem_record_at(log, reader->last->position) != reader->last;
}

/* Passes what is deleted. */
static bool has_next(struct mem_reader *reader, const struct mem_log *log)
{
    if (reader->next < log->first)
        reader->next = log->first;
    while (reader->next <= log->last && !mem_record_at(log, reader->next))
        ++reader->next;
    return reader->next <= log->last;
}

static enum err wait_for_records(struct mem_reader *reader, struct mem_log *log, int64_t deadline)
{
    struct mem_bus *bus = mem_bus_of(log);
    for (;;) {
        mem_expire(log);
        if (!bus->away && is_stale(reader, log))
            return ERR_STALE;
        if (!bus->away && has_next(reader, log))
            return ERR_NONE;
        if (!mem_wait(bus, deadline))
            return bus->away ? ERR_UNAVAILABLE : ERR_DEADLINE;
    }
}

static void hand_out(struct mem_reader *reader, struct mem_log *log, struct bus_record **ret,
                     size_t max, size_t *ret_count)
{
    size_t count = 0;
    for (; count < max && reader->next <= log->last; ++reader->next) {
        struct mem_handout *handout = &reader->handed[count];
        struct mem_record *record = mem_record_at(log, reader->next);
        if (!record)
            continue;
        mem_hand_out(record, reader->headers_only, handout);
        ret[count++] = &handout->box.record;
    }
    reader->handed_count = count;
    *ret_count = count;
    mem_record_release(reader->last);
    reader->last = reader->handed[count - 1].record;
    atomic_fetch_add(&reader->last->refs, 1);
}

enum err mem_reader_next(struct bus_reader *base, int64_t timeout_ms, struct bus_record **ret,
                         size_t max, size_t *ret_count)
{
    struct mem_reader *reader = (struct mem_reader *)base;
    struct mem_log *log = (struct mem_log *)base->log;
    take_back(reader);
    if (max > reader->capacity) {
        struct mem_handout *grown = mem_grow(reader->handed, max, sizeof *grown);
        if (!grown)
            return ERR_MEMORY;
        reader->handed = grown;
        reader->capacity = max;
    }
    pthread_mutex_lock(&mem_bus_of(log)->lock);
    enum err e = wait_for_records(reader, log, mem_deadline(timeout_ms));
    if (e == ERR_NONE)
        hand_out(reader, log, ret, max, ret_count);
    pthread_mutex_unlock(&mem_bus_of(log)->lock);
    return e;
}
