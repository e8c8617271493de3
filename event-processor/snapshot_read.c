#include "common/mem.h"
#include "event-processor/snapshot_parts.h"
#include "event-processor/status_names.h"

#include <zlib.h>

struct reader {
    const struct snapshot_source *source;
    const struct snapshot_streams *streams;
    struct err_detail *detail;
    uLong crc;        /* of what was read */
    struct buf block; /* the one that was read, ... */
    uint32_t kind;    /* ... and what it is */
    struct snapshot_head head;
    struct status_table *table;
    struct replays *replays;
    struct frozen_frame frame;
    struct frozen_page *page;
    uint64_t cells;
};

static enum err malformed(struct reader *reader, const char *what)
{
    return err_set(reader->detail, ERR_MALFORMED, "it is damaged: %s", what);
}

static enum err unreadable(struct reader *reader, enum err e)
{
    return err_set(reader->detail, e, "it cannot be read: %s", err_title(e));
}

/* ---- bytes ---- */

static enum err get(struct reader *reader, void *bytes, size_t len)
{
    size_t got = 0;
    enum err e = reader->source->read(reader->source->ctx, bytes, len, &got);
    if (e)
        return unreadable(reader, e);
    if (got < len)
        return malformed(reader, "its end is missing");
    reader->crc = crc32(reader->crc, bytes, (uInt)len);
    return ERR_NONE;
}

static enum err get_number(struct reader *reader, uint64_t *ret, size_t size)
{
    char bytes[8];
    enum err e = get(reader, bytes, size);
    if (!e)
        *ret = snapshot_number(bytes, size);
    return e;
}

/* So much at once: a length is not trusted before there are so many bytes. */
static enum err get_block_bytes(struct reader *reader, size_t len)
{
    enum { AT_ONCE = 256 << 10 };
    enum err e = ERR_NONE;
    buf_clear(&reader->block);
    for (size_t left = len; left > 0 && !e;) {
        size_t part = left < AT_ONCE ? left : AT_ONCE;
        char *to = buf_reserve(&reader->block, part);
        if (!to)
            return err_set(reader->detail, ERR_MEMORY, "out of memory");
        e = get(reader, to, part);
        if (!e)
            buf_advance(&reader->block, part);
        left -= part;
    }
    return e;
}

static enum err get_block(struct reader *reader)
{
    uint64_t kind, len, crc;
    enum err e = get_number(reader, &kind, 4);
    if (!e)
        e = get_number(reader, &len, 4);
    if (!e && len > SNAPSHOT_BLOCK_MAX)
        e = malformed(reader, "a length that cannot be");
    if (!e)
        e = get_block_bytes(reader, (size_t)len);
    uLong expected = reader->crc;
    if (!e)
        e = get_number(reader, &crc, 4);
    if (!e && crc != expected)
        e = malformed(reader, "a checksum does not fit");
    if (!e && (kind < reader->kind || (kind == reader->kind && kind == SNAPSHOT_HEAD)))
        e = malformed(reader, "a block is not in its place");
    if (!e)
        reader->kind = (uint32_t)kind;
    return e;
}

/* What is left of a block. */
struct rest {
    const char *at;
    size_t len;
    bool failed;
};

static struct rest rest_of(const struct reader *reader)
{
    return (struct rest){.at = reader->block.data, .len = reader->block.len};
}

static const char *take(struct rest *rest, size_t len)
{
    const char *at = rest->at;
    if (rest->failed || rest->len < len) {
        rest->failed = true;
        return NULL;
    }
    rest->at += len;
    rest->len -= len;
    return at;
}

static uint64_t take_number(struct rest *rest, size_t size)
{
    const char *at = take(rest, size);
    return at ? snapshot_number(at, size) : 0;
}

static struct view take_name(struct rest *rest)
{
    size_t len = (size_t)take_number(rest, 1);
    const char *at = take(rest, len);
    return (struct view){at, at ? len : 0};
}

/* ---- blocks ---- */

/* False: it is of another stream. */
static bool take_mark(struct rest *rest, struct view stream, struct follower_mark *ret)
{
    bool ours = view_equal(take_name(rest), stream);
    ret->created_ns = (int64_t)take_number(rest, 8);
    ret->position = take_number(rest, 8);
    ret->time_ms = (int64_t)take_number(rest, 8);
    return ours;
}

static bool is_possible(const struct snapshot_head *head)
{
    const struct follower_point *point = &head->point;
    return point->events.position <= STATUS_TABLE_POSITION_MAX &&
           point->statuses.position <= STATUS_TABLE_POSITION_MAX &&
           head->first <= point->events.position + 1;
}

static enum err read_head(struct reader *reader)
{
    char magic[SNAPSHOT_MAGIC_SIZE];
    uint64_t version;
    enum err e = get(reader, magic, sizeof magic);
    if (!e && memcmp(magic, SNAPSHOT_MAGIC, sizeof magic) != 0)
        e = malformed(reader, "it is no snapshot");
    if (!e)
        e = get_number(reader, &version, 4);
    if (!e && version != SNAPSHOT_VERSION)
        e = err_set(reader->detail, ERR_UNIMPLEMENTED, "it has version %llu, this program's is %d",
                    (unsigned long long)version, SNAPSHOT_VERSION);
    if (!e)
        e = get_block(reader);
    if (e)
        return e;
    struct snapshot_head *head = &reader->head;
    struct rest rest = rest_of(reader);
    bool ours = take_mark(&rest, reader->streams->events, &head->point.events);
    ours = take_mark(&rest, reader->streams->statuses, &head->point.statuses) && ours;
    head->first = take_number(&rest, 8);
    head->taken_ms = (int64_t)take_number(&rest, 8);
    if (reader->kind != SNAPSHOT_HEAD || rest.failed || rest.len > 0 || !is_possible(head))
        return malformed(reader, "its head");
    return ours ? ERR_NONE : err_set(reader->detail, ERR_STALE, "it is of other streams");
}

static enum err read_names(struct reader *reader)
{
    struct rest rest = rest_of(reader);
    while (rest.len > 0 && !rest.failed) {
        struct view name = take_name(&rest);
        if (rest.failed || reader->frame.name_count == STATUS_NAMES_MAX)
            return malformed(reader, "its names");
        reader->frame.names[reader->frame.name_count++] =
            status_table_restore_name(reader->table, name);
    }
    return ERR_NONE;
}

static enum err read_replay(struct reader *reader)
{
    struct status_batch *batch = NULL;
    struct rest rest = rest_of(reader);
    uint64_t begin_position = take_number(&rest, 8);
    int64_t started_ms = (int64_t)take_number(&rest, 8);
    uint64_t ended = take_number(&rest, 8);
    if (rest.failed || begin_position > reader->head.point.statuses.position)
        return malformed(reader, "a replay");
    enum err e = status_batch_read((struct view){rest.at, rest.len}, &batch);
    if (!e && (status_batch_count(batch) != 0 || status_batch_replay_count(batch) != 1))
        e = ERR_MALFORMED;
    if (!e && reader->replays) {
        struct replay_change change = status_batch_replay(batch, 0);
        e = replays_restore(reader->replays, &change, begin_position, started_ms, ended);
    }
    status_batch_free(batch);
    return e == ERR_MALFORMED ? malformed(reader, "a replay") : e;
}

static uint32_t bits_of(const uint8_t *bytes, size_t len)
{
    uint32_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += (uint32_t)__builtin_popcount(bytes[i]);
    return count;
}

static enum err read_page(struct reader *reader)
{
    struct frozen_page *page = reader->page;
    struct rest rest = rest_of(reader);
    page->number = take_number(&rest, 8);
    const char *present = take(&rest, sizeof page->present);
    if (!present || page->number > STATUS_TABLE_POSITION_MAX / FROZEN_PAGE_CELLS)
        return malformed(reader, "a page");
    memcpy(page->present, present, sizeof page->present);
    page->count = bits_of(page->present, sizeof page->present);
    if (rest.len != (size_t)page->count * FROZEN_CELL_SIZE)
        return malformed(reader, "a page");
    memcpy(page->cells, rest.at, rest.len);
    reader->cells += page->count;
    enum err e = status_table_restore(reader->table, &reader->frame, page);
    return e == ERR_MALFORMED ? malformed(reader, "a page") : e;
}

static enum err read_end(struct reader *reader)
{
    char more;
    size_t got = 0;
    struct rest rest = rest_of(reader);
    uint64_t cells = take_number(&rest, 8);
    uint64_t first = take_number(&rest, 8);
    if (rest.failed || rest.len > 0 || cells != reader->cells || first > STATUS_TABLE_POSITION_MAX)
        return malformed(reader, "cells are missing");
    enum err e = reader->source->read(reader->source->ctx, &more, 1, &got);
    if (e)
        return unreadable(reader, e);
    if (got > 0)
        return malformed(reader, "it goes on behind its end");
    return status_table_restore_end(reader->table, &reader->frame, first);
}

static enum err read_block(struct reader *reader)
{
    switch (reader->kind) {
    case SNAPSHOT_NAMES:
        return read_names(reader);
    case SNAPSHOT_REPLAY:
        return read_replay(reader);
    case SNAPSHOT_PAGE:
        return read_page(reader);
    case SNAPSHOT_END:
        return read_end(reader);
    default:
        return malformed(reader, "a block of an unknown kind");
    }
}

/* ---- the whole ---- */

static void begin(struct reader *reader)
{
    const struct snapshot_head *head = &reader->head;
    struct frozen_frame *frame = &reader->frame;
    frame->event_position = head->point.events.position;
    frame->status_position = head->point.statuses.position;
    frame->first = head->first;
    frame->names[0] = 0;
    frame->name_count = 1;
    status_table_write_begin(reader->table);
    status_table_restore_begin(reader->table, frame, reader->source->size / FROZEN_CELL_SIZE);
    status_table_write_end(reader->table);
}

static enum err read_rest(struct reader *reader)
{
    enum err e = ERR_NONE;
    while (!e && reader->kind != SNAPSHOT_END) {
        e = get_block(reader);
        if (e)
            break;
        status_table_write_begin(reader->table);
        e = read_block(reader);
        status_table_write_end(reader->table);
    }
    return e;
}

static void empty(struct reader *reader)
{
    status_table_write_begin(reader->table);
    status_table_reset(reader->table);
    if (reader->replays)
        replays_reset(reader->replays);
    status_table_write_end(reader->table);
}

static struct reader reader_on(const struct snapshot_source *source,
                               const struct snapshot_streams *streams, struct err_detail *detail)
{
    struct reader reader = {
        .source = source, .streams = streams, .detail = detail, .crc = crc32(0, NULL, 0)};
    buf_init(&reader.block, SNAPSHOT_BLOCK_MAX);
    return reader;
}

enum err snapshot_read_head(const struct snapshot_source *source,
                            const struct snapshot_streams *streams, struct snapshot_head *ret,
                            struct err_detail *detail)
{
    struct reader reader = reader_on(source, streams, detail);
    enum err e = read_head(&reader);
    if (!e)
        *ret = reader.head;
    buf_free(&reader.block);
    return e;
}

enum err snapshot_read(const struct snapshot_source *source, const struct snapshot_streams *streams,
                       struct status_table *table, struct replays *replays,
                       struct snapshot_head *ret, struct err_detail *detail)
{
    struct reader reader = reader_on(source, streams, detail);
    reader.table = table;
    reader.replays = replays;
    reader.frame.names = mem_alloc(STATUS_NAMES_MAX * sizeof *reader.frame.names);
    reader.page = mem_alloc(sizeof *reader.page);
    enum err e = reader.frame.names && reader.page ? read_head(&reader) : ERR_MEMORY;
    if (!e) {
        begin(&reader);
        e = read_rest(&reader);
    }
    if (e == ERR_MEMORY)
        err_set(detail, e, "out of memory");
    if (e)
        empty(&reader);
    else
        *ret = reader.head;
    mem_free(reader.page);
    mem_free(reader.frame.names);
    buf_free(&reader.block);
    return e;
}
