/* Messages of nats.c. */
#include "common/bus_nats.h"
#include "tests/lib/unit.h"

#include <dlfcn.h>

static const char *file_of(const void *address)
{
    Dl_info info;
    assert_int_not_equal(dladdr(address, &info), 0);
    return info.dli_fname;
}

/* What natsMsg_Destroy calls is the first definition, in the order of loading. */
static void messages_are_freed_at_once_and_not_by_a_thread(void **state)
{
    static const char of_this_program;
    void *asked = dlsym(RTLD_DEFAULT, "natsGC_collect");
    bool (*collect)(void *item);
    natsMsg *msg = NULL;
    (void)state;
    assert_non_null(asked);
    assert_string_equal(file_of(asked), file_of(&of_this_program));
    memcpy(&collect, &asked, sizeof collect);
    assert_int_equal(natsMsg_Create(&msg, "a", NULL, "text", 4), NATS_OK);
    assert_false(collect(msg));
    natsMsg_Destroy(msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_freed_at_once_and_not_by_a_thread),
    };
    return cmocka_run_group_tests_name("bus_nats_message", tests, NULL, NULL);
}
