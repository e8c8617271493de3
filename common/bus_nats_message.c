#include "common/bus_nats.h"

#include "common/mem.h"

#include <stdlib.h>
#include <strings.h>

/* ---- memory ---- */

/* nats.c's own, of which natsMsg_Destroy asks whether a thread takes the message and frees it
 * later: one thread for the whole process, with a list that has no bounds. On a machine that is
 * busy it falls behind by tens of megabytes of what has long been read. The library exports the
 * function, so the program's own one is asked in its place: no, free it now.
 * https://github.com/nats-io/nats.c/blob/v3.4.1/src/gc.h */
bool natsGC_collect(void *item);

bool natsGC_collect(void *item)
{
    (void)item;
    return false;
}

/* ---- JetStream's reply subjects ---- */

/* $JS.ACK.<stream>.<consumer>.<delivered>.<position>.<delivery>.<time>.<pending>: 9 tokens, or,
 * with <domain>.<account hash> behind $JS.ACK and perhaps a random token at the end, 11 and more.
 * https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-15.md */
enum { OLD_TOKENS = 9, NEW_TOKENS = 11, TOKENS_MAX = 16 };

bool nats_origin_parse(const char *reply, struct nats_origin *ret)
{
    const char *tokens[TOKENS_MAX];
    int count = 0;
    uint64_t numbers[5];
    if (!reply || strncmp(reply, "$JS.ACK.", 8) != 0)
        return false;
    for (const char *at = reply; at && count < TOKENS_MAX; at = at ? at + 1 : NULL) {
        tokens[count++] = at;
        at = strchr(at, '.');
        if (!at)
            break;
    }
    if (count != OLD_TOKENS && count < NEW_TOKENS)
        return false;
    int first = count == OLD_TOKENS ? 4 : 6;
    for (int i = 0; i < 5; ++i) {
        struct view token = {tokens[first + i], strcspn(tokens[first + i], ".")};
        if (!view_parse_u64(token, &numbers[i]))
            return false;
    }
    *ret = (struct nats_origin){.delivered = (uint32_t)numbers[0],
                                .position = numbers[1],
                                .delivery = numbers[2],
                                .time_ns = (int64_t)numbers[3],
                                .pending = numbers[4]};
    return true;
}

/* ---- headers ---- */

/* natsMsgHeader_Get makes a table of all headers first, some forty allocations for an event: too
 * much for a log's reader. The headers as received lie in front of the payload, and nothing in
 * nats.c's interface says where:
 *     subject NUL reply NUL headers NUL payload NUL
 * in one block. That holds for the versions below (natsMsg_create); any other takes the slow
 * way. */
static bool layout_is_known(void)
{
    uint32_t version = nats_GetVersionNumber();
    return version >= 0x030401 && version < 0x030E00;
}

/* The block of headers, "NATS/1.0 ..." to the empty line; empty if there are none or the layout
 * isn't known. */
static struct view raw_headers(natsMsg *msg)
{
    const char *before = natsMsg_GetReply(msg);
    const char *data = natsMsg_GetData(msg);
    if (!layout_is_known())
        return VIEW("");
    if (!before)
        before = natsMsg_GetSubject(msg);
    const char *start = before + strlen(before) + 1;
    if (start >= data || strncmp(start, "NATS/1.0", 8) != 0)
        return VIEW("");
    return (struct view){start, (size_t)(data - start) - 1};
}

static struct view trimmed(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        ++from;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
        --to;
    return (struct view){from, (size_t)(to - from)};
}

/* The next line of a block of headers, without its line feed. *at: the line feed before it, at
 * first that of "NATS/1.0". */
static bool next_line(struct view block, const char **at, struct view *ret)
{
    const char *end = block.data + block.len;
    const char *line = *at ? *at + 1 : end;
    const char *stop = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    if (!stop)
        return false;
    *ret = (struct view){line, (size_t)(stop - line)};
    *at = stop;
    return true;
}

static bool has_name(struct view line, struct view name)
{
    return line.len > name.len && line.data[name.len] == ':' &&
           view_equal_nocase((struct view){line.data, name.len}, name);
}

/* The first of several, or the last. */
static struct view find_header(struct view block, struct view name, bool last)
{
    const char *at = memchr(block.data, '\n', block.len);
    struct view value = VIEW("");
    struct view line;
    bool found = false;
    while ((last || !found) && next_line(block, &at, &line)) {
        if (!has_name(line, name))
            continue;
        value = trimmed(line.data + name.len + 1, line.data + line.len);
        found = true;
    }
    return value;
}

static size_t all_headers(struct view block, struct bus_header_view *ret, size_t max)
{
    const char *at = memchr(block.data, '\n', block.len);
    struct view line;
    size_t count = 0;
    while (next_line(block, &at, &line)) {
        const char *colon = memchr(line.data, ':', line.len);
        if (!colon || colon == line.data)
            continue;
        if (count < max)
            ret[count] = (struct bus_header_view){{line.data, (size_t)(colon - line.data)},
                                                  trimmed(colon + 1, line.data + line.len)};
        ++count;
    }
    return count;
}

struct view nats_raw_header(natsMsg *msg, const char *name)
{
    const char **values = NULL;
    int count = 0;
    if (layout_is_known())
        return find_header(raw_headers(msg), view_of(name), true);
    if (natsMsgHeader_Values(msg, name, &values, &count) != NATS_OK)
        return VIEW("");
    struct view last = count > 0 ? view_of(values[count - 1]) : VIEW("");
    free((void *)values); /* nats.c's */
    return last;
}

int nats_status_of(natsMsg *msg)
{
    const char *value = NULL;
    if (natsMsg_GetDataLength(msg) > 0)
        return 0;
    if (!layout_is_known())
        return natsMsgHeader_Get(msg, "Status", &value) == NATS_OK ? atoi(value) : 0;
    struct view block = raw_headers(msg);
    return block.len > 9 && block.data[8] == ' ' ? atoi(block.data + 9) : 0;
}

/* The words behind the number: "NATS/1.0 409 Consumer Deleted". */
bool nats_status_says(natsMsg *msg, const char *text)
{
    const char *value = "";
    struct view block = raw_headers(msg);
    if (layout_is_known())
        return memmem(block.data, block.len, text, strlen(text)) != NULL;
    return natsMsgHeader_Get(msg, "Description", &value) == NATS_OK && strstr(value, text);
}

/* ---- records ---- */

void nats_record_fill(struct nats_record *record, natsMsg *msg, const struct nats_origin *origin)
{
    record->msg = msg;
    record->subject = NULL;
    record->raw = layout_is_known();
    record->box.driver = &bus_nats_driver;
    record->box.record = (struct bus_record){
        .position = origin->position,
        .time_ms = origin->time_ns / 1000000,
        .subject = natsMsg_GetSubject(msg),
        .payload = {natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)},
    };
}

/* natsMsgHeader_Get compares with case. */
static struct view get_header(natsMsg *msg, const char *name)
{
    const char **names = NULL;
    const char *value = NULL;
    int count = 0;
    if (natsMsgHeader_Keys(msg, &names, &count) != NATS_OK)
        return VIEW("");
    for (int i = 0; i < count && !value; ++i)
        if (strcasecmp(names[i], name) == 0 && natsMsgHeader_Get(msg, names[i], &value) != NATS_OK)
            value = NULL;
    free((void *)names); /* nats.c's */
    return value ? view_of(value) : VIEW("");
}

struct view nats_record_header(const struct bus_record *base, const char *name)
{
    const struct nats_record *record = (const struct nats_record *)bus_record_box_of(base);
    if (record->raw)
        return find_header(raw_headers(record->msg), view_of(name), false);
    return get_header(record->msg, name);
}

static size_t get_values(natsMsg *msg, const char *name, struct bus_header_view *ret, size_t max)
{
    const char **values = NULL;
    int count = 0;
    if (natsMsgHeader_Values(msg, name, &values, &count) != NATS_OK)
        return 0;
    for (size_t i = 0; i < (size_t)count && i < max; ++i)
        ret[i] = (struct bus_header_view){view_of(name), view_of(values[i])};
    free((void *)values); /* nats.c's */
    return (size_t)count;
}

/* The names in an order of nats.c's own, the values of each as they came. */
static size_t get_headers(natsMsg *msg, struct bus_header_view *ret, size_t max)
{
    const char **names = NULL;
    int name_count = 0;
    size_t count = 0;
    if (natsMsgHeader_Keys(msg, &names, &name_count) != NATS_OK)
        return 0;
    for (int i = 0; i < name_count; ++i) {
        size_t room = count < max ? max - count : 0;
        count += get_values(msg, names[i], ret + (room ? count : 0), room);
    }
    free((void *)names);
    return count;
}

size_t nats_record_headers(const struct bus_record *base, struct bus_header_view *ret, size_t max)
{
    const struct nats_record *record = (const struct nats_record *)bus_record_box_of(base);
    if (record->raw)
        return all_headers(raw_headers(record->msg), ret, max);
    return get_headers(record->msg, ret, max);
}

void nats_record_free(struct bus_record *base)
{
    struct nats_record *record = (struct nats_record *)bus_record_box_of(base);
    natsMsg_Destroy(record->msg);
    mem_free(record->subject);
    mem_free(record);
}
