/* Any bytes: status_batch_read refuses them, or what it gives can be read in full and written
 * again. */
#include "common/mem.h"
#include "common/status_batch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct status_batch *batch)
{
    size_t count = status_batch_count(batch);
    struct status_change *changes = mem_zero(count, sizeof *changes);
    struct status_batch *again = NULL;
    struct buf b;
    buf_init(&b, 64u << 20);
    for (size_t i = 0; i < count; i++)
        changes[i] = status_batch_get(batch, i);
    if (status_batch_write(changes, count, status_batch_processor(batch), &b) != ERR_NONE ||
        status_batch_read(buf_view(&b), &again) != ERR_NONE || status_batch_count(again) != count)
        abort();
    status_batch_free(again);
    buf_free(&b);
    mem_free(changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status_batch *batch = NULL;
    if (status_batch_read((struct view){(const char *)data, size}, &batch) == ERR_NONE)
        write_again(batch);
    status_batch_free(batch);
    return 0;
}
