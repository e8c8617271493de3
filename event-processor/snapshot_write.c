#include "common/mem.h"
#include "event-processor/snapshot_parts.h"

#include <zlib.h>

enum { NAMES_BLOCK = 256 << 10 }; /* names are put together until they are so long */

struct writer {
    const struct snapshot_sink *sink;
    uLong crc;        /* of what was written */
    struct buf block; /* the one that is being made */
};

static enum err put(struct writer *writer, const void *bytes, size_t len)
{
    writer->crc = crc32(writer->crc, bytes, (uInt)len);
    return writer->sink->write(writer->sink->ctx, bytes, len);
}

static enum err put_number(struct writer *writer, uint64_t number, size_t size)
{
    uint8_t bytes[8];
    snapshot_store(bytes, number);
    return put(writer, bytes, size);
}

/* Writes the block that was made, and begins another one. */
static enum err end_block(struct writer *writer, enum snapshot_block kind)
{
    struct buf *block = &writer->block;
    if (buf_failed(block))
        return ERR_MEMORY;
    enum err e = put_number(writer, kind, 4);
    if (!e)
        e = put_number(writer, block->len, 4);
    if (!e)
        e = put(writer, block->data, block->len);
    if (!e)
        e = put_number(writer, writer->crc, 4);
    buf_clear(block);
    return e;
}

/* ---- blocks ---- */

static void add_name(struct buf *block, struct view name)
{
    snapshot_add(block, name.len, 1);
    buf_add_view(block, name);
}

static void add_mark(struct buf *block, struct view stream, const struct follower_mark *mark)
{
    add_name(block, stream);
    snapshot_add(block, (uint64_t)mark->created_ns, 8);
    snapshot_add(block, mark->position, 8);
    snapshot_add(block, (uint64_t)mark->time_ms, 8);
}

static enum err write_head(struct writer *writer, const struct snapshot_streams *streams,
                           const struct snapshot_head *head)
{
    enum err e = put(writer, SNAPSHOT_MAGIC, SNAPSHOT_MAGIC_SIZE);
    if (!e)
        e = put_number(writer, SNAPSHOT_VERSION, 4);
    if (e)
        return e;
    add_mark(&writer->block, streams->events, &head->point.events);
    add_mark(&writer->block, streams->statuses, &head->point.statuses);
    snapshot_add(&writer->block, head->first, 8);
    snapshot_add(&writer->block, (uint64_t)head->taken_ms, 8);
    return end_block(writer, SNAPSHOT_HEAD);
}

static enum err write_names(struct writer *writer, struct status_table *table)
{
    enum err e = ERR_NONE;
    struct view name;
    for (uint32_t i = 1; !e && status_table_frozen_name(table, i, &name); i++) {
        add_name(&writer->block, name);
        if (writer->block.len >= NAMES_BLOCK)
            e = end_block(writer, SNAPSHOT_NAMES);
    }
    return !e && writer->block.len > 0 ? end_block(writer, SNAPSHOT_NAMES) : e;
}

static enum err write_replay(struct writer *writer, const struct replay_saved *saved)
{
    const struct replay *replay = &saved->replay;
    struct replay_change change = {
        .id = replay->id,
        .state = replay->state,
        .time_ms = replay->updated_ms,
        .cursor = replay->cursor,
        .letter_cursor = replay->letter_cursor,
        .replayed = replay->replayed,
        .skipped = replay->skipped,
        .has_filter = true,
        .filter = *replay_plan_filter(replay->plan),
        .runner = view_of(replay->runner),
    };
    snapshot_add(&writer->block, replay->begin_position, 8);
    snapshot_add(&writer->block, (uint64_t)replay->started_ms, 8);
    snapshot_add(&writer->block, saved->ended, 8);
    enum err e = status_batch_write_all(NULL, 0, &change, 1, VIEW(""), &writer->block);
    return e ? e : end_block(writer, SNAPSHOT_REPLAY);
}

static enum err write_pages(struct writer *writer, struct status_table *table, uint64_t *ret_cells)
{
    struct frozen_page *page = mem_alloc(sizeof *page);
    if (!page)
        return ERR_MEMORY;
    bool more;
    enum err e;
    while ((e = status_table_frozen_next(table, page, &more)) == ERR_NONE && more) {
        snapshot_add(&writer->block, page->number, 8);
        buf_add(&writer->block, page->present, sizeof page->present);
        buf_add(&writer->block, page->cells, (size_t)page->count * FROZEN_CELL_SIZE);
        *ret_cells += page->count;
        e = end_block(writer, SNAPSHOT_PAGE);
        if (e)
            break;
    }
    mem_free(page);
    return e;
}

static enum err write_end(struct writer *writer, struct status_table *table, uint64_t cells)
{
    snapshot_add(&writer->block, cells, 8);
    snapshot_add(&writer->block, status_table_frozen_first(table), 8);
    return end_block(writer, SNAPSHOT_END);
}

enum err snapshot_write(const struct snapshot_sink *sink, const struct snapshot_streams *streams,
                        const struct snapshot_head *head, struct status_table *table,
                        const struct replays_saved *replays)
{
    struct writer writer = {.sink = sink, .crc = crc32(0, NULL, 0)};
    uint64_t cells = 0;
    buf_init(&writer.block, SNAPSHOT_BLOCK_MAX);
    enum err e = write_head(&writer, streams, head);
    if (!e)
        e = write_names(&writer, table);
    for (size_t i = 0; i < replays->count && !e; i++)
        e = write_replay(&writer, &replays->list[i]);
    if (!e)
        e = write_pages(&writer, table, &cells);
    if (!e)
        e = write_end(&writer, table, cells);
    buf_free(&writer.block);
    return e;
}
