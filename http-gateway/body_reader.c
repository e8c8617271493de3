#include "http-gateway/body_reader.h"

#include "common/clock.h"
#include "common/mem.h"

enum err body_reader_init(struct body_reader *reader, struct http_request *request,
                          enum content_coding coding, uint64_t free_bytes,
                          struct err_detail *detail)
{
    *reader = (struct body_reader){.request = request};
    if (coding == CODING_IDENTITY)
        return ERR_NONE;
    reader->bytes = mem_alloc(BODY_READER_RAW);
    if (!reader->bytes || decoder_new(coding, free_bytes, &reader->decoder)) {
        body_reader_free(reader);
        return err_set(detail, ERR_MEMORY, "no memory to decode the body");
    }
    return ERR_NONE;
}

void body_reader_free(struct body_reader *reader)
{
    decoder_free(reader->decoder);
    mem_free(reader->bytes);
    reader->bytes = NULL;
    reader->decoder = NULL;
}

/* Bytes may arrive for ever of which nothing is made: what has arrived counts as nothing. */
static enum err read_raw(struct body_reader *reader, int64_t end_ms, size_t *ret,
                         struct err_detail *detail)
{
    int64_t left_ms = end_ms - clock_monotonic_ms(&clock_system);

    if (left_ms <= 0)
        return err_set(detail, ERR_SLOW, "the body did not go on in time");
    return http_body_read(reader->request, left_ms, reader->bytes, BODY_READER_RAW, ret, detail);
}

enum err body_reader_read(struct body_reader *reader, int64_t timeout_ms, char *to, size_t room,
                          size_t *ret, struct err_detail *detail)
{
    int64_t end_ms = clock_monotonic_ms(&clock_system) + timeout_ms;
    size_t arrived = 0, decoded = 0;
    enum err e;

    if (!reader->decoder)
        return http_body_read(reader->request, timeout_ms, to, room, ret, detail);
    for (;;) {
        e = decoder_run(reader->decoder, &reader->raw, to, room, &decoded, detail);
        if (e || decoded > 0)
            break;
        e = read_raw(reader, end_ms, &arrived, detail);
        if (!e && arrived == 0)
            e = decoder_end(reader->decoder, detail);
        if (e || arrived == 0)
            break;
        reader->raw = (struct view){reader->bytes, arrived};
    }
    if (!e)
        *ret = decoded;
    return e;
}
