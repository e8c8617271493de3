#include "common/json_string.h"

#include "common/mem.h"

#include <cjson/cJSON.h>
#include <pthread.h>

static _Thread_local bool memory_is_short;

static void *cjson_alloc(size_t size)
{
    void *block = mem_alloc(size);

    if (!block)
        memory_is_short = true;
    return block;
}

static void set_hooks(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = cjson_alloc, .free_fn = mem_free});
}

static enum err fail_memory(struct err_detail *detail)
{
    return err_set(detail, ERR_MEMORY, "no memory to read the event");
}

/* `quoted` has its quotes. */
static enum err unescape(struct view quoted, struct buf *out, struct view *ret,
                         struct err_detail *detail)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t start = out->len;
    cJSON *item;

    pthread_once(&once, set_hooks);
    memory_is_short = false;
    item = cJSON_ParseWithLengthOpts(quoted.data, quoted.len, NULL, 0);
    if (!item && memory_is_short)
        return fail_memory(detail);
    if (!item || !cJSON_IsString(item)) {
        cJSON_Delete(item);
        return err_set(detail, ERR_MALFORMED, "not a JSON string");
    }
    buf_add_text(out, item->valuestring);
    cJSON_Delete(item);
    if (buf_failed(out))
        return fail_memory(detail);
    *ret = (struct view){out->data + start, out->len - start};
    return ERR_NONE;
}

enum err json_string_decode(struct view raw, struct buf *out, struct view *ret,
                            struct err_detail *detail)
{
    if (!json_string_has_escapes(raw)) {
        *ret = raw;
        return ERR_NONE;
    }
    return unescape((struct view){raw.data - 1, raw.len + 2}, out, ret, detail);
}
