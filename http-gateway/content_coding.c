#include "http-gateway/content_coding.h"

#include "common/mem.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define STEP 16384        /* the first room for a body */
#define WINDOW_LOG_MAX 23 /* 8 MiB: RFC 9659, section 3 */
#define GZIP_BITS (15 + 16)

/* ---- what a request says ---- */

static bool parse(struct view name, enum content_coding *ret)
{
    static const struct {
        const char *name;
        enum content_coding coding;
    } table[] = {
        {"gzip", CODING_GZIP}, {"x-gzip", CODING_GZIP}, /* RFC 9110, section 8.4.1.3 */
        {"zstd", CODING_ZSTD}, {"identity", CODING_IDENTITY}, {"", CODING_IDENTITY},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (!view_equal_nocase(name, view_of(table[i].name)))
            continue;
        *ret = table[i].coding;
        return true;
    }
    return false;
}

enum err content_coding_of(const struct http_request *request, struct http_response *response,
                           enum content_coding *ret, struct err_detail *detail)
{
    enum content_coding found = CODING_IDENTITY, one;
    struct view name;

    for (int at = 0; http_header_next(request, "Content-Encoding", &at, &name);) {
        bool known = parse(name, &one);

        if (known && (one == CODING_IDENTITY || found == CODING_IDENTITY)) {
            found = one == CODING_IDENTITY ? found : one;
            continue;
        }
        http_add_header(response, "Accept-Encoding", VIEW(CONTENT_CODINGS));
        return err_set(detail, ERR_MEDIA_TYPE,
                       "Content-Encoding is \"%.*s\"; allowed is one of " CONTENT_CODINGS,
                       (int)(name.len < 80 ? name.len : 80), name.data);
    }
    *ret = found;
    return ERR_NONE;
}

/* ---- decoders ---- */

struct decoder {
    enum content_coding coding;
    uint64_t free_bytes;
    uint64_t taken, made; /* bytes so far */
    bool whole;           /* nothing is missing */
    z_stream gzip;
    ZSTD_DCtx *zstd;
};

static void *gzip_alloc(void *ctx, unsigned count, unsigned size)
{
    (void)ctx;
    return mem_zero(count, size);
}

static void gzip_free(void *ctx, void *block)
{
    (void)ctx;
    mem_free(block);
}

static bool open_gzip(struct decoder *d)
{
    d->gzip.zalloc = gzip_alloc;
    d->gzip.zfree = gzip_free;
    return inflateInit2(&d->gzip, GZIP_BITS) == Z_OK;
}

/* libzstd's way to allocate elsewhere is for static linking only. */
static bool open_zstd(struct decoder *d)
{
    d->zstd = ZSTD_createDCtx();
    return d->zstd &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX));
}

enum err decoder_new(enum content_coding coding, uint64_t free_bytes, struct decoder **ret)
{
    struct decoder *d = mem_zero(1, sizeof *d);

    if (!d)
        return ERR_MEMORY;
    d->coding = coding;
    d->free_bytes = free_bytes;
    if (coding == CODING_GZIP ? !open_gzip(d) : !open_zstd(d)) {
        ZSTD_freeDCtx(d->zstd);
        mem_free(d);
        return ERR_MEMORY;
    }
    *ret = d;
    return ERR_NONE;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    if (d->coding == CODING_GZIP)
        inflateEnd(&d->gzip);
    ZSTD_freeDCtx(d->zstd);
    mem_free(d);
}

static enum err fail_corrupt(const struct decoder *d, const char *why, struct err_detail *detail)
{
    return err_set(detail, ERR_MALFORMED, "the body is not what Content-Encoding says, %s: %s",
                   d->coding == CODING_GZIP ? "gzip" : "zstd", why);
}

static enum err fail_memory(struct err_detail *detail)
{
    return err_set(detail, ERR_MEMORY, "no memory to decode the body");
}

/* One step. Several members in a row are one body (RFC 1952, section 2.2). */
static enum err step_gzip(struct decoder *d, struct view *in, char *to, size_t room, size_t *ret,
                          struct err_detail *detail)
{
    z_stream *z = &d->gzip;
    int status;

    if (d->whole && in->len > 0)
        inflateReset(z);
    z->next_in = (Bytef *)in->data;
    z->avail_in = (uInt)in->len;
    z->next_out = (Bytef *)to;
    z->avail_out = (uInt)room;
    d->whole = d->whole && in->len == 0;
    status = d->whole ? Z_STREAM_END : inflate(z, Z_NO_FLUSH);
    if (status == Z_MEM_ERROR)
        return fail_memory(detail);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        return fail_corrupt(d, z->msg ? z->msg : "corrupt", detail);
    d->whole = status == Z_STREAM_END;
    *in = (struct view){in->data + (in->len - z->avail_in), z->avail_in};
    *ret = room - z->avail_out;
    return ERR_NONE;
}

static enum err step_zstd(struct decoder *d, struct view *in, char *to, size_t room, size_t *ret,
                          struct err_detail *detail)
{
    ZSTD_inBuffer input = {in->data, in->len, 0};
    ZSTD_outBuffer output = {.size = room};
    size_t left;

    output.dst = to;
    left = ZSTD_decompressStream(d->zstd, &output, &input);
    if (ZSTD_isError(left) && ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
        return fail_memory(detail);
    if (ZSTD_isError(left) && ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
        return fail_corrupt(d, "its window is larger than 8 MiB", detail);
    if (ZSTD_isError(left))
        return fail_corrupt(d, ZSTD_getErrorName(left), detail);
    if (input.pos > 0 || output.pos > 0)
        d->whole = left == 0;
    *in = (struct view){in->data + input.pos, in->len - input.pos};
    *ret = output.pos;
    return ERR_NONE;
}

/* What follows a whole member or frame begins another one, which may have nothing in it. */
enum err decoder_run(struct decoder *d, struct view *in, char *to, size_t room, size_t *ret,
                     struct err_detail *detail)
{
    size_t made = 0, before;
    enum err e;

    do {
        before = in->len;
        e = d->coding == CODING_GZIP ? step_gzip(d, in, to, room, &made, detail)
                                     : step_zstd(d, in, to, room, &made, detail);
        if (e)
            return e;
        d->taken += before - in->len;
    } while (made == 0 && in->len > 0 && in->len < before);
    d->made += made;
    if (d->made > d->free_bytes && d->made / DECODER_RATIO_MAX > d->taken)
        return err_set(detail, ERR_TOO_LARGE,
                       "decoded, the body has more than %d times the bytes it was sent with",
                       DECODER_RATIO_MAX);
    *ret = made;
    return ERR_NONE;
}

enum err decoder_end(const struct decoder *d, struct err_detail *detail)
{
    return d->whole ? ERR_NONE : fail_corrupt(d, "it ends too early", detail);
}

/* ---- a whole body ---- */

static enum err decode(struct decoder *d, struct view body, struct buf *out,
                       struct err_detail *detail)
{
    size_t got = 1;

    while (got > 0) {
        size_t step = out->len < STEP ? STEP : out->len, left = out->limit - out->len;
        size_t room = step < left ? step : left;
        char beyond, *to = room > 0 ? buf_reserve(out, room) : &beyond;
        enum err e;

        if (!to)
            return fail_memory(detail);
        e = decoder_run(d, &body, to, room > 0 ? room : 1, &got, detail);
        if (e)
            return e;
        if (room == 0 && got > 0)
            return err_set(detail, ERR_TOO_LARGE, "decoded, the body may have at most %zu bytes",
                           out->limit);
        buf_advance(out, got);
    }
    return decoder_end(d, detail);
}

enum err content_decode(enum content_coding coding, struct view body, struct buf *out,
                        struct err_detail *detail)
{
    struct decoder *d;
    enum err e = decoder_new(coding, UINT64_MAX, &d); /* out->limit bounds it */

    if (e)
        return fail_memory(detail);
    e = decode(d, body, out, detail);
    decoder_free(d);
    return e;
}
