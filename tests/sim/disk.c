#include "tests/sim/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void path_of(pid_t pid, char *path, size_t size)
{
    const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, size, "%s/tidings-sim-%ld", top, (long)pid);
}

char *disk_path(void)
{
    static char path[64];
    path_of(getpid(), path, sizeof path);
    return path;
}

void disk_remove(pid_t pid)
{
    char path[64];
    path_of(pid, path, sizeof path);
    DIR *folder = opendir(path);
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    (void)rmdir(path);
}
