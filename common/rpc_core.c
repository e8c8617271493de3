#include "common/rpc_core.h"

#include "common/log.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <pthread.h>

/* Core tells of every broken connection as an error. For us it is a detail: what matters to a user
 * comes back as a status, and is logged where it is handled. */
static void write_log(gpr_log_func_args *args)
{
    log_debug("grpc core", LOG_TEXT("text", args->message), LOG_TEXT("file", args->file),
              LOG_I64("line", args->line));
}

static void set_log(void)
{
    gpr_set_log_function(write_log);
}

void rpc_core_acquire(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_log);
    grpc_init();
}

void rpc_core_release(void)
{
    grpc_shutdown();
}
