/* A kill at a named point, for tests: preloaded, it counts the calls of a process that change names or make them durable below
   $KILL_ROOT (fsync, rename, link, unlink, mkdir, rmdir), and kills the process before the one that $KILL_AT names (from 1). Without
   $KILL_AT the file $KILL_SAID gets one byte a call, so that its length says how many there are. A kill before call k is one after
   call k-1, too. `tests/durable/named_kills.rs` tries one after the other.

       cc -shared -fPIC -O2 -o kills.so ops/kills.c
       LD_PRELOAD=./kills.so KILL_ROOT=/the/folder KILL_AT=7 PROGRAM */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long calls;

static int is_below(const char *path) {
    const char *root = getenv("KILL_ROOT");
    size_t length = root == NULL ? 0 : strlen(root);
    return length > 0 && strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static void count(void) {
    const char *at = getenv("KILL_AT"), *said = getenv("KILL_SAID");
    long number = atomic_fetch_add(&calls, 1) + 1;
    if (at != NULL && number == atol(at)) {
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        for (;;) pause();
    }
    if (at != NULL || said == NULL) return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || syscall(SYS_write, file, ".", 1) != 1) abort();
    syscall(SYS_close, file);
}

/* The path of an open file. */
static void of_file(int file) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0) return;
    path[length] = 0;
    if (is_below(path)) count();
}

/* A name in a folder that is open, or in the present one. */
static void of_name(int at, const char *name) {
    char path[PATH_MAX];
    if (name[0] == '/') {
        if (is_below(name)) count();
    } else if (at == AT_FDCWD) {
        if (getcwd(path, sizeof path) == NULL || strlen(path) + strlen(name) + 2 > sizeof path) return;
        strcat(strcat(path, "/"), name);
        if (is_below(path)) count();
    } else {
        of_file(at);
    }
}

int fsync(int file) { of_file(file); return (int)syscall(SYS_fsync, file); }
int fdatasync(int file) { of_file(file); return (int)syscall(SYS_fdatasync, file); }
int renameat2(int a, const char *from, int b, const char *to, unsigned how) {
    of_name(b, to);
    return (int)syscall(SYS_renameat2, a, from, b, to, how);
}
int renameat(int a, const char *from, int b, const char *to) { return renameat2(a, from, b, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int how) {
    of_name(b, to);
    return (int)syscall(SYS_linkat, a, from, b, to, how);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int unlinkat(int at, const char *name, int how) { of_name(at, name); return (int)syscall(SYS_unlinkat, at, name, how); }
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int mkdirat(int at, const char *name, mode_t mode) { of_name(at, name); return (int)syscall(SYS_mkdirat, at, name, mode); }
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
