#include "common/bus_mem_log.h"

#include "common/mem.h"

#include <time.h>

/* ---- time ---- */

enum { LONGEST_WAIT_MS = 5 };

static int64_t real_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t mem_deadline(int64_t timeout_ms)
{
    return real_now_ms() + timeout_ms;
}

bool mem_wait(struct mem_bus *bus, int64_t deadline_ms)
{
    int64_t now = real_now_ms();
    if (now >= deadline_ms)
        return false;
    int64_t until = now + LONGEST_WAIT_MS < deadline_ms ? now + LONGEST_WAIT_MS : deadline_ms;
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_cond_timedwait(&bus->changed, &bus->lock, &at);
    return true;
}

/* ---- records ---- */

static char *put(char **end, const char *bytes, size_t len)
{
    char *start = *end;
    if (len > 0)
        memcpy(start, bytes, len);
    start[len] = '\0';
    *end += len + 1;
    return start;
}

static size_t record_size(const struct bus_message *m)
{
    size_t size = sizeof(struct mem_record) + m->header_count * sizeof(struct bus_header);
    size += strlen(m->subject) + 1 + m->payload.len + 1;
    size += m->message_id ? strlen(m->message_id) + 1 : 0;
    for (size_t i = 0; i < m->header_count; ++i)
        size += strlen(m->headers[i].name) + 1 + m->headers[i].value.len + 1;
    return size;
}

uint64_t mem_message_bytes(const struct bus_message *m)
{
    uint64_t bytes = strlen(m->subject) + m->payload.len;
    for (size_t i = 0; i < m->header_count; ++i)
        bytes += strlen(m->headers[i].name) + m->headers[i].value.len + 4;
    return bytes;
}

/* One block: the record, its headers, then all texts. */
static struct mem_record *record_make(const struct bus_message *m)
{
    struct mem_record *record = mem_alloc(record_size(m));
    if (!record)
        return NULL;
    *record = (struct mem_record){.refs = 1, .header_count = 0, .bytes = mem_message_bytes(m)};
    record->headers = (struct bus_header *)(record + 1);
    char *end = (char *)(record->headers + m->header_count);
    record->subject = put(&end, m->subject, strlen(m->subject));
    if (m->message_id)
        record->message_id = put(&end, m->message_id, strlen(m->message_id));
    record->payload = (struct view){put(&end, m->payload.data, m->payload.len), m->payload.len};
    for (size_t i = 0; i < m->header_count; ++i) {
        const struct bus_header *from = &m->headers[i];
        struct bus_header *to = &record->headers[record->header_count];
        if (from->value.len == 0)
            continue;
        to->name = put(&end, from->name, strlen(from->name));
        to->value = (struct view){put(&end, from->value.data, from->value.len), from->value.len};
        ++record->header_count;
    }
    return record;
}

void mem_record_release(struct mem_record *record)
{
    if (record && atomic_fetch_sub(&record->refs, 1) == 1)
        mem_free(record);
}

void mem_hand_out(struct mem_record *record, bool headers_only, struct mem_handout *ret)
{
    atomic_fetch_add(&record->refs, 1);
    ret->record = record;
    ret->box.driver = &bus_mem_driver;
    ret->box.record = (struct bus_record){.position = record->position,
                                          .time_ms = record->time_ms,
                                          .subject = record->subject,
                                          .payload = headers_only ? VIEW("") : record->payload};
}

struct view mem_record_header(const struct bus_record *record, const char *name)
{
    const struct mem_record *of = mem_handout_of(record)->record;
    for (size_t i = 0; i < of->header_count; ++i)
        if (view_equal_nocase(view_of(of->headers[i].name), view_of(name)))
            return of->headers[i].value;
    return VIEW("");
}

size_t mem_record_headers(const struct bus_record *record, struct bus_header_view *ret, size_t max)
{
    const struct mem_record *of = mem_handout_of(record)->record;
    for (size_t i = 0; i < of->header_count && i < max; ++i)
        ret[i] = (struct bus_header_view){view_of(of->headers[i].name), of->headers[i].value};
    return of->header_count;
}

/* ---- message ids ---- */

static size_t chain_of(const char *message_id)
{
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (; *message_id; ++message_id)
        hash = (hash ^ (unsigned char)*message_id) * 1099511628211U;
    return hash % MEM_CHAINS;
}

struct mem_record *mem_find_message_id(const struct mem_log *log, const char *message_id)
{
    const struct clock *clock = mem_bus_of(log)->options.clock;
    int64_t since = clock_wall_ms(clock) - log->spec.duplicate_window_ms;
    struct mem_record *r = log->chains[chain_of(message_id)];
    while (r && (r->time_ms < since || strcmp(r->message_id, message_id) != 0))
        r = r->same_chain;
    return r;
}

static void unchain(struct mem_log *log, struct mem_record *record)
{
    if (!record->message_id)
        return;
    struct mem_record **link = &log->chains[chain_of(record->message_id)];
    while (*link != record)
        link = &(*link)->same_chain;
    *link = record->same_chain;
}

/* ---- the log ---- */

void mem_log_delete(struct mem_log *log, uint64_t position)
{
    struct mem_record *record = mem_record_at(log, position);
    if (!record)
        return;
    log->records[position - log->first] = NULL;
    unchain(log, record);
    log->bytes -= record->bytes;
    mem_record_release(record);
}

void mem_log_work_done(struct mem_log *log, uint64_t position)
{
    struct mem_record *record = mem_record_at(log, position);
    if (!record)
        return;
    log->records[position - log->first] = NULL;
    log->bytes -= record->bytes;
    if (!record->message_id)
        mem_record_release(record);
}

static void drop_first(struct mem_log *log)
{
    size_t kept = (size_t)(log->last - log->first);
    mem_log_delete(log, log->first);
    memmove(log->records, log->records + 1, kept * sizeof *log->records);
    ++log->first;
}

static bool is_first_old(const struct mem_log *log, int64_t since_ms)
{
    const struct mem_record *first = mem_record_at(log, log->first);
    return log->first <= log->last && (!first || first->time_ms < since_ms);
}

void mem_expire(struct mem_log *log)
{
    int64_t since_ms = INT64_MIN; /* deleted ones are dropped from the head in any case */
    if (log->spec.max_age_ms > 0)
        since_ms = clock_wall_ms(mem_bus_of(log)->options.clock) - log->spec.max_age_ms;
    while (is_first_old(log, since_ms))
        drop_first(log);
}

uint64_t mem_log_count(const struct mem_log *log)
{
    uint64_t count = 0;
    for (uint64_t position = log->first; position <= log->last; ++position)
        count += mem_record_at(log, position) != NULL;
    return count;
}

void mem_log_cut(struct mem_log *log, uint64_t last)
{
    for (; log->last > last && log->last >= log->first; --log->last)
        mem_log_delete(log, log->last);
    if (log->last > last) { /* it holds nothing */
        log->last = last;
        log->first = last + 1;
    }
}

void mem_log_purge(struct mem_log *log)
{
    for (uint64_t position = log->first; position <= log->last; ++position) {
        struct mem_record *record = mem_record_at(log, position);
        if (record && !record->message_id)
            mem_record_release(record);
    }
    log->bytes = 0;
    log->first = log->last + 1;
}

/* Of a log that holds nothing any more. */
static void forget_message_ids(struct mem_log *log)
{
    for (size_t i = 0; i < MEM_CHAINS; ++i) {
        while (log->chains[i]) {
            struct mem_record *next = log->chains[i]->same_chain;
            mem_record_release(log->chains[i]);
            log->chains[i] = next;
        }
    }
}

void mem_log_clear(struct mem_log *log)
{
    mem_log_cut(log, 0);
    forget_message_ids(log);
    log->first = 1;
    log->last = 0;
}

static enum err make_room(struct mem_log *log)
{
    size_t count = (size_t)(log->last + 1 - log->first);
    if (count < log->capacity)
        return ERR_NONE;
    size_t capacity = log->capacity ? log->capacity * 2 : 64;
    struct mem_record **grown = mem_grow(log->records, capacity, sizeof *grown);
    if (!grown)
        return ERR_MEMORY;
    log->records = grown;
    log->capacity = capacity;
    return ERR_NONE;
}

enum err mem_append(struct mem_log *log, const struct bus_message *message, uint64_t *ret_position)
{
    if (log->spec.max_bytes && log->bytes + mem_message_bytes(message) > log->spec.max_bytes)
        return ERR_FULL;
    struct mem_record *record = record_make(message);
    if (!record || make_room(log) != ERR_NONE) {
        mem_free(record);
        return ERR_MEMORY;
    }
    record->position = log->last + 1;
    record->time_ms = clock_wall_ms(mem_bus_of(log)->options.clock);
    log->records[record->position - log->first] = record;
    log->last = record->position;
    log->bytes += record->bytes;
    if (record->message_id) {
        struct mem_record **chain = &log->chains[chain_of(record->message_id)];
        record->same_chain = *chain;
        *chain = record;
    }
    *ret_position = record->position;
    return ERR_NONE;
}
