#include "common/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t id)
{
    struct timespec now;

    if (clock_gettime(id, &now) != 0)
        return NAN;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The number at place `field` (from 0) of a one-line file of /proc. Counted after the last ')': the
 * name of a program may hold anything. */
static double proc_number(const char *path, int field)
{
    char text[1024];
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
    char *at, *rest = NULL, *word;

    if (file)
        fclose(file);
    text[len] = '\0';
    at = strrchr(text, ')');
    word = strtok_r(at ? at + 1 : text, " \n", &rest);
    for (int i = 0; word && i < field; i++)
        word = strtok_r(NULL, " \n", &rest);
    return word ? strtod(word, NULL) : NAN;
}

static double cpu_seconds(void *ctx)
{
    (void)ctx;
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static double virtual_bytes(void *ctx)
{
    (void)ctx;
    return proc_number("/proc/self/statm", 0) * (double)sysconf(_SC_PAGESIZE);
}

static double resident_bytes(void *ctx)
{
    (void)ctx;
    return proc_number("/proc/self/statm", 1) * (double)sysconf(_SC_PAGESIZE);
}

static double open_descriptors(void *ctx)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    (void)ctx;
    if (!dir)
        return NAN;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): glibc's readdir is safe on a stream of one's own */
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* without the one that reads them */
}

static double max_descriptors(void *ctx)
{
    struct rlimit limit;

    (void)ctx;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return NAN;
    return limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
}

/* Whole seconds since 1970, asked once: the wall clock may be set later. 0: unknown. */
static int64_t start_time(void)
{
    /* field 22 of proc(5)'s stat, in ticks since boot; the third, the state, is the first after
     * ')' */
    double after_boot = proc_number("/proc/self/stat", 22 - 3) / (double)sysconf(_SC_CLK_TCK);
    double start = seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_BOOTTIME) + after_boot;

    return isnan(start) ? 0 : (int64_t)start;
}

void metrics_process(struct metrics *m, const char *version)
{
    char label[64];

    metrics_counter_read(m, "process_cpu_seconds_total", NULL,
                         "Total user and system CPU time spent in seconds.", cpu_seconds, NULL);
    metrics_gauge_read(m, "process_virtual_memory_bytes", NULL, "Virtual memory size in bytes.",
                       virtual_bytes, NULL);
    metrics_gauge_read(m, "process_resident_memory_bytes", NULL, "Resident memory size in bytes.",
                       resident_bytes, NULL);
    metrics_gauge_read(m, "process_open_fds", NULL, "Number of open file descriptors.",
                       open_descriptors, NULL);
    metrics_gauge_read(m, "process_max_fds", NULL, "Maximum number of open file descriptors.",
                       max_descriptors, NULL);
    metric_set(metrics_gauge(m, "process_start_time_seconds", NULL,
                             "Start time of the process since unix epoch in seconds."),
               start_time());
    snprintf(label, sizeof label, "version=\"%s\"", version);
    metric_set(metrics_gauge(m, "tidings_build_info", label,
                             "Which build this is; the value is always 1."),
               1);
}
