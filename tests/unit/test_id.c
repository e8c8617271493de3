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

static void check_producer(struct view source, struct view producer_id, const char *expected)
{
    char text[ID_TEXT_SIZE];
    struct event_id id;

    id_of_producer(source, producer_id, &id);
    id_format(&id, text);
    assert_string_equal(text, expected);
}

/* Expected: Python's uuid.uuid5(uuid.UUID("8c3d57a5-fe0b-4f44-b934-24bc65a6c989"),
 * source + "\n" + id). */
static void the_id_of_a_producers_is_a_uuid_of_version_5(void **state)
{
    char source[600], producer_id[300];

    (void)state;
    memset(source, 's', sizeof source);
    memset(producer_id, 'i', sizeof producer_id);
    check_producer(VIEW("/orders"), VIEW("123"), "73ba8a01-ece3-5513-ab4e-e1b405b3c9b7");
    check_producer(VIEW("/caf\xc3\xa9"), VIEW("id \xe2\x82\xac \xf0\x9f\x98\x80"),
                   "b19de528-42e3-569c-ac42-d989641e9e7b");
    check_producer((struct view){NULL, 0}, VIEW("1"), "d512f0c6-0854-5000-9c98-4ad80398670d");
    check_producer(VIEW("a/b"), VIEW("c"), "ed41b270-81c7-5368-85ba-d198e6ef6c4b");
    check_producer(VIEW("a"), VIEW("/bc"), "8579584c-5a72-577d-902d-3f3a0d61f18e");
    check_producer((struct view){source, 512}, (struct view){producer_id, 256},
                   "00a1207f-f02a-515c-8869-621d81509c78");
    check_producer((struct view){source, 600}, (struct view){producer_id, 300},
                   "00a1207f-f02a-515c-8869-621d81509c78");
}

static void a_producers_uuid_is_the_event_id_whatever_the_source(void **state)
{
    (void)state;
    check_producer(VIEW("/orders"), view_of(sample), sample);
    check_producer(VIEW("/other"), view_of(sample), sample);
    check_producer((struct view){NULL, 0}, view_of(sample), sample);
    check_producer(VIEW("/orders"), VIEW("01A20D89-3B44-726A-A44B-5F324BFB3C4C"), sample);
}

static void what_looks_like_a_uuid_and_is_none_goes_by_the_source(void **state)
{
    (void)state;
    check_producer(VIEW("/orders"), VIEW("00000000-0000-0000-0000-000000000000"),
                   "bef36a69-29d1-59af-9adb-6e1f6a569c94");
    check_producer(VIEW("/orders"), VIEW("01A20D89-3B44-726A-A44B-5F324BFB3C4C "),
                   "46d14af8-26af-5352-9c93-755b1e9fe56f");
    check_producer(VIEW("/orders"), VIEW("01a20d893b44726aa44b5f324bfb3c4c"),
                   "6a38618c-07d6-59ec-8dc3-bfe16db8a65c");
    check_producer(VIEW("/orders"), VIEW("urn:uuid:01a20d89-3b44-726a-a44b-5f324bfb3c4c"),
                   "2f96a40e-1558-57e5-8f02-7683fef65771");
    check_producer(VIEW("/orders"), VIEW("01a20d89-3b44-726a-a44b-5f324bfb3c4g"),
                   "eaae9645-ffb0-5e57-a4ce-8d76e356adc0");
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
        cmocka_unit_test(the_id_of_a_producers_is_a_uuid_of_version_5),
        cmocka_unit_test(a_producers_uuid_is_the_event_id_whatever_the_source),
        cmocka_unit_test(what_looks_like_a_uuid_and_is_none_goes_by_the_source),
        cmocka_unit_test(ids_are_read_and_written),
        cmocka_unit_test(what_is_no_uuid_is_refused),
        cmocka_unit_test(no_id_is_all_zero),
        cmocka_unit_test(every_bit_counts_in_the_hash),
        cmocka_unit_test(the_hash_is_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
