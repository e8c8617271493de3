#include "common/id.h"

#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdlib.h>

static const char sample[] = "01a20d89-3b44-726a-a44b-5f324bfb3c4c";

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct event_id));
}

static void a_new_id_is_a_uuid_of_version_7_with_the_time(void **state)
{
    struct clock_manual clock;
    char text[ID_TEXT_SIZE];
    struct event_id id;

    (void)state;
    clock_manual_init(&clock, 0x0123456789ab);
    for (int i = 0; i < 1000; i++) {
        id_make(&clock.base, &id);
        id_format(&id, text);
        assert_memory_equal(text, "01234567-89ab-7", 15);
        assert_non_null(strchr("89ab", text[19]));
    }
}

#define THREADS 4
#define PER_THREAD 5000
static void *make_many(void *list)
{
    for (int i = 0; i < PER_THREAD; i++)
        id_make(&clock_system, (struct event_id *)list + i);
    return NULL;
}

static void ids_of_many_threads_are_all_different(void **state)
{
    static struct event_id ids[THREADS * PER_THREAD];
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, ids + i * PER_THREAD), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    qsort(ids, THREADS * PER_THREAD, sizeof ids[0], compare_ids);
    for (int i = 1; i < THREADS * PER_THREAD; i++)
        assert_false(id_equal(&ids[i - 1], &ids[i]));
}

/* Each of the 74 random bits is 0 and 1 about equally often. */
static void the_rest_of_a_new_id_is_random(void **state)
{
    enum { ROUNDS = 4000 };
    int ones[128] = {0};

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct event_id id;
        id_make(&clock_system, &id);
        for (int bit = 0; bit < 128; bit++)
            ones[bit] += id.bytes[bit / 8] >> (7 - bit % 8) & 1;
    }
    for (int bit = 52; bit < 128; bit++) {
        if (bit == 64 || bit == 65)
            assert_int_equal(ones[bit], bit == 64 ? ROUNDS : 0);
        else
            assert_in_range(ones[bit], ROUNDS / 2 - 300, ROUNDS / 2 + 300); /* 9 sigma */
    }
}

static void check_position(struct view stream, uint64_t position, const char *expected)
{
    char text[ID_TEXT_SIZE];
    struct event_id id;

    id_of_position(stream, position, &id);
    id_format(&id, text);
    assert_string_equal(text, expected);
}

/* Expected: Python's uuid.uuid5(uuid.UUID("23e6c63b-793a-466c-835f-9c5fe4fcae40"),
 * "<stream>:<position>"). */
static void the_id_of_a_position_is_a_uuid_of_version_5(void **state)
{
    char longest[300];

    (void)state;
    memset(longest, 'S', sizeof longest);
    check_position(VIEW("S"), 7, "11d51011-8f58-5f9a-9666-01220ff373bb");
    check_position(VIEW("TIDINGS_EVENTS"), 1, "66e4398d-9978-52c1-ad90-6fe85e1ceb7b");
    check_position(VIEW("TIDINGS_EVENTS"), UINT64_MAX, "377b33af-2307-53c1-bd58-7b4baf7ecebc");
    check_position((struct view){NULL, 0}, 0, "2ead6e67-a5d2-574a-b281-c25a11959907");
    check_position((struct view){longest, 255}, UINT64_MAX, "6608dc59-2b51-529e-9e62-95d00a783ded");
    check_position((struct view){longest, 300}, UINT64_MAX, "6608dc59-2b51-529e-9e62-95d00a783ded");
}

static void ids_are_read_and_written(void **state)
{
    struct event_id id, other;
    char text[ID_TEXT_SIZE];

    (void)state;
    assert_true(id_parse(VIEW("01a20d89-3b44-726a-a44b-5f324bfb3c4c"), &id));
    assert_int_equal(id.bytes[0], 0x01);
    assert_int_equal(id.bytes[15], 0x4c);
    id_format(&id, text);
    assert_string_equal(text, sample);
    assert_true(id_parse(VIEW("01A20D89-3B44-726A-A44B-5F324BFB3C4C"), &other));
    assert_true(id_equal(&id, &other));
    assert_true(id_parse(VIEW("ffffffff-ffff-ffff-ffff-ffffffffffff"), &id));
    assert_true(id_parse(VIEW("00000000-0000-0000-0000-000000000001"), &id));
}

static void what_is_no_uuid_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "123",
        "00000000-0000-0000-0000-000000000000",
        "01a20d893b44726aa44b5f324bfb3c4c",
        "{01a20d89-3b44-726a-a44b-5f324bfb3c4}",
        "01a20d89-3b44-726a-a44b-5f324bfb3c4c ",
        " 01a20d89-3b44-726a-a44b-5f324bfb3c4",
        "01a20d89-3b44-726a-a44b-5f324bfb3c4",
        "urn:uuid:01a20d89-3b44-726a-a44b-5f324bfb3c4c",
        "01a20d8-93b44-726a-a44b-5f324bfb3c4c",
        "01a20d89-3b44-726a-a44b-+f324bfb3c4c",
        "01a20d89-3b44-726a-a44b-0x324bfb3c4c",
    };
    struct event_id id, untouched;

    (void)state;
    memset(&untouched, 7, sizeof untouched);
    id = untouched;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (id_parse(view_of(bad[i]), &id))
            fail_msg("%s is taken", bad[i]);
    for (size_t at = 0; at < ID_TEXT_SIZE - 1; at++) {
        for (int c = 0; c < 256; c++) {
            char text[ID_TEXT_SIZE];
            bool hyphen = sample[at] == '-';
            bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

            memcpy(text, sample, sizeof text);
            text[at] = (char)c;
            assert_int_equal(id_parse((struct view){text, ID_TEXT_SIZE - 1}, &id),
                             hyphen ? c == '-' : hex);
        }
    }
    id = untouched;
    assert_false(id_parse((struct view){NULL, 0}, &id));
    assert_true(id_equal(&id, &untouched));
}

static void no_id_is_all_zero(void **state)
{
    struct event_id id = {{0}};

    (void)state;
    assert_true(id_is_zero(&id));
    id.bytes[15] = 1;
    assert_false(id_is_zero(&id));
}

/* Each bit of the id changes about half of the hash's bits, wherever it stands. */
static void every_bit_counts_in_the_hash(void **state)
{
    (void)state;
    for (int bit = 0; bit < 128; bit++) {
        int changed = 0;
        for (uint8_t i = 0; i < 100; i++) {
            struct event_id a = {{[6] = 0x70, [8] = 0x80, [15] = i}}, b = a;
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            changed += __builtin_popcountll(id_hash(&a) ^ id_hash(&b));
        }
        assert_in_range(changed, 100 * 26, 100 * 38);
    }
}

static void the_hash_is_the_same_everywhere(void **state)
{
    struct event_id id;

    (void)state;
    assert_true(id_parse(view_of(sample), &id));
    assert_true(id_hash(&id) == 0xd877189fc71e8e3f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_id_is_a_uuid_of_version_7_with_the_time),
        cmocka_unit_test(ids_of_many_threads_are_all_different),
        cmocka_unit_test(the_rest_of_a_new_id_is_random),
        cmocka_unit_test(the_id_of_a_position_is_a_uuid_of_version_5),
        cmocka_unit_test(ids_are_read_and_written),
        cmocka_unit_test(what_is_no_uuid_is_refused),
        cmocka_unit_test(no_id_is_all_zero),
        cmocka_unit_test(every_bit_counts_in_the_hash),
        cmocka_unit_test(the_hash_is_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
