/* Content codings: what is sent encoded is the same, and bounded.
 */
#include "http-gateway/content_coding.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#define TEXT_SIZE ((size_t)3 << 20)

static char *text, *coded;
static size_t coded_max;
static struct err_detail detail;

static const enum content_coding codings[] = {CODING_GZIP, CODING_ZSTD};
#define CODINGS (sizeof codings / sizeof codings[0])

static int start(void **state)
{
    uint32_t random = 1;

    (void)state;
    coded_max = TEXT_SIZE + 65536;
    text = mem_alloc(TEXT_SIZE);
    coded = mem_alloc(coded_max);
    assert_non_null(text);
    assert_non_null(coded);
    for (size_t i = 0; i < TEXT_SIZE; i++) { /* compresses to a half, about */
        random = random * 1664525 + 1013904223;
        text[i] = (char)('a' + (random >> 28));
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mem_free(text);
    mem_free(coded);
    return 0;
}

/* ---- coding ---- */

static size_t gzip(const char *from, size_t len, char *to)
{
    z_stream z = {.next_in = (Bytef *)from, .avail_in = (uInt)len, .avail_out = (uInt)coded_max};
    size_t used;

    z.next_out = (Bytef *)to;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    used = coded_max - z.avail_out;
    deflateEnd(&z);
    return used;
}

static struct view code(enum content_coding coding, const char *from, size_t len)
{
    size_t used = coding == CODING_GZIP ? gzip(from, len, coded)
                                        : ZSTD_compress(coded, coded_max, from, len, 3);

    return (struct view){coded, used};
}

static enum err decode(enum content_coding coding, struct view body, size_t limit, struct buf *out)
{
    buf_init(out, limit);
    detail.text[0] = '\0';
    return content_decode(coding, body, out, &detail);
}

/* It decodes to the text's first bytes. */
static void assert_decodes(enum content_coding coding, struct view body, size_t len)
{
    struct buf out;

    assert_int_equal(decode(coding, body, len, &out), ERR_NONE);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, text, len);
    buf_free(&out);
}

static void assert_refused(enum content_coding coding, struct view body, size_t limit, enum err e,
                           const char *words)
{
    struct buf out;

    assert_int_equal(decode(coding, body, limit, &out), e);
    if (!strstr(detail.text, words))
        fail_msg("no \"%s\" in %s", words, detail.text);
    assert_true(out.len <= limit);
    buf_free(&out);
}

/* ---- whole bodies ---- */

static void bodies_of_all_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 16383, 16384, 16385, 300000, TEXT_SIZE};

    (void)state;
    for (size_t c = 0; c < CODINGS; c++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            assert_decodes(codings[c], code(codings[c], text, sizes[i]), sizes[i]);
}

static void several_members_are_one_body(void **state)
{
    (void)state;
    for (size_t c = 0; c < CODINGS; c++) {
        static char both[70000];
        struct view part = code(codings[c], text, 1000);
        size_t used = part.len;

        memcpy(both, part.data, part.len);
        for (size_t i = 0; i < 50; i++) { /* with nothing in them */
            part = code(codings[c], text, 0);
            memcpy(both + used, part.data, part.len);
            used += part.len;
        }
        part = code(codings[c], text + 1000, 2000);
        memcpy(both + used, part.data, part.len);
        assert_decodes(codings[c], (struct view){both, used + part.len}, 3000);
    }
}

static void truncated_bodies(void **state)
{
    (void)state;
    for (size_t c = 0; c < CODINGS; c++) {
        struct view body = code(codings[c], text, 500);

        for (size_t len = 0; len < body.len; len++)
            assert_refused(codings[c], (struct view){body.data, len}, 1000, ERR_MALFORMED,
                           "it ends too early");
    }
}

static void corrupt_bodies(void **state)
{
    struct view body = code(CODING_GZIP, text, 500);

    (void)state;
    coded[body.len - 6] ^= 1; /* its checksum */
    assert_refused(CODING_GZIP, body, 1000, ERR_MALFORMED, "gzip: incorrect data check");
    assert_refused(CODING_GZIP, VIEW("{\"name\":\"a\"}"), 1000, ERR_MALFORMED, "gzip: ");
    assert_refused(CODING_ZSTD, VIEW("{\"name\":\"a\"}"), 1000, ERR_MALFORMED, "zstd: ");
    body = code(CODING_GZIP, text, 500);
    coded[body.len] = 'x';
    assert_refused(CODING_GZIP, (struct view){coded, body.len + 1}, 1000, ERR_MALFORMED, "");
    body = code(CODING_ZSTD, text, 500);
    memcpy(coded + body.len, "xxxx", 4);
    assert_refused(CODING_ZSTD, (struct view){coded, body.len + 4}, 1000, ERR_MALFORMED, "zstd: ");
}

/* A bit that is turned is found, or harmless; never more than the limit is written. */
static void damaged_bodies(void **state)
{
    (void)state;
    for (size_t c = 0; c < CODINGS; c++) {
        struct view body = code(codings[c], text, 300);

        for (size_t bit = 0; bit < 8 * body.len; bit++) {
            struct buf out;
            enum err e;

            coded[bit / 8] = (char)(coded[bit / 8] ^ 1 << bit % 8);
            e = decode(codings[c], body, 400, &out);
            assert_true(e == ERR_NONE || e == ERR_MALFORMED || e == ERR_TOO_LARGE);
            buf_free(&out);
            coded[bit / 8] = (char)(coded[bit / 8] ^ 1 << bit % 8);
        }
    }
}

/* ---- bounds ---- */

static void more_than_is_allowed(void **state)
{
    (void)state;
    for (size_t c = 0; c < CODINGS; c++) {
        struct view body = code(codings[c], text, 20000);

        assert_refused(codings[c], body, 19999, ERR_TOO_LARGE, "at most 19999 bytes");
        assert_refused(codings[c], body, 0, ERR_TOO_LARGE, "at most 0 bytes");
        assert_decodes(codings[c], body, 20000);
    }
}

/* Three MiB of one byte, a few hundred when sent: told long before its end. */
static void bombs(void **state)
{
    static char zeros[TEXT_SIZE];
    static char to[4096];

    (void)state;
    for (size_t c = 0; c < CODINGS; c++) {
        struct view body = code(codings[c], zeros, sizeof zeros);
        struct decoder *d;
        size_t got = 1, made = 0;
        enum err e = ERR_NONE;

        assert_refused(codings[c], body, 1 << 20, ERR_TOO_LARGE, "at most 1048576 bytes");
        assert_int_equal(decoder_new(codings[c], 100000, &d), ERR_NONE);
        while (!e && got > 0) {
            e = decoder_run(d, &body, to, sizeof to, &got, &detail);
            made += e ? 0 : got;
        }
        assert_int_equal(e, ERR_TOO_LARGE);
        assert_non_null(strstr(detail.text, "more than 200 times"));
        assert_true(made < TEXT_SIZE);
        decoder_free(d);
    }
}

static void windows_that_are_too_large(void **state)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t used;

    (void)state;
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 24);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    {
        ZSTD_inBuffer in = {text, 1000, 0};
        ZSTD_outBuffer out = {coded, coded_max, 0};

        assert_false(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)));
        assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
        used = out.pos;
    }
    ZSTD_freeCCtx(context);
    assert_refused(CODING_ZSTD, (struct view){coded, used}, 1000, ERR_MALFORMED, "8 MiB");
}

/* ---- piece by piece ---- */

static void any_pieces(void **state)
{
    static char to[5000];

    (void)state;
    for (size_t c = 0; c < CODINGS; c++)
        for (size_t piece = 1; piece <= 64; piece *= 4) {
            struct view body = code(codings[c], text, sizeof to), part = {"", 0};
            struct decoder *d;
            size_t at = 0, used = 0, got;

            assert_int_equal(decoder_new(codings[c], 0, &d), ERR_NONE);
            while (used < sizeof to) {
                size_t room = sizeof to - used < piece ? sizeof to - used : piece;

                assert_int_equal(decoder_run(d, &part, to + used, room, &got, &detail), ERR_NONE);
                used += got;
                if (got > 0)
                    continue;
                assert_int_equal(part.len, 0);
                part = (struct view){body.data + at, body.len - at < piece ? body.len - at : piece};
                at += part.len;
            }
            while (at < body.len || part.len > 0) { /* the checksum */
                part = part.len > 0 ? part : (struct view){body.data + at, body.len - at};
                at = body.len;
                assert_int_equal(decoder_run(d, &part, to, 1, &got, &detail), ERR_NONE);
                assert_int_equal(got, 0);
            }
            assert_int_equal(decoder_end(d, &detail), ERR_NONE);
            assert_memory_equal(to, text, sizeof to);
            decoder_free(d);
        }
}

static void without_memory(void **state)
{
    (void)state;
    for (size_t c = 0; c < CODINGS; c++) {
        struct view body = code(codings[c], text, 100000);

        for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
            struct buf out;
            enum err e = decode(codings[c], body, 200000, &out);
            bool failed = each_failure_end(&f);

            assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
            buf_free(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_all_sizes),
        cmocka_unit_test(several_members_are_one_body),
        cmocka_unit_test(truncated_bodies),
        cmocka_unit_test(corrupt_bodies),
        cmocka_unit_test(damaged_bodies),
        cmocka_unit_test(more_than_is_allowed),
        cmocka_unit_test(bombs),
        cmocka_unit_test(windows_that_are_too_large),
        cmocka_unit_test(any_pieces),
        cmocka_unit_test(without_memory),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
